"""Who may ask for a session: a bearer token, compared in constant time, or a JSON Web Token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Protocol

import jwt

MINIMUM_SECRET_BYTES = 32  # RFC 7518 section 3.2: a key of at least the size of the hash
REQUIRED_CLAIMS = ["exp", "aud"]
CLOCK_SKEW_SECONDS = 5


class Denied(Exception):  # noqa: N818  an answer, not a fault
    """The credentials are missing or wrong; the message says what is needed and gives nothing away."""


class Verifier(Protocol):
    """Checks one kind of bearer token."""

    def accepts(self, token: str) -> bool:
        """Whether the token is good. Never raises."""


class SharedToken:
    """One fixed token for everybody."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def accepts(self, token: str) -> bool:
        """See Verifier."""
        return hmac.compare_digest(token.encode(), self._token)


class JwtVerifier:
    """JSON Web Tokens signed with one key: RS256 if it is a public key in PEM, else HS256.

    The key decides on the algorithm, never the token: a token could otherwise be signed with the public key as if it
    were a shared secret. Raises ValueError for a key that is neither.
    """

    def __init__(self, key: str, audience: str) -> None:
        is_pem = key.lstrip().startswith("-----BEGIN")
        self._algorithm = "RS256" if is_pem else "HS256"
        if not is_pem and len(key.encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"is neither a public key in PEM nor a secret of at least {MINIMUM_SECRET_BYTES} bytes")
        try:
            self._key = jwt.get_algorithm_by_name(self._algorithm).prepare_key(key)
        except (jwt.InvalidKeyError, ValueError, TypeError) as error:
            raise ValueError(f"is not a usable {self._algorithm} key: {error}") from error
        self._audience = audience

    def accepts(self, token: str) -> bool:
        """See Verifier."""
        try:
            jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": REQUIRED_CLAIMS},
            )
        except (jwt.InvalidTokenError, ValueError):
            return False
        return True


class Access:
    """Lets pass what one of the verifiers accepts; everything when there are none."""

    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = tuple(verifiers)

    def check(self, authorization: str) -> None:
        """Check the value of an Authorization header ("" if absent). Raises Denied."""
        if not self._verifiers:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not any(verifier.accepts(token.strip()) for verifier in self._verifiers):
            raise Denied("a valid bearer token is needed (Authorization: Bearer ...)")


def access_for(token: str | None, jwt_key: str | None, jwt_audience: str) -> Access:
    """The access that the settings ask for."""
    verifiers: list[Verifier] = []
    if token is not None:
        verifiers.append(SharedToken(token))
    if jwt_key is not None:
        verifiers.append(JwtVerifier(jwt_key, jwt_audience))
    return Access(verifiers)
