"""Two thousand pipelines on a real Prometheus: one constant batch, whose cost is counted in samples and processor time.

Seconds on the clock say more about what else runs on the machine than about the queries.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.real_prometheus import Series, record, running
from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling.queries import WINDOW_SCRAPES, Measure, batch
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
PIPELINES, PODS = 2000, 2
INTERVAL_SECONDS = 60  # the longest there is: a recording of ten minutes has few samples
PAST_SECONDS, AHEAD_SECONDS = 300.0, 600.0
FRAMES_PER_SECOND = 20
# Of processor time for the whole batch: 1.6 s for both sides when this was written, on one core of two.
MOST_CPU_SECONDS = 8.0


def spec() -> MediaPipelineSpec:
    scaling = {"latency": {"scaleUp": {"forSeconds": WINDOW_SCRAPES * INTERVAL_SECONDS}}}
    stages = {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}
    body = {"pipeline": stages, "monitoring": {"intervalSeconds": INTERVAL_SECONDS}, "autoscaling": scaling}
    return MediaPipelineSpec.model_validate(body)


def counter(per_second: float) -> Callable[[float], float]:
    return lambda at: (at % 1_000_000) * per_second


def recording() -> Series:
    """Every pod: 20 frames a second, 80 % of them within 100 ms."""
    series: dict[str, Callable[[float], float | str | None]] = {}
    for pipeline in range(PIPELINES):
        for pod in range(PODS):
            labels = f'namespace="media",pipeline="p{pipeline}",pod="p{pipeline}-{pod}"'
            for name, value in {"sessions": 3, "sessions_pending": 0, "sessions_capacity": 8}.items():
                series[f"mediapod_{name}{{{labels}}}"] = lambda at, value=value: value
            series[f"up{{{labels}}}"] = lambda at: 1
            series[f"mediapod_frames_received_total{{{labels}}}"] = counter(FRAMES_PER_SECOND)
            for bound in LATENCY_BUCKETS_SECONDS:
                rate = 0.8 * FRAMES_PER_SECOND if bound >= 0.1 else 0
                series[f'mediapod_frame_age_seconds_bucket{{{labels},le="{bound}"}}'] = counter(rate)
    return series


@pytest.fixture(scope="module")
def url(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, now = tmp_path_factory.mktemp("many"), float(int(time.time()))
    record(binaries["promtool"], folder, recording(), now - PAST_SECONDS, now + AHEAD_SECONDS, INTERVAL_SECONDS)
    with running(binaries["prometheus"], folder) as address:
        yield address


async def test_two_thousand_pipelines_in_one_batch(url: str) -> None:
    pipelines = [(Key("media", f"p{index}"), spec()) for index in range(PIPELINES)]
    reader = PrometheusReader(ReaderSettings(url=url, timeout_seconds=120, batch_seconds=240))
    await reader.read(pipelines)  # the first one loads the database's index
    server, ours, started = _server_cpu_seconds(url), time.process_time(), time.monotonic()
    signals = await reader.read(pipelines)
    took, ours = time.monotonic() - started, time.process_time() - ours
    server = _server_cpu_seconds(url) - server
    reader.close()
    print(f"{PIPELINES} pipelines of {PODS} pods: {took:.2f} s; processor time {server:.2f} s there, {ours:.2f} s here")
    assert not {one.problem.message for one in signals.values() if one.problem}
    for one in signals.values():
        assert one.received_per_second == pytest.approx(PODS * FRAMES_PER_SECOND, rel=0.001)
        assert one.ok_per_second[0.1] == pytest.approx(0.8 * PODS * FRAMES_PER_SECOND, rel=0.001)
        assert one.ok_per_second[0.05] == 0.0
        assert len(one.pods) == PODS
    assert server + ours < MOST_CPU_SECONDS


def _server_cpu_seconds(url: str) -> float:
    """What the server itself says of its process."""
    text = httpx.get(f"{url}/metrics", timeout=60, trust_env=False).text
    line = next(line for line in text.splitlines() if line.startswith("process_cpu_seconds_total "))
    return float(line.split()[1])


def test_each_series_is_read_once_in_a_window(url: str) -> None:
    """The fleet's rates read every frame counter once, those by pod the two that count; a gauge is one sample."""
    pods = PIPELINES * PODS
    most = dict.fromkeys(Measure, 2) | {
        Measure.GAUGES: 4,
        Measure.FLEET_FRAMES: WINDOW_SCRAPES * (1 + len(LATENCY_BUCKETS_SECONDS)),
        Measure.POD_FRAMES: WINDOW_SCRAPES * 2,
    }
    for query in batch([spec()]):
        data = _ask(url, query.promql)
        touched, seconds = data["stats"]["samples"]["totalQueryableSamples"], data["stats"]["timings"]["evalTotalTime"]
        print(f"{query.measure:12} {touched:>7} samples, {len(data['result']):>5} series, {seconds:.2f} s")
        assert touched <= pods * most[query.measure], query.measure


def _ask(url: str, promql: str) -> dict[str, Any]:
    """The data of an instant query with Prometheus' own account of what it cost."""
    asked = {"query": promql, "stats": "all"}
    answer = httpx.get(f"{url}/api/v1/query", params=asked, timeout=120, trust_env=False)
    data: dict[str, Any] = answer.raise_for_status().json()["data"]
    return data
