"""The batch of queries on a real Prometheus that scrapes targets with the metrics contract, good and broken ones."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devcluster.controlplane.addresses import free_port
from e2e.real_prometheus import Series, record, running
from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import LATENCY_BUCKETS_SECONDS, MediaPipelineSpec
from mediapipeline_operator.core.scaling import (
    DataState,
    Outcome,
    PodFacts,
    ProblemKind,
    ScalingState,
    Signals,
    WorkloadFacts,
    decide,
)
from mediapipeline_operator.shell.prometheus import PrometheusReader, ReaderSettings

FRAMES_PER_SECOND = 100
PAST_SECONDS, AHEAD_SECONDS = 30.0, 900.0  # of the recording, seen from its making
SPEC = MediaPipelineSpec.model_validate(
    {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "monitoring": {"intervalSeconds": 1},
        "autoscaling": {"minReplicas": 1},
    }
)
Value = Callable[[float], float | str | None]  # of the seconds since the epoch


def frames(at: float) -> float:
    """A counter of 100 a second."""
    return (at % 1_000_000) * FRAMES_PER_SECOND


def constant(value: float | str) -> Value:
    return lambda at: value


def scaled(counter: Value, share: float) -> Value:
    def value(at: float) -> float | None:
        count = counter(at)
        return None if count is None else float(count) * share

    return value


def pod(
    counter: Value = frames,
    *,
    within_50: float = 0.9,
    within_100: float = 0.97,
    sessions: float | str = 3,
    pending: int = 1,
) -> dict[str, Value]:
    """Series of a pod that received `counter`; shares of the frames came back within 50 and 100 ms, the rest never."""
    rows: dict[str, Value] = {
        "mediapod_frames_received_total": counter,
        "mediapod_sessions": constant(sessions),
        "mediapod_sessions_pending": constant(pending),
        "mediapod_sessions_capacity": constant(8),
        "mediapod_draining": constant(0),
        'mediapod_device_busy_seconds_total{device="simulated"}': scaled(counter, 1 / FRAMES_PER_SECOND / 2),
        'mediapod_device_busy_seconds_total{device="cpu"}': scaled(counter, 3 / FRAMES_PER_SECOND),
        'mediapod_offers_total{result="rejected_capacity"}': constant(0),
    }
    for bound in (*LATENCY_BUCKETS_SECONDS, "+Inf"):
        share = within_100 if bound == "+Inf" or bound >= 0.1 else within_50 if bound >= 0.05 else 0.0
        rows[f'mediapod_frame_age_seconds_bucket{{le="{bound}"}}'] = scaled(counter, share)
    return rows


def web() -> dict[str, Value]:
    """HTTP requests, half of them within 75 ms, all within 0.3 s; half a core."""
    rows = pod(constant(1000)) | {"app_request_latency_seconds_count": frames}
    for bound in (*LATENCY_BUCKETS_SECONDS, "+Inf"):
        share = 1.0 if bound == "+Inf" or bound >= 0.3 else 0.5 if bound >= 0.075 else 0.0
        rows[f'app_request_latency_seconds_bucket{{le="{bound}"}}'] = scaled(frames, share)
    cores = scaled(frames, 1 / FRAMES_PER_SECOND / 2)
    return rows | {"process_cpu_seconds_total": cores, "process_resident_memory_bytes": constant(1e9)}


def without(rows: dict[str, Value], *texts: str) -> dict[str, Value]:
    return {name: value for name, value in rows.items() if not any(text in name for text in texts)}


def restarting(at: float) -> float:
    """The process starts anew every seven seconds."""
    return frames(at) % (7 * FRAMES_PER_SECOND)


def late(at: float) -> float | None:
    """Of three scrapes one is lost."""
    return None if int(at) % 3 == 0 else frames(at)


RECORDED: Mapping[str, dict[str, Value]] = {
    "good/pod-0": pod(),
    "good/pod-1": pod(within_100=0.87),
    "reset/pod-0": pod(restarting),
    "late/pod-0": pod(late),
    "idle/pod-0": pod(constant(1000), sessions=0, pending=0),
    "muted/pod-0": pod(constant(1000)),
    "nan/pod-0": pod(sessions="NaN"),
    "web/pod-0": web(),
    "foreign/pod-0": {"mediapod_frames_received_total": constant(5), "mediapod_sessions": constant(3)},
    "bucketless/pod-0": without(pod(), 'le="0.1"', 'le="0.05"'),
    "unmeasured/pod-0": {},
}


def labelled(name: str, labels: str) -> str:
    return name.replace("{", "{" + labels + ",", 1) if "{" in name else f"{name}{{{labels}}}"


def recording() -> Series:
    series: dict[str, Value] = {}
    for path, rows in RECORDED.items():
        pipeline, name = path.split("/")
        labels = f'namespace="media",pipeline="{pipeline}",pod="{name}"'
        series |= {labelled(key, labels): value for key, value in (rows | {"up": constant(1)}).items()}
    return series


@pytest.fixture(scope="module")
def url(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that holds a sample a second of every recorded pod, up to a time that no test reaches."""
    folder, now = tmp_path_factory.mktemp("recorded"), float(int(time.time()))
    record(binaries["promtool"], folder, recording(), now - PAST_SECONDS, now + AHEAD_SECONDS, 1)
    with running(binaries["prometheus"], folder) as address:
        yield address


def exposition(stamp: str = "") -> str:
    """What a pod answers to a scrape now."""
    now = time.time()
    return "".join(f"{name} {value(now)}{stamp}\n" for name, value in pod().items())


def old_stamp() -> str:
    """Samples that claim to be half a minute old."""
    return f" {int((time.time() - 30) * 1000)}"


SCRAPED: Mapping[str, Callable[[], str | None]] = {
    "half/pod-0": exposition,
    "half/pod-1": lambda: None,
    "down/pod-0": lambda: None,
    "old/pod-0": lambda: exposition(old_stamp()),
    "twice/pod-0": exposition,
}


class _Pods(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = SCRAPED[self.path.strip("/").removesuffix("/again")]()
        body = (text or "").encode()
        self.send_response(500 if text is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Keeps the test output clean."""


def scrapes(port: int) -> list[dict[str, object]]:
    def target(path: str, pod: str) -> dict[str, object]:
        pipeline, name = pod.split("/")
        labels = {"__metrics_path__": f"/{path}", "namespace": "media", "pipeline": pipeline, "pod": name}
        return {"targets": [f"127.0.0.1:{port}"], "labels": labels}

    jobs = {"pods": [target(pod, pod) for pod in SCRAPED], "again": [target("twice/pod-0/again", "twice/pod-0")]}
    return [{"job_name": job, "static_configs": targets} for job, targets in jobs.items()]


@pytest.fixture(scope="module")
def scraping(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes targets every second, and has begun to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pods) as pods:
        threading.Thread(target=pods.serve_forever, daemon=True).start()
        folder = tmp_path_factory.mktemp("scraping")
        with running(binaries["prometheus"], folder, scrapes(pods.server_port)) as address:
            yield address
        pods.shutdown()


@dataclass(frozen=True)
class Read:
    signals: Signals
    outcome: Outcome


async def read(url: str, pipeline: str, pods: int = 1, spec: MediaPipelineSpec = SPEC) -> Read:
    """The signals of one pipeline, and what is decided on them for so many ready pods."""
    reader = PrometheusReader(ReaderSettings(url=url, timeout_seconds=60, batch_seconds=120))  # for a busy machine
    key = Key("media", pipeline)
    signals = (await reader.read([(key, spec)]))[key]
    reader.close()
    now = datetime.now(UTC)
    created = now - timedelta(hours=1)
    facts = tuple(PodFacts(f"pod-{i}", f"uid-{i}", created, ready=True, ready_since=created) for i in range(pods))
    outcome = decide(spec, WorkloadFacts(pods, pods=facts), signals, ScalingState(), now, tick_seconds=10)
    return Read(signals, outcome)


async def test_values_of_two_good_pods(url: str) -> None:
    seen = await read(url, "good", pods=2)
    pod = seen.signals.pods["pod-0"]
    assert seen.signals.problem is None
    assert (pod.up, pod.sessions, pod.pending, pod.capacity, pod.draining) == (True, 3.0, 1.0, 8.0, False)
    assert pod.received_per_second == pytest.approx(FRAMES_PER_SECOND, rel=0.01)
    assert pod.busy_share == pytest.approx(0.5, rel=0.01)  # of the device; the seconds of CPU threads are no share
    assert pod.age_seconds is not None
    assert pod.age_seconds < 5
    assert seen.outcome.data_state is DataState.FRESH
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(80, abs=1)  # 97 % and 87 % on time
    assert "p95Milliseconds" not in seen.outcome.latency_status  # 8 % never came back
    assert seen.outcome.sessions_status["summary"] == "8/16"


async def test_every_bucket_is_found_in_whatever_spelling(url: str) -> None:
    signals = (await read(url, "good", pods=2)).signals
    assert set(LATENCY_BUCKETS_SECONDS) <= set(signals.ok_per_second)


async def test_a_counter_reset_is_no_negative_and_no_giant_rate(url: str) -> None:
    seen = await read(url, "reset")
    rate = seen.signals.pods["pod-0"].received_per_second
    assert rate is not None
    assert 0.3 * FRAMES_PER_SECOND <= rate <= 2 * FRAMES_PER_SECOND
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(30, abs=1)


async def test_lost_scrapes_change_no_share(url: str) -> None:
    seen = await read(url, "late")
    assert seen.outcome.data_state is DataState.FRESH
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(30, abs=1)


async def test_a_missing_bucket_is_unknown_and_not_a_miss(url: str) -> None:
    """A pod that exports other buckets than the thresholds: nothing is said of it, and nothing is scaled."""
    seen = await read(url, "bucketless")
    assert 0.1 not in seen.signals.ok_per_second
    assert seen.outcome.data_state is DataState.MISSING
    assert seen.outcome.actions == ()


async def test_no_samples_at_all_but_a_target(url: str) -> None:
    seen = await read(url, "unmeasured")
    assert seen.signals.pods["pod-0"].up is True
    assert seen.outcome.data_state is DataState.MISSING
    assert seen.outcome.actions == ()


async def test_muted_cameras_are_no_idleness(url: str) -> None:
    assert (await read(url, "muted")).outcome.data_state is DataState.LOW_SAMPLE


async def until(url: str, pipeline: str, holds: Callable[[Read], bool], pods: int = 1) -> Read:
    """The first reading of which something holds; the last one if that does not come within a minute or two."""
    for _ in range(300):
        seen = await read(url, pipeline, pods)
        if holds(seen):
            break
        await asyncio.sleep(0.3)
    return seen


async def test_half_of_the_targets(scraping: str) -> None:
    """Partial also before the second target has been tried for the first time."""
    seen = await until(
        scraping, "half", lambda seen: {pod.up for pod in seen.signals.pods.values()} == {True, False}, pods=2
    )
    assert seen.outcome.data_state is DataState.PARTIAL
    assert seen.signals.pods["pod-1"].up is False


async def test_all_targets_down_is_missing_not_idle(scraping: str) -> None:
    seen = await until(scraping, "down", lambda seen: bool(seen.signals.pods))
    assert seen.outcome.data_state is DataState.MISSING
    assert "cannot scrape" in seen.outcome.text


async def test_nobody_scrapes_it(url: str) -> None:
    seen = await read(url, "absent")
    assert seen.outcome.data_state is DataState.MISSING
    assert "no target" in seen.outcome.text


async def test_old_samples_are_stale(scraping: str) -> None:
    seen = await until(scraping, "old", lambda seen: seen.outcome.data_state is DataState.STALE)
    assert seen.outcome.data_state is DataState.STALE


async def test_a_pod_scraped_twice_is_said(scraping: str) -> None:
    problem = (await until(scraping, "twice", lambda seen: seen.signals.problem is not None)).signals.problem
    assert problem is not None
    assert problem.kind is ProblemKind.SEVERAL_SERIES


async def test_nan_sessions_are_missing(url: str) -> None:
    seen = await read(url, "nan")
    assert seen.signals.pods["pod-0"].sessions is None
    assert seen.outcome.data_state is DataState.MISSING


async def test_a_quiet_pod_is_idle(url: str) -> None:
    assert (await read(url, "idle")).outcome.data_state is DataState.IDLE


async def test_a_pod_without_the_histogram_has_no_latency(url: str) -> None:
    signals = (await read(url, "foreign")).signals
    assert signals.ok_per_second == {}
    assert signals.pods["pod-0"].sessions == 3.0


def scaled_by(**autoscaling: object) -> MediaPipelineSpec:
    return MediaPipelineSpec.model_validate(
        {
            "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
            "compute": {"device": "CPU"},
            "monitoring": {"intervalSeconds": 1},
            "autoscaling": {"minReplicas": 1, **autoscaling},
        }
    )


async def test_latency_of_requests_and_signals(url: str) -> None:
    kinds = ("CPUUtilization", "MemoryUtilization", "RequestsPerSecond")
    wanted = scaled_by(latency={"source": "Request"}, signals=[{"type": kind} for kind in kinds])
    seen = await read(url, "web", spec=wanted)
    assert seen.outcome.data_state is DataState.FRESH
    assert seen.outcome.latency_status["p95Milliseconds"] == 300
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(500, abs=1)
    rows = {row["name"]: row.get("value") for row in seen.outcome.autoscaling_status["signals"]}
    assert rows["CPUUtilization"] == pytest.approx(50, abs=1)
    assert rows["MemoryUtilization"] == 93
    assert rows["RequestsPerSecond"] == pytest.approx(FRAMES_PER_SECOND, rel=0.01)


P95 = "histogram_quantile(0.95, sum by (le) (rate(app_request_latency_seconds_bucket{{{}}}[4s])))"
OWN = 'namespace="media",pipeline="web"'


@pytest.mark.parametrize(
    ("query", "milliseconds", "problem"),
    [
        (P95.format(OWN), 295, None),
        (f"mediapod_sessions{{{OWN}}} * 0 / 0", None, None),
        ('absent_metric{namespace="media"}', None, None),
        ('mediapod_sessions{namespace="media"}', None, ProblemKind.SEVERAL_SERIES),
        (f"mediapod_sessions{{{OWN}}} / 0", None, ProblemKind.VALUE),
        (f"-mediapod_sessions{{{OWN}}}", None, ProblemKind.VALUE),
        (f"mediapod_sessions{{{OWN}}}[1m]", None, ProblemKind.QUERY_ERROR),
        (f"scalar(mediapod_sessions{{{OWN}}})", None, ProblemKind.QUERY_ERROR),
        (f"no_function(mediapod_sessions{{{OWN}}})", None, None),  # does not parse: never asked
    ],
)
async def test_a_query_of_ones_own(url: str, query: str, milliseconds: int | None, problem: ProblemKind | None) -> None:
    seen = await read(url, "web", spec=scaled_by(latency={"source": "Query", "query": query}))
    assert (seen.signals.problem.kind if seen.signals.problem else None) is problem
    if milliseconds is None:
        assert seen.signals.latency_seconds is None
        assert seen.outcome.data_state is DataState.MISSING
    else:
        assert seen.outcome.latency_status["p95Milliseconds"] == pytest.approx(milliseconds, abs=1)
        assert seen.outcome.data_state is DataState.FRESH


async def test_a_server_that_is_gone_is_a_problem_of_every_pipeline() -> None:
    seen = await read(f"http://127.0.0.1:{free_port()}", "good", pods=2)
    assert seen.signals.problem is not None
    assert seen.signals.problem.kind is ProblemKind.DOWN
    assert seen.outcome.actions == ()
