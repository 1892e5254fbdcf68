"""What the control plane writes before it starts: certificates, tokens, kubeconfigs, command lines, audit."""

import csv
import io
import ipaddress
import json
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
import yaml

from devcluster.controlplane.addresses import FIRST_PORT, LAST_PORT, free_port, free_ports
from devcluster.controlplane.audit import MutationLog, audit_policy
from devcluster.controlplane.components import (
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    PORT_NAMES,
    Layout,
    command,
    health_url,
)
from devcluster.controlplane.kubeconfig import ADMIN, create_users, token_file, write_kubeconfig
from devcluster.controlplane.pki import Pki, create_pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return create_pki(tmp_path_factory.mktemp("data") / "pki", ("localhost", "kubernetes"), ("127.0.0.1", "127.96.0.1"))


@pytest.fixture
def layout(pki: Pki, tmp_path: Path) -> Layout:
    return Layout(tmp_path, {name: 20000 + index for index, name in enumerate(PORT_NAMES)}, pki)


def _flags(layout: Layout, component: str) -> dict[str, str]:
    program, *flags = command(layout, component, Path("/bin/program")).arguments
    assert program == "/bin/program"
    return dict(flag.removeprefix("--").split("=", 1) for flag in flags)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.96.0.1"])
def test_the_serving_certificate_is_trusted_for_its_names(pki: Pki, name: str) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.serving.certificate, pki.serving.key)
    client = ssl.create_default_context(cafile=str(pki.ca.certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()
    with left, right:
        accepting = threading.Thread(target=lambda: server.wrap_socket(left, server_side=True).close())
        accepting.start()
        client.wrap_socket(right, server_hostname=name).close()
        accepting.join(timeout=10)


def test_keys_are_private(pki: Pki) -> None:
    folder = pki.ca.key.parent
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_front_proxy_is_not_trusted_for_users(pki: Pki) -> None:
    assert pki.front_proxy_ca.certificate.read_bytes() != pki.ca.certificate.read_bytes()


def test_tokens_are_listed_with_their_groups() -> None:
    users = create_users()
    rows = {row[1]: row for row in csv.reader(io.StringIO(token_file(users.values())))}
    assert rows[ADMIN][3] == "system:masters"
    assert [len(row) for name, row in rows.items() if name != ADMIN] == [3, 3, 3]
    assert len({user.token for user in users.values()}) == len(users)
    assert users[ADMIN].token not in repr(users[ADMIN])


def test_a_kubeconfig_is_private_and_complete(tmp_path: Path) -> None:
    user = create_users()[ADMIN]
    path = tmp_path / "kubeconfig"
    path.write_text("an older one that anybody could read")
    path.chmod(0o644)
    write_kubeconfig(path, "https://127.0.0.1:20000", Path("ca.crt"), user)
    content = yaml.safe_load(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content["users"][0]["user"] == {"token": user.token}
    assert Path(content["clusters"][0]["cluster"]["certificate-authority"]).is_absolute()


def test_everything_listens_on_loopback(layout: Layout) -> None:
    for component in COMPONENTS:
        flags = _flags(layout, component)
        listening = flags.get("bind-address") or flags["listen-client-urls"] + flags["listen-peer-urls"]
        assert "127.0.0.1" in listening
        assert health_url(layout, component).split("/")[2].startswith("127.0.0.1:")
    assert "0.0.0.0" not in str([_flags(layout, component) for component in COMPONENTS])


def test_services_are_in_a_loopback_range(layout: Layout) -> None:
    flags = _flags(layout, APISERVER)
    assert ipaddress.ip_network(flags["service-cluster-ip-range"]).is_loopback
    assert flags["endpoint-reconciler-type"] == "none"
    assert flags["authorization-mode"] == "RBAC"


def test_controllers_that_refuse_loopback_addresses_are_off(layout: Layout) -> None:
    controllers = _flags(layout, CONTROLLER_MANAGER)["controllers"].split(",")
    assert controllers[0] == "*"
    assert {"-endpoints-controller", "-endpointslice-controller", "-endpointslice-mirroring-controller"} <= {
        *controllers
    }


def test_etcd_does_not_wait_for_the_disk(layout: Layout) -> None:
    assert _flags(layout, ETCD)["unsafe-no-fsync"] == "true"


def test_audit_is_off_unless_asked_for(layout: Layout) -> None:
    assert not [name for name in _flags(layout, APISERVER) if name.startswith("audit")]
    audited = Layout(layout.data_dir, layout.ports, layout.pki, audit=True)
    assert _flags(audited, APISERVER)["audit-log-path"] == str(audited.audit_log)


def test_the_audit_policy_keeps_secrets_out() -> None:
    rules = yaml.safe_load(audit_policy())["rules"]
    assert rules[0]["level"] == "Metadata"
    assert "secrets" in rules[0]["resources"][0]["resources"]
    assert rules[-1] == {"level": "None"}


def test_mutations_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    event = {
        "stageTimestamp": "2026-01-02T03:04:05.678900Z",
        "verb": "patch",
        "objectRef": {"resource": "deployments", "subresource": "scale", "namespace": "media", "name": "studio-blur"},
        "user": {"username": "system:serviceaccount:mediapipeline-system:mediapipeline-operator"},
        "userAgent": "mediapipeline-operator",
        "responseStatus": {"code": 200},
        "requestObject": {"spec": {"replicas": 3}},
    }
    file, line = tmp_path / "audit.log", json.dumps(event)
    log = MutationLog(file)
    assert log.read() == []
    file.write_text(f'{line}\n{{"verb": "create"}}\n{line[:40]}')
    (mutation,) = log.read()
    assert (mutation.verb, mutation.resource, mutation.subresource, mutation.name) == (
        "patch",
        "deployments",
        "scale",
        "studio-blur",
    )
    assert mutation.time.isoformat() == "2026-01-02T03:04:05.678900+00:00"
    assert mutation.body == {"spec": {"replicas": 3}}
    with file.open("a") as out:
        out.write(f"{line[40:]}\n")
    assert log.read() == [mutation, mutation]


def test_ports_are_free_different_and_below_the_ephemeral_range() -> None:
    ports = free_ports(PORT_NAMES)
    assert len(set(ports.values())) == len(PORT_NAMES)
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports.values())


def test_a_used_port_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", free_port()))
        used.listen()
        number = used.getsockname()[1]
        monkeypatch.setattr("devcluster.controlplane.addresses.secrets.randbelow", lambda _below: number - FIRST_PORT)
        with pytest.raises(OSError, match="no free TCP port"):
            free_port()
