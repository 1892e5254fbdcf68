"""The operator with exactly the rights of install.yaml, for the whole cluster: nothing it does is forbidden."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devcluster.controlplane import ControlPlane

Eventually = Callable[..., Any]
INSTALL = Path(__file__).parents[3] / "install.yaml"
RIGHTS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
SYSTEM = "mediapipeline-system"


@pytest.fixture
def restricted_kubeconfig(
    kubectl: Callable[..., Any], control_plane: ControlPlane, api: httpx.Client, tmp_path: Path
) -> Path:
    """Credentials of the operator's service account."""
    bodies = [body for body in yaml.safe_load_all(INSTALL.read_text()) if body and body["kind"] in RIGHTS]
    kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(bodies))
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/mediapipeline-operator/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = api.post(path, json=request).raise_for_status().json()["status"]["token"]
    entry = {"server": control_plane.server_url, "certificate-authority": str(control_plane.ca_file)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": entry}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "restricted.kubeconfig"
    file.write_text(json.dumps(config))
    return file


@pytest.mark.timeout(180)
def test_the_rights_of_the_installation_are_enough(
    restricted_kubeconfig: Path,
    service_monitors: Callable[[bool], None],
    start_operator: Callable[..., Any],
    world: Any,
    eventually: Eventually,
) -> None:
    service_monitors(True)
    flags = ("--namespaces=", f"--lease-namespace={SYSTEM}")
    operator = start_operator(*flags, kubeconfig_file=restricted_kubeconfig)
    eventually(operator.leads, "the lease", 60)
    world.pipeline(networking={"ingress": {"host": "studio.example.org"}})
    for kind in ("Deployment", "Service", "ServiceMonitor", "Ingress", "NetworkPolicy"):
        eventually(lambda kind=kind: world.get(kind, "studio"), kind)
    eventually(lambda: world.get("Deployment", "studio")["spec"]["replicas"] == 2, "the initial replicas")
    eventually(lambda: world.status().get("autoscaling"), "the status")
    world.patch("MediaPipeline", "studio", {"spec": {"networking": {"ingress": None}}})
    eventually(lambda: world.get("Ingress", "studio") is None, "the Ingress to go")
    stages = [{"name": "soften", "effect": "Nonsense"}]
    world.patch("MediaPipeline", "studio", {"spec": {"pipeline": {"stages": stages}}})
    eventually(lambda: "InvalidPipeline" in world.reasons(), "an event")
    log = operator.log.read_text().lower()
    assert "403" not in log
    assert "forbidden" not in log
