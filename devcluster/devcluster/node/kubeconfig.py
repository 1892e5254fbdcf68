"""The API server's address and the credentials in a kubeconfig file."""

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from devcluster.node.json_types import Json


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the message names the file and what is missing."""


@dataclass(frozen=True)
class Connection:
    """How to reach one API server."""

    server: str
    ssl_context: ssl.SSLContext | None
    ca_certificate: str
    token: str | None

    @property
    def host(self) -> str:
        """Host name or address of the API server."""
        return urlsplit(self.server).hostname or ""

    @property
    def port(self) -> int:
        """TCP port of the API server."""
        url = urlsplit(self.server)
        return url.port or (443 if url.scheme == "https" else 80)


def load_kubeconfig(path: Path) -> Connection:
    """The connection of the current context: CA and client certificate as data or files, or a bearer token.

    Raises KubeconfigError.
    """
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config.get("users") or [], context["user"])["user"] or {}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise KubeconfigError(f"kubeconfig {path}: no usable current context ({error!r})") from error
    authority = _material(cluster, "certificate-authority", path.parent)
    server = cluster["server"].rstrip("/")
    context_ssl = _ssl_context(authority, user, path.parent) if server.startswith("https") else None
    return Connection(server, context_ssl, authority or "", _token(user, path.parent))


def _named(entries: list[Json], name: str) -> Json:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _material(section: Json, key: str, folder: Path) -> str | None:
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    if file := section.get(key):
        return (folder / str(file)).read_text()
    return None


def _token(user: Json, folder: Path) -> str | None:
    if file := user.get("tokenFile"):
        return (folder / str(file)).read_text().strip()
    token: str | None = user.get("token")
    return token


def _ssl_context(authority: str | None, user: Json, folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    certificate, key = (_material(user, name, folder) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # the ssl module only reads files
            pair.write(certificate + "\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context
