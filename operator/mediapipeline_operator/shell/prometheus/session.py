"""An HTTP session whose answers are bounded in size and time, with a token that may rotate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import requests

from mediapipeline_operator.shell.prometheus.answers import Envelope
from mediapipeline_operator.shell.prometheus.errors import TooLargeError, TooSlowError, from_response

CHUNK_BYTES = 64 * 1024


class BoundedSession(requests.Session):
    """requests reads a body of any size, and its read time-out counts from byte to byte: a slow drip never ends."""

    def __init__(self, *, max_bytes: int, max_seconds: float, token_file: str, ca_file: str) -> None:
        super().__init__()
        self.trust_env = False  # no proxies, no netrc: the operator's own settings say everything
        self.max_redirects = 3
        self.verify = ca_file or True
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._token_file = token_file

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests', but raises PrometheusError for a status other than 200 and for answers beyond the bounds."""
        deadline = time.monotonic() + self._max_seconds
        kwargs["headers"] = dict(kwargs.get("headers") or {}) | self._authorization()
        response = super().request(*args, **kwargs | {"stream": True})
        try:
            body = self._read(response, deadline)
        finally:
            response.close()
        if response.status_code != requests.codes.ok:
            raise from_response(response.status_code, body)
        return Envelope.of(response, body)

    def _authorization(self) -> dict[str, str]:
        """Read for each request: a service account's token is replaced every hour. Raises OSError if it is gone."""
        if not self._token_file:
            return {}
        return {"Authorization": f"Bearer {Path(self._token_file).read_text(encoding='utf-8').strip()}"}

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise TooLargeError(f"the answer is larger than {self._max_bytes} bytes")
            if time.monotonic() > deadline:
                raise TooSlowError(f"the answer did not end within {self._max_seconds:g} s")
        return bytes(body)
