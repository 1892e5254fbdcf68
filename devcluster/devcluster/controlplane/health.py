"""Requests to the cluster's own servers."""

import ssl
from pathlib import Path

import httpx

PROBE_TIMEOUT_SECONDS = 2.0
REQUEST_TIMEOUT_SECONDS = 10.0


def answers_ok(url: str, token: str = "") -> bool:
    """Whether a health endpoint on loopback answers 200.

    Certificates are not checked: the controllers serve theirs self-signed from memory, and no
    secret but the API server's own token is sent.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(url, headers=headers, verify=_UNCHECKED, timeout=PROBE_TIMEOUT_SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def loopback_client(server_url: str, ca_file: Path, token: str) -> httpx.Client:
    """A client of the API server; proxies of the environment do not apply to loopback."""
    return httpx.Client(
        base_url=server_url,
        headers={"Authorization": f"Bearer {token}", "User-Agent": "devcluster"},
        verify=ssl.create_default_context(cafile=str(ca_file)),
        timeout=REQUEST_TIMEOUT_SECONDS,
        trust_env=False,
    )


def _unchecked_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_UNCHECKED = _unchecked_context()
