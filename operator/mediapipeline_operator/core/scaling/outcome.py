"""What one tick of scaling yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.core.scaling.model import Action, ConditionInput, Decision, EventInput
from mediapipeline_operator.core.scaling.reasons import DataState
from mediapipeline_operator.core.scaling.state import ScalingState


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one tick yields. `actions` are carried out in order."""

    decision: Decision
    state: ScalingState
    actions: tuple[Action, ...]
    data_state: DataState
    desired_replicas: int
    autoscaling_status: Mapping[str, Any]  # status.autoscaling
    latency_status: Mapping[str, Any]  # status.latency, empty while unknown
    sessions_status: Mapping[str, Any]  # status.sessions, empty while unknown
    conditions: tuple[ConditionInput, ...]
    events: tuple[EventInput, ...]
    log: Mapping[str, Any]
    text: str
    log_due: bool  # log at INFO: something changed, or five minutes have passed; else DEBUG
    wants_admin: tuple[str, ...]  # uids of pods whose GET /sessions is needed before the next step
    metrics: tuple[tuple[str, Mapping[str, str], float], ...]  # gauges: name, labels, value
