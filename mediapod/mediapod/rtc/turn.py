"""TURN credentials for clients, made from a secret shared with the TURN server.

The scheme is that of draft-uberti-behave-turn-rest-00 ("TURN REST API"), as coturn implements it with
`use-auth-secret`: user name "expiry:name", password base64(HMAC-SHA1(secret, user name)).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TurnServers:
    """TURN servers that clients are told of, and how to make credentials for them."""

    uris: tuple[str, ...] = ()
    secret: str = ""
    lifetime_seconds: int = 3600

    def credentials(self, name: str, now: float) -> tuple[str, str]:
        """User name and password, valid from `now` (seconds since 1970) for `lifetime_seconds`."""
        username = f"{int(now) + self.lifetime_seconds}:{name}"
        # SHA-1 is what the scheme prescribes; HMAC with it is not broken.
        digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        return username, base64.b64encode(digest).decode()

    def links(self, name: str, now: float) -> Iterator[str]:
        """Values of Link headers (RFC 9725 section 4.6), one a server."""
        if not self.uris:
            return
        username, password = self.credentials(name, now)
        for uri in self.uris:
            yield (
                f'<{uri}>; rel="ice-server"; username="{username}"; credential="{password}"; credential-type="password"'
            )
