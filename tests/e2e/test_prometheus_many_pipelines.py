"""Two thousand pipelines on a real Prometheus: one constant batch, answered within a tick."""

import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.real_prometheus import running
from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling.queries import batch, window_seconds
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PIPELINES, PODS = 2000, 2
INTERVAL_SECONDS = 10
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
    """A Prometheus that scrapes the target, after as many scrapes as a window holds."""
    scrape = {"job_name": "pods", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    with running(binaries["prometheus"], tmp_path, [scrape], f"{INTERVAL_SECONDS}s") as address:
        _wait_for_scrapes(address, 5)
        yield address


def _wait_for_scrapes(url: str, count: int) -> None:
    deadline = time.monotonic() + 30 * INTERVAL_SECONDS
    counted = f"min(count_over_time(mediapod_sessions[{2 * count * INTERVAL_SECONDS}s]))"
    while time.monotonic() < deadline:
        result = ask(url, counted)["result"]
        if result and float(result[0]["value"][1]) >= count:
            return
        time.sleep(1)
    pytest.fail(f"the target was not scraped {count} times")


def ask(url: str, promql: str) -> dict[str, Any]:
    """The data of an instant query with Prometheus' own account of what it cost."""
    asked = {"query": promql, "stats": "all"}
    answer = httpx.get(f"{url}/api/v1/query", params=asked, timeout=60, trust_env=False)
    data: dict[str, Any] = answer.raise_for_status().json()["data"]
    return data


def spec() -> MediaPipelineSpec:
    scaling = {"latency": {"scaleUp": {"forSeconds": 60}}}
    body = {"pipeline": STAGES, "monitoring": {"intervalSeconds": INTERVAL_SECONDS}, "autoscaling": scaling}
    return MediaPipelineSpec.model_validate(body)


async def test_two_thousand_pipelines_in_one_batch(url: str) -> None:
    pipelines = [(Key("media", f"p{index}"), spec()) for index in range(PIPELINES)]
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
    _costs(url)


def _costs(url: str) -> None:
    """In samples that Prometheus touches, by its own account: unlike seconds, they do not depend on the machine."""
    window = window_seconds(spec())
    most = window // INTERVAL_SECONDS + 1  # samples of a series within a window
    total = 0
    for query in batch([spec()]):
        data = ask(url, query.promql)
        touched, seconds = data["stats"]["samples"]["totalQueryableSamples"], data["stats"]["timings"]["evalTotalTime"]
        print(f"{query.measure:12} {touched:>9} samples, {len(data['result']):>6} series, {seconds:.2f} s")
        total += touched
    assert total <= PIPELINES * PODS * most * (len(LATENCY_BUCKETS_SECONDS) + 10)
