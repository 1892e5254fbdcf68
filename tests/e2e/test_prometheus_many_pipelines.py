"""Two thousand pipelines on a real Prometheus: one constant batch, answered within a tick."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PIPELINES, PODS = 2000, 2
STAGES = {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}


def template() -> str:
    """What every pod says, with words in the place of counters."""
    rows = {"mediapod_sessions": "3", "mediapod_sessions_pending": "0", "mediapod_sessions_capacity": "8"}
    rows |= {"mediapod_frames_received_total": "RECEIVED"}
    lines = [f"{name}{{{labels}}} {value}" for name, value in rows.items() for labels in pods()]
    for bound in LATENCY_BUCKETS_SECONDS:
        value = "WITHIN" if bound >= 0.1 else "0"
        lines += [f'mediapod_frame_age_seconds_bucket{{{labels},le="{bound}"}} {value}' for labels in pods()]
    return "\n".join(lines) + "\n"


def pods() -> Iterator[str]:
    for pipeline in range(PIPELINES):
        for pod in range(PODS):
            yield f'namespace="media",pipeline="p{pipeline}",pod="p{pipeline}-{pod}"'


@pytest.fixture
def target() -> Iterator[int]:
    """Port of one target that speaks for all pods: 20 frames a second each, 80 % of them within 100 ms."""
    text, start = template(), time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            frames = (time.monotonic() - start) * 20
            body = text.replace("RECEIVED", f"{frames:.3f}").replace("WITHIN", f"{0.8 * frames:.3f}").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def url(binaries: Mapping[str, Path], target: int, tmp_path: Path) -> Iterator[str]:
    """A Prometheus that has scraped the target for seven intervals."""
    scrape = {"job_name": "pods", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config = {"global": {"scrape_interval": "10s", "scrape_timeout": "10s"}, "scrape_configs": [scrape]}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    flags = (
        f"--config.file={tmp_path / 'config.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen((str(binaries["prometheus"]), *flags), stdout=log, stderr=log)
    try:
        _wait_ready(f"http://127.0.0.1:{port}")
        time.sleep(70)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_ready(base: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{base}/-/ready", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail("Prometheus did not get ready")


async def test_two_thousand_pipelines_in_one_batch(url: str) -> None:
    scaling = {"latency": {"scaleUp": {"forSeconds": 60}}}
    body = {"pipeline": STAGES, "monitoring": {"intervalSeconds": 10}, "autoscaling": scaling}
    spec = MediaPipelineSpec.model_validate(body)
    pipelines = [(Key("media", f"p{index}"), spec) for index in range(PIPELINES)]
    reader = PrometheusReader(ReaderSettings(url=url, timeout_seconds=60, batch_seconds=120))
    started = time.monotonic()
    signals = await reader.read(pipelines)
    print(f"{PIPELINES} pipelines of {PODS} pods in one batch: {time.monotonic() - started:.2f} s")
    reader.close()
    assert not {one.problem.message for one in signals.values() if one.problem}
    for one in signals.values():
        assert one.received_per_second  # about 40, less where a busy machine loses scrapes
        assert one.ok_per_second[0.1] == pytest.approx(0.8 * one.received_per_second)
        assert one.ok_per_second[0.05] == 0.0
        assert len(one.pods) == PODS
