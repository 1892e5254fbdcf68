"""What one pass sees (Snapshot) and what it wants (Plan).

Both are frozen values: the same snapshot always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.core.scaling.model import Action, PodFacts, Signals
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.scaling.state import ScalingState

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class ChildRef:
    """A child's kind and name; its namespace is the pipeline's."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The MediaPipeline that an object names as its controller."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """Numbers of a Deployment. `replicas` is spec.replicas; the others are status."""

    replicas: int
    replicas_owned: bool  # somebody has set spec.replicas; False: the server's default of a new Deployment
    generation: int
    observed_generation: int
    current: int
    ready: int
    updated: int
    available: int
    last_progress: datetime | None
    deadline_exceeded: bool
    failure: str  # message of ReplicaFailure, "" when there is none


@dataclass(frozen=True, slots=True)
class ChildState:
    """What the cache keeps of a child: who it is, whose it is, and a digest of our fields."""

    ref: ChildRef
    namespace: str
    uid: str
    resource_version: str
    pipeline: str  # value of the pipeline label, "" without
    owner: Owner | None
    digest: str
    deleting: bool = False
    deployment: DeploymentState | None = None


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a pipeline: what scaling needs, and why it may not start."""

    namespace: str
    pipeline: str
    resource_version: str
    template_hash: str
    facts: PodFacts
    problem: str = ""  # why it cannot run, in the scheduler's or kubelet's words
    problem_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The digests of the children that a generation wants. Making them anew costs most of a pass that finds nothing."""

    generation: int
    draining: int
    bounds: tuple[int, int]  # fewest and most replicas, by the schedules of the moment
    digests: Mapping[ChildRef, str]


@dataclass(frozen=True, slots=True)
class AutoscalerState:
    """A HorizontalPodAutoscaler of anybody: what it scales, and whose it is."""

    namespace: str
    name: str
    resource_version: str
    pipeline: str  # name of the Deployment or MediaPipeline that it scales; "" when it scales something else
    target_kind: str
    owner_kind: str
    owner_name: str
    owner_uid: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What this process remembers of a pipeline between passes. Losing it costs nothing but a repeated log line."""

    state: ScalingState
    converged: Mapping[ChildRef, str] = field(default_factory=dict)  # manifest digests that the cluster has had
    unrepairable: Mapping[ChildRef, tuple[str, str]] = field(default_factory=dict)  # what an apply could not change
    applied_generation: int = 0  # of the Deployment after our last apply
    expected: Expected | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one pass looks at."""

    pipeline: MediaPipeline
    children: Mapping[ChildRef, ChildState]
    pods: tuple[PodState, ...]
    unavailable: Mapping[str, str]  # kinds that the cluster lacks or forbids -> why
    signals: Signals | None  # None: nothing has been measured since this process leads
    memory: Memory
    now: datetime
    rollout_slot: bool = False  # a template that changed without the spec may roll out now
    autoscalers: tuple[AutoscalerState, ...] = ()  # on this pipeline or its Deployment, ours included

    @property
    def deployment(self) -> DeploymentState | None:
        """The pipeline's own Deployment, when it exists."""
        child = self.children.get(ChildRef("Deployment", self.pipeline.key.name))
        return child.deployment if child is not None and is_ours(child, self.pipeline) else None


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of a manifest; None as resource_version: create it."""

    ref: ChildRef
    manifest: Manifest
    digest: str
    resource_version: str | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of exactly the observed object."""

    ref: ChildRef
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes event about the pipeline; `type` is Normal or Warning."""

    reason: EventReason
    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What stands between the pipeline and its children. All empty: the children are as they should be."""

    invalid: str = ""  # why the spec cannot be carried out
    refused: Mapping[ChildRef, str] = field(default_factory=dict)  # objects in the way that are not ours
    waiting: tuple[ChildRef, ...] = ()  # children of a deleted predecessor, or being deleted
    failed: Mapping[ChildRef, str] = field(default_factory=dict)  # writes that the API server rejected
    queued: bool = False  # the operator's own template is newer, and waits for its turn to roll out
    held: tuple[ChildRef, ...] = ()  # children that are not as they should be, while the pipeline is paused
    unfinished: bool = False  # something changed meanwhile: the rest of the plan was not tried


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pass is going to do, in this order: hand-over, applies, initial replicas, deletes, actions, events.

    The status comes after it.
    """

    findings: Findings = Findings()
    hand_over: int | None = None  # the pipeline's own /scale is set to this before the rest
    applies: tuple[Apply, ...] = ()
    initial_replicas: int | None = None
    deletes: tuple[Delete, ...] = ()
    actions: tuple[Action, ...] = ()
    scaling_events: tuple[EventNote, ...] = ()
    repairs: Mapping[ChildRef, EventNote] = field(default_factory=dict)
    outcome: Outcome | None = None
    expected: Expected | None = None  # what the children are once all applies are done
    requeue_after_seconds: float | None = None

    @property
    def writes(self) -> bool:
        """Whether anything but the status is written or asked for."""
        scaled = self.hand_over is not None or self.initial_replicas is not None
        return scaled or bool(self.applies or self.deletes or self.actions)

    @property
    def wants_admin(self) -> tuple[str, ...]:
        """Uids of pods whose own answer decides the next step."""
        return self.outcome.wants_admin if self.outcome is not None else ()

    def notes(self, scaled: bool, failed: Mapping[ChildRef, str]) -> tuple[EventNote, ...]:
        """The events of what was really done."""
        repaired = tuple(note for ref, note in self.repairs.items() if ref not in failed)
        return (*self.scaling_events, *repaired) if scaled else repaired


def is_ours(child: ChildState, pipeline: MediaPipeline) -> bool:
    """Whether the child belongs to this very pipeline: by uid, as names come back."""
    return child.owner is not None and child.owner.uid == pipeline.uid


def is_predecessors(child: ChildState, pipeline: MediaPipeline) -> bool:
    """Whether it belonged to a deleted pipeline of the same name; the garbage collector is about to remove it."""
    return child.owner is not None and child.owner.name == pipeline.key.name and child.owner.uid != pipeline.uid
