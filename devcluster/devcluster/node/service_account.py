"""Credentials for pods whose service-account volume cannot be mounted: a kubeconfig that points to the token's file."""

from pathlib import Path

import yaml

from devcluster.node.kubeconfig import Connection


def write_pod_kubeconfig(path: Path, connection: Connection, token_file: Path, namespace: str) -> None:
    """Writes a kubeconfig that uses the pod's own token (read from ``token_file``, which is renewed in place)."""
    authority = path.with_name("kubeconfig-ca.crt")
    authority.write_text(connection.ca_certificate)
    cluster = {"server": connection.server, "certificate-authority": str(authority)}
    context = {"cluster": "local", "user": "pod", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"tokenFile": str(token_file)}}],
        "contexts": [{"name": "pod", "context": context}],
        "current-context": "pod",
    }
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
