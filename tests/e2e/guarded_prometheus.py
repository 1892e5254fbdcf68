"""A server in front of Prometheus that wants a bearer token, as a cluster's monitoring often does."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx


@contextmanager
def guarded(prometheus: str, token: str) -> Iterator[str]:
    """Its URL. Whoever shows another token, or none, gets a 401."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {token}":
                self._answer(401, b"Unauthorized", "text/plain")
                return
            answer = httpx.get(prometheus + self.path, timeout=10, trust_env=False)
            self._answer(answer.status_code, answer.content, answer.headers["Content-Type"])

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
