"""The command lines of the control plane's processes (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster.controlplane.addresses import LOOPBACK
from devcluster.controlplane.pki import FRONT_PROXY_CLIENT, Pki
from devcluster.controlplane.processes import Command

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
COMPONENTS = (ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER)
PORT_NAMES = ("etcd-client", "etcd-peer", APISERVER, CONTROLLER_MANAGER, SCHEDULER)

# All of 127/8 is local on Linux: whoever proxies Services can listen on their cluster addresses as an ordinary user.
SERVICE_CIDR = "127.96.0.0/16"
SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"

# The endpoint controllers would retry for ever: validation refuses the loopback addresses that pods have here.
# Volumes, cloud parts and certificate requests have no meaning here.
_CONTROLLERS_OFF = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
)


@dataclass(frozen=True)
class Layout:
    """The files and ports of one cluster."""

    data_dir: Path
    ports: Mapping[str, int]
    pki: Pki
    service_cidr: str = SERVICE_CIDR
    audit: bool = False

    @property
    def server_url(self) -> str:
        """The API server's URL."""
        return f"https://{LOOPBACK}:{self.ports[APISERVER]}"

    @property
    def token_file(self) -> Path:
        """Static tokens of the API server."""
        return self.data_dir / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        """The audit policy, when there is one."""
        return self.data_dir / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """The audit log, when there is one: one JSON object a line."""
        return self.data_dir / "audit.log"

    def kubeconfig(self, component: str) -> Path:
        """The kubeconfig of a component."""
        return self.data_dir / f"{component}.kubeconfig"


def health_url(layout: Layout, component: str) -> str:
    """Where a component says that it works."""
    if component == ETCD:
        return f"http://{LOOPBACK}:{layout.ports['etcd-client']}/health"
    path = "readyz" if component == APISERVER else "healthz"
    return f"https://{LOOPBACK}:{layout.ports[component]}/{path}"


def command(layout: Layout, component: str, program: Path) -> Command:
    """The command that runs a component."""
    flags = _FLAGS[component](layout)
    return Command(component, (str(program), *(f"--{name}={value}" for name, value in flags.items())))


def _etcd(layout: Layout) -> dict[str, str]:
    client, peer = (f"http://{LOOPBACK}:{layout.ports[name]}" for name in ("etcd-client", "etcd-peer"))
    return {
        "data-dir": str(layout.data_dir / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",  # a lost cluster is made anew in seconds; every write would wait for the disk
        "log-level": "warn",
    }


def _apiserver(layout: Layout) -> dict[str, str]:
    return _apiserver_serving(layout) | _apiserver_identity(layout) | _aggregation(layout.pki) | _audit(layout)


def _apiserver_serving(layout: Layout) -> dict[str, str]:
    return {
        "etcd-servers": f"http://{LOOPBACK}:{layout.ports['etcd-client']}",
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,
        "secure-port": str(layout.ports[APISERVER]),
        "tls-cert-file": str(layout.pki.serving.certificate),
        "tls-private-key-file": str(layout.pki.serving.key),
        "service-cluster-ip-range": layout.service_cidr,
        "endpoint-reconciler-type": "none",  # it would publish a loopback address, which is refused
        "allow-privileged": "true",
        "profiling": "false",
        "shutdown-delay-duration": "0s",
    }


def _apiserver_identity(layout: Layout) -> dict[str, str]:
    return {
        "authorization-mode": "RBAC",
        "client-ca-file": str(layout.pki.ca.certificate),
        "token-auth-file": str(layout.token_file),
        "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
        "service-account-key-file": str(layout.pki.service_account_public_key),
        "service-account-signing-key-file": str(layout.pki.service_account_key),
    }


def _aggregation(pki: Pki) -> dict[str, str]:
    return {
        "requestheader-client-ca-file": str(pki.front_proxy_ca.certificate),
        "requestheader-allowed-names": FRONT_PROXY_CLIENT,
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(pki.front_proxy_client.certificate),
        "proxy-client-key-file": str(pki.front_proxy_client.key),
    }


def _audit(layout: Layout) -> dict[str, str]:
    if not layout.audit:
        return {}
    return {
        "audit-policy-file": str(layout.audit_policy),
        "audit-log-path": str(layout.audit_log),
        "audit-log-mode": "blocking-strict",  # a write that has been answered is in the log
    }


def _controller_manager(layout: Layout) -> dict[str, str]:
    switched_off = ",".join(f"-{name}" for name in _CONTROLLERS_OFF)
    return _client(layout, CONTROLLER_MANAGER) | {
        "controllers": f"*,{switched_off}",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(layout.pki.service_account_key),
        "root-ca-file": str(layout.pki.ca.certificate),
        "horizontal-pod-autoscaler-sync-period": "5s",
        "resource-quota-sync-period": "10s",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
    }


def _scheduler(layout: Layout) -> dict[str, str]:
    return _client(layout, SCHEDULER)


def _client(layout: Layout, component: str) -> dict[str, str]:
    kubeconfig = str(layout.kubeconfig(component))
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": LOOPBACK,
        "secure-port": str(layout.ports[component]),
        "leader-elect": "false",
        "profiling": "false",
    }


_FLAGS = {ETCD: _etcd, APISERVER: _apiserver, CONTROLLER_MANAGER: _controller_manager, SCHEDULER: _scheduler}
