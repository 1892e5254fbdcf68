"""The program of the test pods: an HTTP server that shows what its container sees and obeys orders.

GET /env, /file/PATH, /readyz, /healthz, /set/ready|live/true|false, /api/PATH (asks the API server with its own token).
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
state = {"ready": os.environ.get("START_READY", "true") == "true", "live": True}


def ask_api(path: str) -> tuple[int, dict[str, object]]:
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    request = urllib.request.Request(server + path)  # noqa: S310  always https
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as response:  # noqa: S310  as above
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def answer(path: str) -> tuple[int, object]:
    kind, _, rest = path.removeprefix("/").partition("/")
    if kind in {"readyz", "healthz"}:
        return (200 if state["ready" if kind == "readyz" else "live"] else 503), {}
    if kind == "set":
        name, _, value = rest.partition("/")
        state[name] = value == "true"
        return 200, state
    if kind == "file":
        file = Path("/" + rest)
        return (200, file.read_text()) if file.is_file() else (404, str(file))
    if kind == "api":
        return ask_api("/" + rest)
    return 200, {"pod": os.environ.get("POD_NAME"), "env": dict(os.environ)}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, content = answer(self.path)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes would fill the log."""


def on_sigterm(*_: object) -> None:
    print("SIGTERM received", flush=True)
    if os.environ.get("IGNORE_SIGTERM"):
        return
    drain_seconds = float(os.environ.get("DRAIN_SECONDS", "0.2"))
    threading.Thread(target=lambda: (time.sleep(drain_seconds), os._exit(0))).start()


def main() -> None:
    signal.signal(signal.SIGTERM, on_sigterm)
    if marker := os.environ.get("CHILD_MARKER"):
        subprocess.Popen(["sleep", marker], start_new_session=True)  # a grandchild that left the process group
    print("serving as", os.environ.get("POD_NAME"), "arguments", sys.argv[1:], flush=True)
    ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()


if __name__ == "__main__":
    main()
