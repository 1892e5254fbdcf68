"""The status of a MediaPipeline as typed models: the CRD's schema, and how a restarted operator reads its timers back.

Reading is tolerant: every field may be missing, because a status may be new, partial or written by another release.
Only integers: floating-point numbers do not survive every JSON tool, and measurements are rounded anyway.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from mediapipeline_operator.api.model import ApiModel

Text = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0, le=100000)]
Time = datetime | None
Json = dict[str, Any]


_ATOMIC: Json = {"x-kubernetes-list-type": "atomic"}


class Unit(StrEnum):
    MILLISECONDS = "Milliseconds"
    PERCENT = "Percent"
    SESSIONS = "Sessions"
    PER_SECOND = "PerSecond"


class Whole(ApiModel):
    """Written as a whole, by one writer. The API server keeps no record of who owns each field in it, which would be
    a quarter of what it stores of a pipeline, and a sixth of its work on each write.
    """

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})


class SessionStatus(Whole):
    active: Count = Field(default=0, description="Open sessions on serving pods.")
    capacity: Count = Field(default=0, description="Sessions that the serving pods admit.")
    summary: str = Field(default="", max_length=32, description="active/capacity, for the column.")


class LatencyStatus(Whole):
    p95_milliseconds: int | None = Field(
        default=None, ge=0, le=600000, description="The smallest bucket bound that 95 % of the received frames met."
    )
    summary: str = Field(default="", max_length=32, description="p95 with its unit, for the column.")
    miss_per_mille: int | None = Field(
        default=None, ge=0, le=1000, description="Received frames that did not come back within the upper threshold."
    )
    observed_time: Time = Field(default=None, description="When this was measured.")


class Endpoints(Whole):
    signalling: str = Field(default="", max_length=512, description="URL for offers, inside the cluster.")


class SignalStatus(ApiModel):
    """One measured input of scaling."""

    name: str = Field(min_length=1, max_length=64, description="Name of the signal, for example FrameLatency.")
    unit: Unit | None = Field(default=None, description="Unit of value, low and high.")
    value: int | None = Field(default=None, description="The measurement; absent when there is none.")
    low: int | None = Field(default=None, description="Below this it allows fewer replicas.")
    high: int | None = Field(default=None, description="Above this it asks for more replicas.")
    proposal: int | None = Field(default=None, ge=0, le=100000, description="Replicas that this signal asks for.")
    observed_time: Time = Field(default=None, description="When it was measured.")


class ProposalStatus(ApiModel):
    """What one rule asks for."""

    reason: str = Field(default="", max_length=128, description="A CamelCase word from the catalogue of reasons.")
    replicas: int | None = Field(default=None, ge=0, le=100000, description="Serving replicas that it asks for.")
    message: str = Field(default="", max_length=1024, description="The sentence for people.")


class PredictionStatus(ApiModel):
    """The fleet with one replica fewer."""

    replicas: int | None = Field(default=None, ge=0, le=100000, description="Serving replicas without that one.")
    utilization_percent: int | None = Field(default=None, ge=0, description="Sessions by capacity.")
    device_busy_percent: int | None = Field(default=None, ge=0, description="Load of the devices.")


class DecisionStatus(ApiModel):
    """The last decision, with its explanation."""

    id: str = Field(default="", max_length=64, description="Identifies the decision in status, log and metrics.")
    time: Time = Field(default=None, description="When it was first taken.")
    action: str = Field(default="", max_length=64, description="What is done, for example ScaleUp, ScaleDown or Hold.")
    from_: int | None = Field(default=None, alias="from", ge=0, le=100000, description="Replicas before.")
    to: int | None = Field(default=None, ge=0, le=100000, description="Replicas after.")
    reason: str = Field(default="", max_length=128, description="A CamelCase word from the catalogue of reasons.")
    message: str = Field(default="", max_length=1024, description="The sentence for people.")
    limited_by: tuple[Text, ...] = Field(default=(), max_length=16, description="What kept it from going further.")
    blocked_by: tuple[Text, ...] = Field(default=(), max_length=16, description="What kept it from happening.")
    proposals: tuple[ProposalStatus, ...] = Field(
        default=(), max_length=16, description="What each rule asks for.", json_schema_extra=_ATOMIC
    )
    prediction: PredictionStatus | None = Field(default=None, description="What one replica fewer would mean.")


class PastDecision(ApiModel):
    """A decision that changed something."""

    id: str = Field(default="", max_length=64, description="Identifies the decision in status, log and metrics.")
    time: Time = Field(default=None, description="When it was taken.")
    action: str = Field(default="", max_length=64, description="What was done.")
    from_: int | None = Field(default=None, alias="from", ge=0, le=100000, description="Replicas before.")
    to: int | None = Field(default=None, ge=0, le=100000, description="Replicas after.")
    reason: str = Field(default="", max_length=128, description="A CamelCase word from the catalogue of reasons.")
    message: Text = Field(default="", description="The sentence for people.")


class NextEligible(ApiModel):
    scale_up: Time = Field(default=None, description="Not before this time.")
    scale_down: Time = Field(default=None, description="Not before this time.")


class Timers(ApiModel):
    """What a restarted operator needs to go on where it was."""

    breach_since: Time = Field(default=None, description="Latency has been above the upper threshold since then.")
    healthy_since: Time = Field(default=None, description="Latency has been below the lower threshold since then.")
    last_scale_up_time: Time = Field(default=None, description="The last time replicas were added.")
    last_scale_down_time: Time = Field(default=None, description="The last time a replica was removed.")
    data_state_since: Time = Field(default=None, description="The data state has been the same since then.")
    rejected_since: Time = Field(default=None, description="Offers have been refused for lack of capacity since then.")
    jump_since: Time = Field(default=None, description="An unusually large step has been asked for since then.")
    unknown_since: Time = Field(default=None, description="Measurements have not been complete since then.")


class DrainStatus(ApiModel):
    """A replica that takes no new sessions."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    uid: str = Field(max_length=64, description="UID of the pod.")
    started_time: Time = Field(default=None, description="When the drain began.")
    sessions: int | None = Field(default=None, ge=0, le=100000, description="Sessions left on it.")
    phase: str = Field(
        default="", max_length=32, description="Draining, or Removing once replicas were lowered for it."
    )


class FeedbackStatus(ApiModel):
    """What the last step of the latency feedback saw, to judge whether it helped."""

    miss_per_mille: int | None = Field(default=None, ge=0, le=1000, description="Missed frames at that time.")
    sessions: int | None = Field(default=None, ge=0, le=100000, description="Sessions at that time.")


class AutoscalingStatus(Whole):
    summary: str = Field(default="", max_length=64, description="One CamelCase word for the column.")
    data_state: str = Field(default="", max_length=32, description="How far the measurements can be trusted.")
    signals: tuple[SignalStatus, ...] = Field(
        default=(),
        max_length=16,
        description="The measured inputs of the last tick.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    decision: DecisionStatus | None = Field(default=None, description="The last decision, with its explanation.")
    next_eligible: NextEligible | None = Field(default=None, description="When each direction may act next.")
    timers: Timers | None = Field(default=None, description="What a restarted operator needs to go on where it was.")
    learned_capacity: int | None = Field(
        default=None, ge=0, le=100000, description="Most sessions a replica carried with hardly a frame missed."
    )
    ineffective_scale_ups: Count = Field(default=0, description="Scale-ups in a row that did not help latency.")
    feedback: FeedbackStatus | None = Field(default=None, description="The last step of the latency feedback.")
    notices: tuple[Text, ...] = Field(default=(), max_length=64, description="What was announced and still holds.")
    drains: tuple[DrainStatus, ...] = Field(
        default=(),
        max_length=1000,
        description="Replicas that take no new sessions.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
    )
    engine: str = Field(default="", max_length=64, description="The engine that decided last.")
    requested_replicas: int | None = Field(
        default=None, ge=0, le=100000, description="spec.replicas when that engine decided last."
    )
    history: tuple[PastDecision, ...] = Field(
        default=(),
        max_length=10,
        description="The last decisions that changed something, newest first.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Condition(Whole):
    """metav1.Condition, with its limits."""

    type: str = Field(
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        description="Type of the condition.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that this is about.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="A CamelCase word from the catalogue of reasons.",
    )
    message: str = Field(max_length=32768, description="The sentence for people.")


class MediaPipelineStatus(ApiModel):
    """What was observed, and what scaling decided."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that this is about.")
    selector: str = Field(default="", max_length=512, description="Label selector of the pods, for /scale.")
    image: str = Field(default="", max_length=512, description="The resolved image of the pods.")
    replicas: Count = Field(default=0, description="Live pods of the Deployment; feeds /scale.")
    ready_replicas: Count = Field(default=0, description="Pods that are ready.")
    updated_replicas: Count = Field(default=0, description="Pods of the current template.")
    desired_replicas: int | None = Field(default=None, ge=0, le=100000, description="What scaling wants now.")
    sessions: SessionStatus | None = Field(default=None, description="Sessions on serving pods.")
    latency: LatencyStatus | None = Field(default=None, description="Latency of returned frames.")
    endpoints: Endpoints | None = Field(default=None, description="Where clients reach the pipeline.")
    autoscaling: AutoscalingStatus | None = Field(default=None, description="Scaling and why.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=32,
        description="Conditions of the pipeline.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> "MediaPipelineStatus":
        """The status as last written. A part that another release wrote differently is left out, the rest is kept."""
        kept = dict(status)
        for _ in range(len(kept) + 1):
            try:
                return cls.model_validate(kept)
            except ValidationError as error:
                for problem in error.errors():
                    kept.pop(str(problem["loc"][0]), None)
        return cls()
