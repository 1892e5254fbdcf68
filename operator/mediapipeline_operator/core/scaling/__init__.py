"""Scaling, pure: facts and measurements in, one explained decision out."""

from mediapipeline_operator.core.scaling.decide import decide
from mediapipeline_operator.core.scaling.drain import to_ask
from mediapipeline_operator.core.scaling.model import (
    Action,
    ConditionInput,
    Decision,
    DrainRecord,
    EventInput,
    MarkDraining,
    MarkFirst,
    PodFacts,
    PodSignals,
    Prediction,
    Problem,
    ProblemKind,
    Proposal,
    RequestDrain,
    RequestUndrain,
    SetReplicas,
    Signals,
    Unmark,
    WorkloadFacts,
)
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.scaling.reasons import Blocker, DataState, DecisionAction, Limit, Reason
from mediapipeline_operator.core.scaling.state import ScalingState

__all__ = [
    "Action",
    "Blocker",
    "ConditionInput",
    "DataState",
    "Decision",
    "DecisionAction",
    "DrainRecord",
    "EventInput",
    "Limit",
    "MarkDraining",
    "MarkFirst",
    "Outcome",
    "PodFacts",
    "PodSignals",
    "Prediction",
    "Problem",
    "ProblemKind",
    "Proposal",
    "Reason",
    "RequestDrain",
    "RequestUndrain",
    "ScalingState",
    "SetReplicas",
    "Signals",
    "Unmark",
    "WorkloadFacts",
    "decide",
    "to_ask",
]
