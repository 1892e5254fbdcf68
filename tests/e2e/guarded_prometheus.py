"""A server in front of Prometheus that wants a bearer token, as a cluster's monitoring often does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from e2e.answering import Answer, answering


@contextmanager
def guarded(prometheus: str, token: str) -> Iterator[str]:
    """Its URL. Whoever shows another token, or none, gets a 401."""

    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        if headers.get("Authorization") != f"Bearer {token}":
            return 401, b"Unauthorized", "text/plain"
        got = httpx.get(prometheus + path, timeout=10, trust_env=False)
        return got.status_code, got.content, got.headers["Content-Type"]

    with answering(answer) as port:
        yield f"http://127.0.0.1:{port}"
