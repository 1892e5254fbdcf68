"""The real Prometheus finds a pipeline's pods through the real API server and labels their series as agreed."""

import json
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcluster.controlplane import ControlPlane
from devcluster.prometheus import Prometheus, PrometheusError, ScrapeSettings

Eventually = Callable[..., Any]


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"mediapod_sessions 3\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Keeps the test output clean."""


@pytest.fixture
def target() -> Iterator[tuple[str, int]]:
    """A server with one metric on an address of its own."""
    address = f"127.64.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
    with ThreadingHTTPServer((address, 0), _Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address, server.server_port
        server.shutdown()


@pytest.fixture
def server(control_plane: ControlPlane, binaries: Mapping[str, Path], tmp_path: Path) -> Iterator[Prometheus]:
    settings = ScrapeSettings(control_plane.server_url, control_plane.ca_file, control_plane.prometheus_token_file, 1)
    with Prometheus(tmp_path, binaries["prometheus"], settings) as prometheus:
        yield prometheus


def _run_pod(api: httpx.Client, namespace: str, name: str, labels: dict[str, str], address: str, port: int) -> None:
    ports = [{"name": "admin", "containerPort": port}, {"name": "http", "containerPort": port}]
    container = {"name": "main", "image": "example.invalid/none", "ports": ports}
    # bound by hand: no scheduler, no node agent
    pod = {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "none", "containers": [container]}}
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, json=pod).raise_for_status()
    status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
    headers = {"Content-Type": "application/merge-patch+json"}
    api.patch(f"{path}/{name}/status", content=json.dumps(status), headers=headers).raise_for_status()


def test_series_carry_exactly_the_agreed_labels(
    server: Prometheus, api: httpx.Client, namespace: str, target: tuple[str, int], eventually: Eventually
) -> None:
    address, port = target
    _run_pod(api, namespace, "studio-blur-0", {"media.rtcscale.dev/pipeline": "studio-blur"}, address, port)
    _run_pod(api, namespace, "bystander", {"app": "other"}, address, port)
    query = f'mediapod_sessions{{namespace="{namespace}"}}'
    series = eventually(lambda: server.query(query), "the first scrape")
    assert [one["metric"] for one in series] == [
        {
            "__name__": "mediapod_sessions",
            "namespace": namespace,
            "pod": "studio-blur-0",
            "pipeline": "studio-blur",
            "job": "mediapods",
            "instance": f"{address}:{port}",
        }
    ]
    assert series[0]["value"][1] == "3"


def test_it_comes_back_with_its_address_and_its_data(
    server: Prometheus, api: httpx.Client, namespace: str, target: tuple[str, int], eventually: Eventually
) -> None:
    _run_pod(api, namespace, "studio-blur-0", {"media.rtcscale.dev/pipeline": "studio-blur"}, *target)
    query = f'last_over_time(mediapod_sessions{{namespace="{namespace}"}}[1h])'
    eventually(lambda: server.query(query), "the first scrape")
    url = server.url
    server.stop(kill=True)
    with pytest.raises(PrometheusError, match="failed"):
        server.query("up")
    server.start()
    assert server.url == url
    assert server.query(query), "what was scraped before is lost"


def test_promtool_accepts_the_configuration(server: Prometheus, binaries: Mapping[str, Path]) -> None:
    checked = subprocess.run(
        (str(binaries["promtool"]), "check", "config", str(server.config_file)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
