"""What one tick of scaling yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.core.derived import derived
from mediapipeline_operator.core.scaling import explain, exposition
from mediapipeline_operator.core.scaling.law import Choice
from mediapipeline_operator.core.scaling.model import Action, ConditionInput, Decision, EventInput
from mediapipeline_operator.core.scaling.reading import Reading
from mediapipeline_operator.core.scaling.reasons import DataState
from mediapipeline_operator.core.scaling.state import ScalingState


@dataclass(frozen=True)
class Outcome:
    """Everything that one tick yields. `actions` are carried out in order.

    What is only written or shown now and then (a status, a log line, gauges) is made when it is asked for: a tick of
    thousands of pipelines is mostly one in which nobody does.
    """

    reading: Reading
    choice: Choice
    decision: Decision
    state: ScalingState
    actions: tuple[Action, ...]
    conditions: tuple[ConditionInput, ...]
    events: tuple[EventInput, ...]
    text: str
    log_due: bool  # log at INFO: something changed, or five minutes have passed; else DEBUG
    wants_admin: tuple[str, ...]  # uids of pods whose GET /sessions is needed before the next step

    @property
    def is_new(self) -> bool:
        """Whether another decision was in force before."""
        before = self.reading.situation.before.current
        return before is None or before.id != self.decision.id

    @property
    def data_state(self) -> DataState:
        return self.reading.data_state

    @property
    def desired_replicas(self) -> int:
        return self.choice.to

    @derived
    def summary(self) -> str:
        """One CamelCase word for the column SCALING."""
        return explain.summary(self.reading, self.choice)

    @property
    def autoscaling_status(self) -> Mapping[str, Any]:
        """status.autoscaling."""
        return explain.autoscaling_status(self.reading, self.choice, self.decision, self.state)

    @property
    def latency_status(self) -> Mapping[str, Any]:
        """status.latency, empty while unknown."""
        return explain.latency_status(self.reading)

    @property
    def sessions_status(self) -> Mapping[str, Any]:
        """status.sessions, empty while unknown."""
        return explain.sessions_status(self.reading)

    @property
    def log(self) -> Mapping[str, Any]:
        """Fields of the log line."""
        return explain.log_fields(self.reading, self.decision)

    @property
    def metrics(self) -> tuple[tuple[str, Mapping[str, str], float], ...]:
        """Gauges: name, labels, value."""
        return exposition.gauges(self.reading, self.choice, explain.signals(self.reading, self.choice))
