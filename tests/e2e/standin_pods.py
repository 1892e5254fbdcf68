"""Pods that answer for themselves as mediapods would, without any media."""

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ADMIN_PORT = 9090


class Pod:
    """Stands in for a mediapod's admin port, and for the kubelet that reports its readiness."""

    def __init__(self, world: Any, name: str, sessions: int) -> None:
        self.world = world
        self.name = name
        self.sessions = sessions
        self.draining = False
        self.address = f"127.{secrets.randbelow(20) + 70}.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        self.server = ThreadingHTTPServer((self.address, ADMIN_PORT), self._handler())
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.report()

    def report(self) -> None:
        """Writes the pod's status as a kubelet would."""
        state = "False" if self.draining else "True"
        ready = {"type": "Ready", "status": state, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "podIP": self.address, "conditions": [ready]}
        self.world.patch("Pod", self.name, {"status": status}, "status")

    def answer(self, method: str, path: str) -> dict[str, Any]:
        if path == "/drain":
            self.draining = method == "POST"
            self.report()
            return {"draining": self.draining, "sessions": self.sessions}
        return {"draining": self.draining, "active": self.sessions, "pending": 0, "capacity": 8, "sessions": []}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                body = json.dumps(pod.answer(self.command, self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _reply  # noqa: N815  names that http.server looks for

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

        return Handler
