"""The metrics of several processes become those of one pod."""

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from mediapod.frames.ledger import Result, Stage
from mediapod.front.crew import _Collected
from mediapod.front.merge import counted, merge, parse
from mediapod.observability.metrics import Metrics
from mediapod.session.state import EndReason


def process(frames: int, under_way: int = 0, sessions: float = 0, p95: float = 0) -> Metrics:
    """The metrics of a process that has had so many frames, some of them without a result."""
    metrics = Metrics()
    metrics.gauge("mediapod_sessions", "Connected sessions.", lambda: sessions)
    metrics.gauge("mediapod_draining", "1 while no new sessions are taken.", lambda: float(p95 > 0))
    for _ in range(frames):
        metrics.frame_received()
        metrics.frame_ended(Result.OK)
        metrics.frame_age(0.011)
        metrics.stage(Stage.DECODE, 0.002)
    for _ in range(under_way):
        metrics.frame_received()
    return metrics


def scraped(metrics: Metrics):
    return parse(metrics.exposition()[0].decode())


def value(merged, name: str, **labels: str) -> float:
    found = [s.value for metric in merged for s in metric.samples if s.name == name and s.labels == labels]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_the_text_of_one_process_is_the_same_after_merging():
    metrics = process(3)
    text = metrics.exposition()[0].decode()
    merged = merge([parse(text)])
    assert prometheus_client.generate_latest(_Collected(merged)).decode() == text


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=3))
def test_counters_histograms_and_gauges_add_up(parts):
    merged = merge([scraped(process(frames, sessions=sessions)) for frames, _, sessions in parts])
    frames = sum(part[0] for part in parts)
    assert value(merged, "mediapod_frames_received_total") == frames
    assert value(merged, "mediapod_frames_total", result="ok") == frames
    assert value(merged, "mediapod_frame_age_seconds_bucket", le="0.01") == 0
    assert value(merged, "mediapod_frame_age_seconds_bucket", le="0.015") == frames
    assert value(merged, "mediapod_frame_age_seconds_sum") == pytest.approx(0.011 * frames)
    assert value(merged, "mediapod_frame_stage_seconds_count", stage="decode") == frames
    assert value(merged, "mediapod_sessions") == sum(part[2] for part in parts)


def test_gauges_whose_sum_means_nothing_are_not_added():
    merged = merge([scraped(process(0, p95=1)), scraped(process(0, p95=1)), scraped(process(0))])
    assert value(merged, "mediapod_draining") == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 20), st.integers(0, 5))
def test_what_an_ended_process_had_counted_stays_and_its_frames_all_have_a_result(frames, under_way):
    ended = process(frames, under_way, sessions=3)
    ended.session_ended(EndReason.PEER_CLOSED)
    merged = merge([scraped(process(1)), counted(scraped(ended))])
    results = [value(merged, "mediapod_frames_total", result=result.value) for result in Result]
    assert sum(results) == value(merged, "mediapod_frames_received_total") == 1 + frames + under_way
    assert value(merged, "mediapod_frames_total", result="superseded") == under_way
    assert value(merged, "mediapod_sessions_ended_total", reason="PeerClosed") == 1
    assert value(merged, "mediapod_sessions") == 0, "the gauges of an ended process vanish"


def test_no_series_comes_twice_whatever_the_parts_lack():
    one, other = Metrics(), Metrics()
    one.device_busy(lambda: {"cuda": 2.0})
    other.device_busy(lambda: {"cpu": 1.0, "cuda": 0.5})
    other.process_lost("worker", "hung")
    merged = merge([scraped(one), [], scraped(other), list(CollectorRegistry().collect())])
    keys = [(s.name, tuple(sorted(s.labels.items()))) for metric in merged for s in metric.samples]
    assert len(keys) == len(set(keys))
    assert value(merged, "mediapod_device_busy_seconds_total", device="cuda") == 2.5
    assert value(merged, "mediapod_device_busy_seconds_total", device="cpu") == 1
    assert value(merged, "mediapod_processes_lost_total", process="worker", reason="hung") == 1
