"""One tick read: the data state, sessions, capacity and timers that all rules share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mediapipeline_operator.core.scaling import capacity, demand, feedback, states
from mediapipeline_operator.core.scaling.feedback import Effect
from mediapipeline_operator.core.scaling.model import Proposal
from mediapipeline_operator.core.scaling.reasons import DataState
from mediapipeline_operator.core.scaling.situation import Situation
from mediapipeline_operator.core.scaling.state import stamp
from mediapipeline_operator.core.scaling.states import DataVerdict


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rules of one tick work with."""

    situation: Situation
    verdict: DataVerdict
    capacity: int
    learned: int | None
    sessions: int
    breach_since: datetime | None
    healthy_since: datetime | None
    rejected_since: datetime | None
    unknown_since: datetime | None
    data_state_since: datetime
    feedback_due: Proposal | None
    effect: Effect

    @property
    def data_state(self) -> DataState:
        return self.verdict.state

    @property
    def unknown_seconds(self) -> float:
        """How long the data has not been fit to trust."""
        return 0.0 if self.unknown_since is None else (self.situation.now - self.unknown_since).total_seconds()


def read(situation: Situation) -> Reading:
    """Judges the data and moves the timers on."""
    verdict = states.judge(situation)
    breach_since = feedback.breach_since(situation, verdict.state)
    due = feedback.feedback(situation, breach_since, verdict.state)
    # What this tick learns counts from the next one on: within a tick, more sessions must never mean fewer replicas.
    per_replica = capacity.capacity_per_replica(situation.spec, situation.before.learned_capacity)
    sessions = capacity.counted_sessions(situation, verdict.state, per_replica)
    return Reading(
        situation=situation,
        verdict=verdict,
        capacity=per_replica,
        learned=_learned(situation, verdict.state, due is not None),
        sessions=sessions,
        breach_since=breach_since,
        healthy_since=states.healthy_since(situation, verdict.state),
        rejected_since=demand.rejected_since(situation, verdict.state),
        unknown_since=_unknown_since(situation, verdict.state),
        data_state_since=_data_state_since(situation, verdict.state),
        feedback_due=due,
        effect=feedback.judge_last_step(situation, verdict.state, due, _utilization(situation, sessions, per_replica)),
    )


def _utilization(situation: Situation, sessions: int, per_replica: int) -> float:
    return sessions / (max(1, situation.n) * per_replica)


def _learned(situation: Situation, data_state: DataState, breached: bool) -> int | None:
    if data_state not in states.MEASURED:
        return situation.before.learned_capacity
    return capacity.learn(situation, breached)


def _unknown_since(situation: Situation, data_state: DataState) -> datetime | None:
    if data_state not in states.UNKNOWN:
        return None
    return situation.before.unknown_since or stamp(situation.now)


def _data_state_since(situation: Situation, data_state: DataState) -> datetime:
    before = situation.before
    if before.data_state is data_state and before.data_state_since is not None:
        return before.data_state_since
    return stamp(situation.now)
