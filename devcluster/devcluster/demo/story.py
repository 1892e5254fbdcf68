"""The demo's story as a pure state machine: calm, overload until it scales up, relief until it drained down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from devcluster.demo.observation import Observation


class Phase(StrEnum):
    CALM = "calm"
    OVERLOAD = "overload"
    RELIEF = "relief"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoryPlan:
    """Sessions and time limits (seconds) of each phase. In the overload one session more every `grow_every_seconds`."""

    calm_sessions: int = 4
    peak_sessions: int = 16
    relief_sessions: int = 2
    calm_seconds: float = 12
    grow_every_seconds: float = 1
    settle_seconds: float = 8
    calm_limit_seconds: float = 60
    overload_limit_seconds: float = 90
    relief_limit_seconds: float = 150
    missing_effects: int = 10


@dataclass(frozen=True, slots=True)
class Story:
    """Where the story is. `start_replicas` and `peak_replicas` count serving replicas before and in the overload."""

    phase: Phase = Phase.CALM
    since_seconds: float = 0.0
    sessions: int = 0
    start_replicas: int = 0
    peak_replicas: int = 0
    scaled_up_at_seconds: float | None = None
    overload: tuple[float, float] | None = None  # from the first extra session to the last one closed
    drains_seen: frozenset[str] = frozenset()
    failure: str = ""

    @property
    def over(self) -> bool:
        return self.phase in (Phase.DONE, Phase.FAILED)


def begin(plan: StoryPlan) -> Story:
    return Story(sessions=plan.calm_sessions)


def advance(plan: StoryPlan, story: Story, seen: Observation) -> Story:
    """The story after one more look."""
    story = replace(story, drains_seen=story.drains_seen | {str(drain.get("pod")) for drain in seen.drains})
    if not story.over and (broken := _broken_promise(plan, seen)):
        return fail(story, broken)
    if story.phase is Phase.CALM:
        return _calm(plan, story, seen)
    if story.phase is Phase.OVERLOAD:
        return _overload(plan, story, seen)
    if story.phase is Phase.RELIEF:
        return _relief(plan, story, seen)
    return story


def _broken_promise(plan: StoryPlan, seen: Observation) -> str:
    """What no later success can mend; empty while all is well."""
    if seen.load.ended_by_server:
        return f"{seen.load.ended_by_server} sessions were ended by the service"
    if seen.load.effect_missing >= plan.missing_effects:
        return f"{seen.load.effect_missing} returned pictures lack the effect"
    return ""


def fail(story: Story, reason: str) -> Story:
    return replace(story, phase=Phase.FAILED, failure=reason)


def _too_late(story: Story, seen: Observation, what: str) -> Story:
    return fail(story, f"{what} within {_elapsed(story, seen):.0f} s ({_facts(seen)})")


def _elapsed(story: Story, seen: Observation) -> float:
    return seen.time_seconds - story.since_seconds


def _calm(plan: StoryPlan, story: Story, seen: Observation) -> Story:
    measured = seen.data_state == "Fresh" and seen.load.connected >= plan.calm_sessions
    if measured and seen.ready > 0 and _elapsed(story, seen) >= plan.calm_seconds:
        return replace(
            story,
            phase=Phase.OVERLOAD,
            since_seconds=seen.time_seconds,
            start_replicas=seen.desired,
            peak_replicas=seen.desired,
            overload=(seen.time_seconds, seen.time_seconds),
        )
    if _elapsed(story, seen) > plan.calm_limit_seconds:
        return _too_late(story, seen, f"there was no fresh measurement of {plan.calm_sessions} calm sessions")
    return story


def _overload(plan: StoryPlan, story: Story, seen: Observation) -> Story:
    grown = min(plan.peak_sessions, plan.calm_sessions + int(_elapsed(story, seen) / plan.grow_every_seconds))
    story = replace(
        story, sessions=grown, peak_replicas=max(story.peak_replicas, seen.desired), overload=_until(story, seen)
    )
    if story.scaled_up_at_seconds is None and seen.desired > story.start_replicas and seen.ready > story.start_replicas:
        story = replace(story, scaled_up_at_seconds=seen.time_seconds)
    if story.scaled_up_at_seconds is not None and seen.time_seconds - story.scaled_up_at_seconds >= plan.settle_seconds:
        return replace(story, phase=Phase.RELIEF, since_seconds=seen.time_seconds, sessions=plan.relief_sessions)
    if _elapsed(story, seen) > plan.overload_limit_seconds:
        return _too_late(story, seen, f"it did not scale up from {story.start_replicas}")
    return story


def _relief(plan: StoryPlan, story: Story, seen: Observation) -> Story:
    if seen.load.connected > plan.relief_sessions:
        story = replace(story, overload=_until(story, seen))
    if seen.desired <= story.start_replicas and seen.replicas <= story.start_replicas and story.drains_seen:
        return replace(story, phase=Phase.DONE)
    if _elapsed(story, seen) > plan.relief_limit_seconds:
        return _too_late(story, seen, f"it did not drain down from {story.peak_replicas} to {story.start_replicas}")
    return story


def _until(story: Story, seen: Observation) -> tuple[float, float]:
    start = story.overload[0] if story.overload else seen.time_seconds
    return (start, seen.time_seconds)


def _facts(seen: Observation) -> str:
    return (
        f"replicas {seen.ready}/{seen.replicas}, wanted {seen.desired}, "
        f"sessions {seen.load.connected} of {seen.load.wanted}, p95 {seen.p95}, data {seen.data_state}; "
        f"last decision: {seen.decision.get('message', 'none')}"
    )
