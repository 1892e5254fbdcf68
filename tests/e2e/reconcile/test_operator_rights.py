"""The operator with exactly the rights of the installation, for the cluster or in one namespace: none is missing."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.binaries import ensure

Eventually = Callable[..., Any]
INSTALL = Path(__file__).parents[3] / "install.yaml"
CHART = Path(__file__).parents[3] / "charts/mediapipeline-operator"
RIGHTS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
SYSTEM = "mediapipeline-system"


@pytest.fixture
def kubeconfig_with(
    kubectl: Callable[..., Any], kubeconfig_of: Callable[[str], Path]
) -> Iterator[Callable[[str], Path]]:
    """`kubeconfig_with(manifests)`: applies what gives rights among them; credentials of the service account."""
    applied: list[str] = []

    def make(manifests: str) -> Path:
        bodies = [body for body in yaml.safe_load_all(manifests) if body and body["kind"] in RIGHTS]
        applied.append(
            yaml.safe_dump_all(body for body in bodies if body["kind"] not in ("Namespace", "ServiceAccount"))
        )
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
        kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", input=yaml.safe_dump_all([namespace, *bodies])
        )
        return kubeconfig_of(SYSTEM)

    yield make
    for text in applied:
        kubectl("delete", "--ignore-not-found", "-f", "-", input=text)
    kubectl("delete", "leases", "--all", "--namespace", SYSTEM)  # held by an operator that was killed


def _with_roles_in(namespace: str) -> str:
    """The chart for one namespace."""
    command = [str(ensure(("helm",))["helm"]), "template", "mediapipeline-operator", str(CHART), "--namespace", SYSTEM]
    flags = ["--set", f"namespaces={{{namespace}}}", "--kube-version", "1.31.0"]
    return subprocess.run([*command, *flags], check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_the_rights_of_the_installation_are_enough(
    scope: str,
    kubeconfig_with: Callable[[str], Path],
    await_rights: Callable[[str, str], None],
    service_monitors: Callable[[bool], None],
    start_operator: Callable[..., Any],
    world: Any,
    eventually: Eventually,
) -> None:
    service_monitors(True)
    everywhere = scope == "cluster"
    restricted = kubeconfig_with(INSTALL.read_text() if everywhere else _with_roles_in(world.namespace))
    await_rights(SYSTEM, world.namespace)
    flags = (f"--namespaces={'' if everywhere else world.namespace}", f"--lease-namespace={SYSTEM}")
    operator = start_operator(*flags, kubeconfig_file=restricted)
    eventually(operator.leads, "the lease")
    world.pipeline(networking={"ingress": {"host": "studio.example.org"}})
    for kind in ("Deployment", "Service", "ServiceMonitor", "Ingress", "NetworkPolicy"):
        eventually(lambda kind=kind: world.get(kind, "studio"), kind)
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 2, "the initial replicas")
    eventually(lambda: world.status().get("autoscaling"), "the status")
    world.patch("MediaPipeline", "studio", {"spec": {"autoscaling": {"engine": "None"}, "replicas": 3}})
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 3, "the number of spec.replicas")
    world.patch("MediaPipeline", "studio", {"spec": {"networking": {"ingress": None}}})
    eventually(lambda: world.get("Ingress", "studio") is None, "the Ingress to go")
    stages = [{"name": "soften", "effect": "Nonsense"}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": stages}}})
    eventually(lambda: "InvalidPipeline" in world.reasons(), "an event")
    world.delete("Service", "studio")
    stages = [{"name": "soften", "effect": "GaussianBlur"}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": stages}}})
    eventually(lambda: world.get("Service", "studio"), "the repair")
