"""Users of the cluster, their static tokens, and kubeconfig files."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from devcluster.controlplane.pki import write_private

ADMIN = "devcluster-admin"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
PROMETHEUS = "devcluster-prometheus"


@dataclass(frozen=True)
class User:
    """A user of the static token file. system:masters may do everything; the others get what RBAC gives their name."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


def create_users() -> dict[str, User]:
    """The cluster's own users with new tokens."""
    users = (User(ADMIN, ("system:masters",)), User(CONTROLLER_MANAGER), User(SCHEDULER), User(PROMETHEUS))
    return {user.name: user for user in users}


def token_file(users: Iterable[User]) -> str:
    """The content of kube-apiserver's --token-auth-file: token,user,uid,"group,group"."""
    lines = []
    for user in users:
        groups = f',"{",".join(user.groups)}"' if user.groups else ""
        lines.append(f"{user.token},{user.name},{user.name}{groups}\n")
    return "".join(lines)


def write_kubeconfig(path: Path, server_url: str, ca_file: Path, user: User) -> None:
    """Writes a kubeconfig (mode 0600) that works from any folder: it names the CA file by its absolute path."""
    cluster = {"server": server_url, "certificate-authority": str(ca_file.absolute())}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devcluster", "cluster": cluster}],
        "users": [{"name": user.name, "user": {"token": user.token}}],
        "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": user.name}}],
        "current-context": "devcluster",
    }
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())
