"""How to reach the API server and who we are: read by the Kubernetes client's own loaders, refreshed by its own
hook.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import structlog
from kubernetes import client, config

from mediapipeline_operator.shell.cluster.errors import UnauthorizedError

log = structlog.get_logger(__name__)


class NoCredentialsError(Exception):
    """Neither a service account nor a kubeconfig is there."""


@dataclass(frozen=True)
class Credentials:
    """`server` without a trailing slash.

    The authorization header is asked for before each request, as tokens rotate.
    """

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    insecure: bool
    configuration: client.Configuration

    def authorization(self) -> str | None:
        """The Authorization header's value: a bearer token, re-read by the client's hook when it may have rotated.

        Raises UnauthorizedError when its file cannot be read, which may be a moment of its rotation.
        """
        try:
            value = self.configuration.get_api_key_with_prefix("BearerToken", "authorization")
        except (OSError, config.ConfigException) as error:
            raise UnauthorizedError(401, "Unauthorized", f"the token cannot be read: {error}") from error
        return str(value) if value else None

    def refused(self) -> None:
        """The server has answered 401: what the token's file says now is shown next. The client's own hook reads it
        once a minute in a pod, and never when it is named in a kubeconfig.
        """
        try:
            _load(self.configuration)
        except (OSError, config.ConfigException, NoCredentialsError) as error:
            log.warning("token_not_read", error=str(error))

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS with the cluster's CA and our client certificate, None for a plain http server."""
        if self.server.startswith("http://"):
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def load_credentials() -> Credentials:
    """The pod's service account, else KUBECONFIG or ~/.kube/config. Raises NoCredentialsError with both reasons."""
    configuration = client.Configuration()
    _load(configuration)
    return _credentials(configuration)


def _load(configuration: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as in_cluster:
        try:
            config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as kubeconfig:
            raise NoCredentialsError(
                f"no way to reach a cluster: in a pod: {in_cluster}; by kubeconfig: {kubeconfig}; "
                "run in a pod with a service account, or set KUBECONFIG to a readable file"
            ) from kubeconfig


def _credentials(configuration: client.Configuration) -> Credentials:
    return Credentials(
        server=configuration.host.rstrip("/"),
        ca_file=configuration.ssl_ca_cert or None,
        certificate_file=configuration.cert_file or None,
        key_file=configuration.key_file or None,
        insecure=not configuration.verify_ssl,
        configuration=configuration,
    )
