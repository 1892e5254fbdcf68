"""The chart against a real API server: every rendering is valid, and the operator has the rights it needs alone."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.binaries import crd_manifests, ensure

Json = dict[str, Any]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
Eventually = Callable[..., Any]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/mediapipeline-operator"
VALUES = sorted((ROOT / "tests/chart/values").glob("*.yaml"))
pytestmark = pytest.mark.timeout(1200)  # helm may have to be built, once

MEDIA, CORE, APPS, NETWORK = "media.rtcscale.dev", "", "apps", "networking.k8s.io"
MAY = [
    ("list", MEDIA, "mediapipelines", ""),
    ("patch", MEDIA, "mediapipelines", "status"),
    ("update", MEDIA, "mediapipelines", "finalizers"),
    ("create", APPS, "deployments", ""),
    ("patch", APPS, "deployments", ""),
    ("update", APPS, "deployments", "scale"),
    ("patch", CORE, "services", ""),
    ("create", CORE, "serviceaccounts", ""),
    ("patch", "policy", "poddisruptionbudgets", ""),
    ("delete", NETWORK, "ingresses", ""),
    ("delete", "monitoring.coreos.com", "servicemonitors", ""),
    ("patch", CORE, "pods", ""),
    ("create", CORE, "events", ""),
]
MAY_NOT = [
    ("get", CORE, "secrets", ""),
    ("list", CORE, "secrets", ""),
    ("create", CORE, "pods", ""),
    ("delete", CORE, "pods", ""),
    ("create", CORE, "pods", "exec"),
    ("delete", APPS, "deployments", ""),
    ("delete", CORE, "services", ""),
    ("patch", MEDIA, "mediapipelines", ""),
    ("delete", MEDIA, "mediapipelines", ""),
    ("get", CORE, "configmaps", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
    ("list", "coordination.k8s.io", "leases", ""),
]


@pytest.fixture(scope="module")
def helm() -> Path:
    return ensure(("helm",))["helm"]


def render(helm: Path, *arguments: str) -> list[Json]:
    command = (str(helm), "template", "mpo", str(CHART), "--kube-version", "1.31.0", "--namespace", "operators")
    result = subprocess.run((*command, *arguments), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]


@pytest.fixture(scope="module")
def namespaces(kubectl: Kubectl, eventually: Eventually) -> None:
    for name in ("operators", "studio", "stage"):
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        kubectl("apply", "-f", "-", input=yaml.safe_dump(manifest))
    for path in (ROOT / "crds", crd_manifests("servicemonitors"), crd_manifests("prometheusrules")):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    listing = ("get", "servicemonitors.monitoring.coreos.com,prometheusrules.monitoring.coreos.com", "--all-namespaces")
    eventually(lambda: kubectl(*listing, check=False).returncode == 0, "the CRDs to be served")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_each_rendering_is_valid_for_the_api_server(
    kubectl: Kubectl, namespaces: None, helm: Path, values: Path
) -> None:
    manifests = render(helm, "--values", str(values))
    kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        input=yaml.safe_dump_all(manifests),
    )


def test_install_yaml_is_valid_for_the_api_server(kubectl: Kubectl, namespaces: None) -> None:
    documents = [document for document in yaml.safe_load_all((ROOT / "install.yaml").read_text()) if document]
    text = yaml.safe_dump_all(documents).replace("mediapipeline-system", "operators")  # which exists already
    kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", input=text
    )


@pytest.fixture(scope="module")
def rights(kubectl: Kubectl, namespaces: None, helm: Path) -> str:
    """The chart's roles under a name of their own, so that nothing else of the cluster changes; its user."""
    roles = [manifest for manifest in render(helm, "--set", "fullnameOverride=rights") if "Role" in manifest["kind"]]
    kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(roles))
    return "system:serviceaccount:operators:rights"


def allowed(api: httpx.Client, user: str, right: tuple[str, str, str, str], namespace: str, *groups: str) -> bool:
    verb, group, resource, subresource = right
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": list(groups), "resourceAttributes": attributes},
    }
    answer = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review).raise_for_status().json()
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("right", MAY, ids="-".join)
def test_the_operator_may(
    api: httpx.Client, rights: str, eventually: Eventually, right: tuple[str, str, str, str]
) -> None:
    eventually(lambda: allowed(api, rights, right, "studio"), f"the right to {right}")


@pytest.mark.parametrize("right", MAY_NOT, ids="-".join)
def test_the_operator_may_not(api: httpx.Client, rights: str, right: tuple[str, str, str, str]) -> None:
    assert not allowed(api, rights, right, "studio")


def test_the_lease_is_its_own_alone(api: httpx.Client, rights: str, eventually: Eventually) -> None:
    create = ("create", "coordination.k8s.io", "leases", "")
    eventually(lambda: allowed(api, rights, create, "operators"), "the right to create its lease")
    assert not allowed(api, rights, create, "studio")


def test_editors_of_a_namespace_may_write_pipelines_and_viewers_may_read_them(
    api: httpx.Client, kubectl: Kubectl, rights: str, namespace: str, eventually: Eventually
) -> None:
    for role in ("view", "edit"):
        kubectl("create", "rolebinding", role, "--clusterrole", role, "--user", role, "--namespace", namespace)
    create, read = ("create", MEDIA, "mediapipelines", ""), ("list", MEDIA, "mediapipelines", "")
    eventually(lambda: allowed(api, "edit", create, namespace), "editors to create pipelines")
    eventually(lambda: allowed(api, "view", read, namespace), "viewers to read pipelines")
    assert not allowed(api, "view", create, namespace)
