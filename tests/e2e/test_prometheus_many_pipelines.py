"""Two thousand pipelines on a real Prometheus: one constant batch, answered within a tick."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PIPELINES, PODS = 2000, 2
SAMPLES, INTERVAL_SECONDS = 8, 5
STAGES = {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}


def recording(until: float) -> Iterator[str]:
    """OpenMetrics of every pod: 20 frames a second, 80 % of them within 100 ms."""
    for family, kind, rows in (
        ("mediapod_sessions", "gauge", [("", "", 3.0, 0.0)]),
        ("mediapod_sessions_pending", "gauge", [("", "", 0.0, 0.0)]),
        ("mediapod_sessions_capacity", "gauge", [("", "", 8.0, 0.0)]),
        ("up", "gauge", [("", "", 1.0, 0.0)]),
        ("mediapod_frames_received", "counter", [("_total", "", 0.0, 100.0)]),
        (
            "mediapod_frame_age_seconds",
            "unknown",
            [("_bucket", f',le="{bound}"', 0.0, 80.0 * (bound >= 0.1)) for bound in LATENCY_BUCKETS_SECONDS],
        ),
    ):
        for suffix, more, start, step in rows:
            name = f"{family}{suffix}"
            declared = family if kind != "unknown" else name
            yield f"# TYPE {declared} {kind}\n" if more == "" or more.endswith('"0.005"') else ""
            yield from _rows(name, more, start, step, until)
    yield "# EOF\n"


def _rows(name: str, more: str, start: float, step: float, until: float) -> Iterator[str]:
    for pipeline in range(PIPELINES):
        for pod in range(PODS):
            labels = f'namespace="media",pipeline="p{pipeline}",pod="p{pipeline}-{pod}"{more}'
            for sample in range(SAMPLES):
                time_ = until - (SAMPLES - 1 - sample) * INTERVAL_SECONDS
                yield f"{name}{{{labels}}} {start + sample * step} {time_:.3f}\n"


@pytest.fixture
def url(binaries: Mapping[str, Path], tmp_path: Path) -> Iterator[str]:
    """A Prometheus with the recording in blocks; it ends a minute from now, when everything has been loaded."""
    text = tmp_path / "recording.om"
    with text.open("w") as out:
        out.writelines(recording(time.time() + 60))
    data = tmp_path / "data"
    command = (str(binaries["promtool"]), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data))
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-1000:]
    (tmp_path / "config.yaml").write_text(json.dumps({"global": {"scrape_interval": "5s"}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    flags = (
        f"--config.file={tmp_path / 'config.yaml'}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen((str(binaries["prometheus"]), *flags), stdout=log, stderr=log)
    try:
        _wait_ready(f"http://127.0.0.1:{port}")
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
    spec = MediaPipelineSpec.model_validate({"pipeline": STAGES})
    pipelines = [(Key("media", f"p{index}"), spec) for index in range(PIPELINES)]
    reader = PrometheusReader(ReaderSettings(url=url))
    started = time.monotonic()
    signals = await reader.read(pipelines)
    print(f"{PIPELINES} pipelines of {PODS} pods: {time.monotonic() - started:.2f} s at {datetime.now(UTC):%H:%M:%S}")
    reader.close()
    problems = {one.problem.message for one in signals.values() if one.problem}
    assert not problems
    for one in signals.values():
        assert one.received_per_second == pytest.approx(40.0)
        assert one.ok_per_second[0.1] == pytest.approx(32.0)
        assert one.ok_per_second[0.05] == 0.0
        assert len(one.pods) == PODS
