"""TURN servers: their URIs, and the credentials that each session gets for them.

With a shared secret the scheme is that of draft-uberti-behave-turn-rest-00 ("TURN REST API"), as coturn implements it
with `use-auth-secret`: user name "expiry:name", password base64(HMAC-SHA1(secret, user name)).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

_URI = re.compile(
    r"(?P<scheme>turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)
_DEFAULT_PORTS = {"turn": 3478, "turns": 5349}


@dataclass(frozen=True, slots=True)
class TurnServer:
    """One TURN server (RFC 7065). transport: between the pod and the server; media themselves are UDP either way."""

    uri: str
    host: str
    port: int
    transport: Literal["udp", "tcp"]
    tls: bool

    @classmethod
    def parse(cls, uri: str) -> TurnServer:
        """Raises ValueError, which shows what an URI looks like."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise ValueError(f"{uri!r} must look like turn:host:port?transport=udp")
        tls = match["scheme"] == "turns"
        if tls and match["transport"] == "udp":
            raise ValueError(f"{uri!r}: TURN over DTLS is not spoken, use ?transport=tcp")
        port = int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
        if not 0 < port < 1 << 16:
            raise ValueError(f"{uri!r}: {port} is no port")
        transport = match["transport"] or ("tcp" if tls else "udp")
        return cls(uri, match["host"].strip("[]"), port, cast("Literal['udp', 'tcp']", transport), tls)


@dataclass(frozen=True, slots=True)
class TurnServers:
    """The TURN servers that clients are told of, and what they ask for: a shared secret, else one user's name and
    password.
    """

    uris: tuple[str, ...] = ()
    secret: str = ""
    lifetime_seconds: int = 3600
    username: str = ""
    password: str = ""

    def credentials(self, name: str, now: float) -> tuple[str, str]:
        """User name and password. With a shared secret they are valid from `now` (seconds since 1970) for
        `lifetime_seconds`.
        """
        if not self.secret:
            return self.username, self.password
        username = f"{int(now) + self.lifetime_seconds}:{name}"
        # SHA-1 is what the scheme prescribes; HMAC with it is not broken.
        digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        return username, base64.b64encode(digest).decode()

    def links(self, name: str, now: float) -> Iterator[str]:
        """Values of Link headers (RFC 9725 section 4.6), one a server."""
        for server in self.ice_servers(name, now):
            username, password = (_quotable(str(server[key])) for key in ("username", "credential"))
            for uri in self.uris:
                yield (
                    f'<{uri}>; rel="ice-server"; username="{username}"; credential="{password}"; '
                    'credential-type="password"'
                )

    def ice_servers(self, name: str, now: float) -> list[dict[str, object]]:
        """The `iceServers` of a browser's RTCConfiguration; empty without servers."""
        if not self.uris:
            return []
        username, password = self.credentials(name, now)
        return [{"urls": list(self.uris), "username": username, "credential": password}]


def _quotable(text: str) -> str:
    """For a quoted-string of RFC 9110 section 5.6.4."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
