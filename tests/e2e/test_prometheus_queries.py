"""The batch of queries on a real Prometheus that scrapes targets with the metrics contract, good and broken ones."""

import asyncio
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

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

START = time.time()
FRAMES_PER_SECOND = 100
LATE_WINDOWS = 60
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: it speaks plain HTTP, loading CAs takes long
SPEC = MediaPipelineSpec.model_validate(
    {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "monitoring": {"intervalSeconds": 1},
        "autoscaling": {"minReplicas": 1},
    }
)


def exposition(frames: float, *, within_50: float, within_100: float, sessions: str = "3", stamp: str = "") -> str:
    """A pod that received `frames`; shares of them came back within 50 and 100 ms, the rest never."""
    rows = [
        f"mediapod_frames_received_total {frames}{stamp}",
        f"mediapod_sessions {sessions}{stamp}",
        f"mediapod_sessions_pending 1{stamp}",
        f"mediapod_sessions_capacity 8{stamp}",
        f"mediapod_draining 0{stamp}",
        f'mediapod_device_busy_seconds_total{{device="simulated"}} {frames / FRAMES_PER_SECOND / 2}{stamp}',
        f'mediapod_device_busy_seconds_total{{device="cpu"}} {frames / FRAMES_PER_SECOND * 3}{stamp}',
        f'mediapod_offers_total{{result="rejected_capacity"}} 0{stamp}',
    ]
    for bound in (*LATENCY_BUCKETS_SECONDS, "+Inf"):
        share = within_100 if bound == "+Inf" or bound >= 0.1 else within_50 if bound >= 0.05 else 0.0
        rows.append(f'mediapod_frame_age_seconds_bucket{{le="{bound}"}} {frames * share}{stamp}')
    return "\n".join(rows) + "\n"


def web(requests: float, stamp: str) -> str:
    """HTTP requests, half of them within 75 ms, all within 0.3 s; half a core."""
    rows = [f"app_request_latency_seconds_count {requests}{stamp}"]
    for bound in (*LATENCY_BUCKETS_SECONDS, "+Inf"):
        share = 1.0 if bound == "+Inf" or bound >= 0.3 else 0.5 if bound >= 0.075 else 0.0
        rows.append(f'app_request_latency_seconds_bucket{{le="{bound}"}} {requests * share}{stamp}')
    rows.append(f"process_cpu_seconds_total {requests / FRAMES_PER_SECOND / 2}{stamp}")
    rows.append(f"process_resident_memory_bytes 1e9{stamp}")
    return exposition(1000, within_50=0.9, within_100=0.97) + "\n".join(rows) + "\n"


def running(exposed: Callable[[float, str], str]) -> str:
    """What `exposed(frames, stamp)` shows now; the stamp keeps rates right when a scrape is late on a busy machine."""
    now = time.time()
    return exposed((now - START) * FRAMES_PER_SECOND, f" {int(now * 1000)}")


def old_stamp() -> str:
    """Samples that claim to be half a minute old."""
    return f" {int((time.time() - 30) * 1000)}"


def pod(within_100: float = 0.97, sessions: str = "3") -> Callable[[float, str], str]:
    return lambda frames, stamp: exposition(
        frames, within_50=0.9, within_100=within_100, sessions=sessions, stamp=stamp
    )


PODS: Mapping[str, Callable[[], str | None]] = {
    "good/pod-0": lambda: running(pod()),
    "good/pod-1": lambda: running(pod(0.87)),
    "reset/pod-0": lambda: running(lambda frames, stamp: pod()(frames % 350, stamp)),
    "half/pod-0": lambda: running(pod()),
    "half/pod-1": lambda: None,
    "down/pod-0": lambda: None,
    "old/pod-0": lambda: running(lambda frames, _: pod()(frames, old_stamp())),
    "twice/pod-0": lambda: pod()(1000, ""),
    "nan/pod-0": lambda: running(pod(sessions="NaN")),
    "idle/pod-0": lambda: pod(sessions="0")(1000, "").replace("pending 1", "pending 0"),
    "web/pod-0": lambda: running(web),
    "foreign/pod-0": lambda: "mediapod_frames_received_total 5\nmediapod_sessions 3\n",
}


class _Pods(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = PODS[self.path.strip("/").removesuffix("/again")]()
        body = (text or "").encode()
        self.send_response(500 if text is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Keeps the test output clean."""


def scrape_config(port: int) -> dict[str, object]:
    def target(path: str, pod: str) -> dict[str, object]:
        pipeline, name = pod.split("/")
        labels = {"__metrics_path__": f"/{path}", "namespace": "media", "pipeline": pipeline, "pod": name}
        return {"targets": [f"127.0.0.1:{port}"], "labels": labels}

    jobs = {"pods": [target(pod, pod) for pod in PODS], "again": [target("twice/pod-0/again", "twice/pod-0")]}
    scrapes = [{"job_name": job, "static_configs": targets} for job, targets in jobs.items()]
    return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scrapes}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped every target for eight seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pods) as pods:
        threading.Thread(target=pods.serve_forever, daemon=True).start()
        (folder / "config.yaml").write_text(json.dumps(scrape_config(pods.server_port)))
        port = free_port()
        command = [
            str(binaries["prometheus"]),
            f"--config.file={folder / 'config.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                wait_ready(f"http://127.0.0.1:{port}")
                time.sleep(8)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(20)
                pods.shutdown()


def wait_ready(base: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{base}/-/ready", timeout=2, trust_env=False, verify=PLAIN).status_code == 200:
                return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


@dataclass(frozen=True)
class Read:
    signals: Signals
    outcome: Outcome


async def read(url: str, pipeline: str, pods: int = 1, spec: MediaPipelineSpec = SPEC) -> Read:
    """The signals of one pipeline, and what is decided on them for so many ready pods."""
    reader = PrometheusReader(ReaderSettings(url=url))
    key = Key("media", pipeline)
    signals = (await reader.read([(key, spec)]))[key]
    reader.close()
    now = datetime.now(UTC)
    created = now - timedelta(hours=1)
    facts = tuple(PodFacts(f"pod-{i}", f"uid-{i}", created, ready=True, ready_since=created) for i in range(pods))
    outcome = decide(spec, WorkloadFacts(pods, pods=facts), signals, ScalingState(), now, tick_seconds=10)
    return Read(signals, outcome)


async def read_in_time(url: str, pipeline: str, pods: int = 1, spec: MediaPipelineSpec = SPEC) -> Read:
    """As `read`, of a window in which no scrape of the pods was late; on a busy machine it may take some windows.

    Prometheus guesses the ends of a window from the distance of its samples, so that a late one bends every rate.
    """
    for _ in range(LATE_WINDOWS):
        seen = await read(url, pipeline, pods, spec)
        received = [pod.received_per_second for pod in seen.signals.pods.values()]
        if received == pytest.approx([FRAMES_PER_SECOND] * pods, rel=0.1):
            break
        await asyncio.sleep(1)
    return seen


async def test_values_of_two_good_pods(url: str) -> None:
    seen = await read_in_time(url, "good", pods=2)
    pod = seen.signals.pods["pod-0"]
    assert seen.signals.problem is None
    assert (pod.up, pod.sessions, pod.pending, pod.capacity, pod.draining) == (True, 3.0, 1.0, 8.0, False)
    assert pod.received_per_second == pytest.approx(FRAMES_PER_SECOND, rel=0.1)
    assert pod.busy_share == pytest.approx(0.5, rel=0.1)  # of the device; the seconds of CPU threads are no share
    assert pod.age_seconds is not None
    assert pod.age_seconds < 5
    assert seen.outcome.data_state is DataState.FRESH
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(80, abs=2)  # 97 % and 87 % on time
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
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(30, abs=5)


async def test_half_of_the_targets(url: str) -> None:
    seen = await read(url, "half", pods=2)
    assert seen.signals.pods["pod-1"].up is False
    assert seen.outcome.data_state is DataState.PARTIAL


async def test_all_targets_down_is_missing_not_idle(url: str) -> None:
    seen = await read(url, "down")
    assert seen.outcome.data_state is DataState.MISSING
    assert "cannot scrape" in seen.outcome.text


async def test_nobody_scrapes_it(url: str) -> None:
    seen = await read(url, "absent")
    assert seen.outcome.data_state is DataState.MISSING
    assert "no target" in seen.outcome.text


async def test_old_samples_are_stale(url: str) -> None:
    seen = await read(url, "old")
    assert seen.outcome.data_state is DataState.STALE


async def test_a_pod_scraped_twice_is_said(url: str) -> None:
    problem = (await read(url, "twice")).signals.problem
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
    assert seen.outcome.latency_status["missPerMille"] == pytest.approx(500, abs=5)
    rows = {row["name"]: row.get("value") for row in seen.outcome.autoscaling_status["signals"]}
    assert rows["CPUUtilization"] == pytest.approx(50, abs=5)
    assert rows["MemoryUtilization"] == 93
    assert rows["RequestsPerSecond"] == pytest.approx(FRAMES_PER_SECOND, rel=0.1)


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
        assert seen.outcome.latency_status["p95Milliseconds"] == pytest.approx(milliseconds, abs=10)
        assert seen.outcome.data_state is DataState.FRESH


async def test_a_server_that_is_gone_is_a_problem_of_every_pipeline() -> None:
    seen = await read(f"http://127.0.0.1:{free_port()}", "good", pods=2)
    assert seen.signals.problem is not None
    assert seen.signals.problem.kind is ProblemKind.DOWN
    assert seen.outcome.actions == ()
