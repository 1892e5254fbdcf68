"""Data states: how far the measurements of a tick can be trusted, and what each state allows. Unknown is never zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mediapipeline_operator.api.spec import LatencySource
from mediapipeline_operator.core.scaling import latency
from mediapipeline_operator.core.scaling.reasons import DataState
from mediapipeline_operator.core.scaling.situation import Situation, exceeds
from mediapipeline_operator.core.scaling.state import stamp

REPORTING_SHARE = 0.8  # of the serving pods must report
SAMPLE_FRAMES = 60  # in one window; below it three unlucky frames would be 5 %
WARN_AFTER_SECONDS = 60  # of data that cannot be trusted

UNKNOWN = frozenset({DataState.PARTIAL, DataState.STALE, DataState.MISSING})
BLIND = frozenset({DataState.STALE, DataState.MISSING})
MEASURED = frozenset({DataState.FRESH, DataState.PARTIAL})
LOWERING = frozenset({DataState.FRESH, DataState.IDLE, DataState.LOW_SAMPLE})
SESSIONS_KNOWN = frozenset({DataState.FRESH, DataState.PARTIAL, DataState.LOW_SAMPLE})
SIGNALS_KNOWN = SESSIONS_KNOWN | {DataState.IDLE}


@dataclass(frozen=True, slots=True)
class DataVerdict:
    """A data state with its reason in CamelCase and in words."""

    state: DataState
    reason: str
    message: str


def judge(situation: Situation) -> DataVerdict:
    """The data state of this tick. The first rule that speaks wins."""
    for rule in (_no_answer, _starting, _no_target, _too_old, _some_silent, _broken_contract, _few_samples):
        verdict = rule(situation)
        if verdict is not None:
            return verdict
    share = f"{len(situation.reporting)} of {len(situation.settled)} replicas report"
    return DataVerdict(DataState.FRESH, "Fresh", share)


def _no_answer(situation: Situation) -> DataVerdict | None:
    """A failed query says nothing about the load: a scaler that reads it as 0 removes replicas during an outage."""
    problem = situation.signals.problem
    if problem is None:
        return None
    return DataVerdict(DataState.MISSING, problem.kind.value, problem.message)


def _starting(situation: Situation) -> DataVerdict | None:
    """Nothing can have been measured yet; no reason to warn."""
    if situation.settled:
        return None
    return DataVerdict(DataState.STARTING, "Starting", "no replica has been ready for two scrapes yet")


def _no_target(situation: Situation) -> DataVerdict | None:
    """No `up` series at all: nobody scrapes these pods, which looks exactly like no traffic."""
    seen = [situation.of(pod) for pod in situation.settled]
    if all(pod.up is None for pod in seen):
        return DataVerdict(
            DataState.MISSING, "TargetMissing", "Prometheus has no target for any ready replica: is it scraping them?"
        )
    if all(pod.age_seconds is None for pod in seen):
        return DataVerdict(DataState.MISSING, "TargetDown", "Prometheus cannot scrape any ready replica")
    return None


def _too_old(situation: Situation) -> DataVerdict | None:
    if situation.reporting:
        return None
    age = min(situation.ages_seconds)
    limit = situation.age_limit_seconds
    return DataVerdict(DataState.STALE, "MetricsStale", f"the newest sample is {age:.0f} s old (limit {limit:.0f} s)")


def _some_silent(situation: Situation) -> DataVerdict | None:
    """The silent pods may be the hot ones: their scrape times out first."""
    reporting, settled = len(situation.reporting), len(situation.settled)
    if reporting >= REPORTING_SHARE * settled:
        return None
    return DataVerdict(DataState.PARTIAL, "PodsNotReporting", f"only {reporting} of {settled} ready replicas report")


def _broken_contract(situation: Situation) -> DataVerdict | None:
    """Without a bucket at a threshold every frame would look late; without the gauge a full pod looks empty."""
    if any(situation.of(pod).sessions is None for pod in situation.reporting):
        return DataVerdict(
            DataState.MISSING, "SeriesMissing", "mediapod_sessions is missing for a replica that reports"
        )
    if situation.signals.received_per_second is None:
        return DataVerdict(DataState.MISSING, "SeriesMissing", "mediapod_frames_received_total has no rate yet")
    if situation.received_per_second <= 0 or latency.by_query(situation):
        return None
    spec = situation.spec.autoscaling.latency
    for bound in (spec.scale_up.above_milliseconds, spec.scale_down.below_milliseconds):
        if situation.miss(bound) is None:
            text = f"{HISTOGRAMS[spec.source]} has no bucket at {bound} ms"
            return DataVerdict(DataState.MISSING, "BucketMissing", text)
    return None


HISTOGRAMS = {
    LatencySource.FRAME: "mediapod_frame_age_seconds",
    LatencySource.REQUEST: "app_request_latency_seconds",
}


def _few_samples(situation: Situation) -> DataVerdict | None:
    """Idle only if the session gauge says so as well: muted cameras send no frames, and are not nobody."""
    queried = latency.by_query(situation)
    if latency.is_known(situation) if queried else situation.frames_in_window >= SAMPLE_FRAMES:
        return None
    sessions = sum(situation.sessions_on(pod) or 0 for pod in situation.live)
    if sessions == 0 and situation.received_per_second <= 0 and situation.requests_per_second <= 0:
        return DataVerdict(DataState.IDLE, "NoTraffic", "no sessions, frames or requests, and all targets are up")
    if queried:
        return DataVerdict(DataState.MISSING, "QueryEmpty", "autoscaling.latency.query gives no sample, under load")
    what = "requests" if situation.spec.autoscaling.latency.source is LatencySource.REQUEST else "frames"
    samples = f"{situation.frames_in_window:.0f} {what} in the window"
    return DataVerdict(DataState.LOW_SAMPLE, "LowSample", f"{samples}, {sessions} sessions")


def healthy_since(situation: Situation, data_state: DataState) -> datetime | None:
    """Since when p95 < scaleDown.belowMilliseconds. Any state that forbids scaling down ends it."""
    before = situation.before.healthy_since
    if data_state not in LOWERING or not _is_healthy(situation, data_state):
        return None
    if data_state is DataState.LOW_SAMPLE and situation.before.data_state is DataState.FRESH:
        return stamp(situation.now)  # up to 5 % may have been missed before; with few frames none may
    return before or stamp(situation.now)


def _is_healthy(situation: Situation, data_state: DataState) -> bool:
    if data_state is DataState.IDLE:
        return True
    if data_state is DataState.LOW_SAMPLE:
        return not exceeds(situation.miss_upper, 0.0)
    return latency.is_low(situation)
