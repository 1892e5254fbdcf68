"""Whether the demo showed what it promises. Pure: facts in, checks out; each check names its numbers and can fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devcluster.demo.observation import Observation
from devcluster.demo.story import Phase, Story

RETURNED_SHARE = 0.95  # of the frames that were sent outside the overload
# The code in the picture has an 8-bit check sum: a picture that lost packets reads as a wrong number once in a while.
WRONG_NUMBER_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Frame counts. Received and accounted are the pods' own (all pods that lived), the rest is what clients saw."""

    received: int
    accounted: int
    sent: int
    returned: int
    sent_outside_overload: int
    returned_processed_outside_overload: int
    inspected: int
    effect_seen: int
    effect_missing: int
    number_mismatches: int


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    detail: str


def checks(story: Story, seen: Sequence[Observation], frames: FrameFacts) -> list[Check]:
    """Every promise of the demo, in the order in which a reader would ask."""
    killed = max((look.load.ended_by_server for look in seen), default=0)
    return [
        _scaled_up(story, seen),
        _drained_down(story, seen),
        Check("no session was killed by scaling", killed == 0, f"{killed} sessions were ended by the service"),
        _returned(frames),
        _accounted(frames),
        _effect(frames),
    ]


def _scaled_up(story: Story, seen: Sequence[Observation]) -> Check:
    reached = story.scaled_up_at_seconds is not None
    breach = max((look.miss_per_mille or 0 for look in seen), default=0)
    replicas = f"{story.start_replicas} to {story.peak_replicas} serving replicas"
    detail = f"{replicas}; at worst {breach / 10:.1f} % of frames were missed or too old"
    return Check(
        "it scaled up on p95", reached, detail if reached else f"{detail}; {story.failure or 'it never scaled up'}"
    )


def _drained_down(story: Story, seen: Sequence[Observation]) -> Check:
    done = story.phase is Phase.DONE and bool(story.drains_seen)
    last = seen[-1].desired if seen else 0
    drained = ", ".join(sorted(story.drains_seen)) or "none"
    detail = f"{story.peak_replicas} to {last} serving replicas; drained pods: {drained}"
    return Check(
        "it drained down after the load", done, detail if done else f"{detail}; {story.failure or 'no drain was seen'}"
    )


def _returned(frames: FrameFacts) -> Check:
    sent, returned = frames.sent_outside_overload, frames.returned_processed_outside_overload
    share = returned / sent if sent else 0.0
    detail = f"{returned} of {sent} frames sent outside the overload came back processed ({share:.1%})"
    return Check(f"at least {RETURNED_SHARE:.0%} of frames came back", share >= RETURNED_SHARE, detail)


def _accounted(frames: FrameFacts) -> Check:
    detail = f"{frames.received} received, {frames.accounted} with a result"
    return Check(
        "every received frame is accounted for", frames.received > 0 and frames.received == frames.accounted, detail
    )


def _effect(frames: FrameFacts) -> Check:
    detail = (
        f"FFmpeg decoded {frames.inspected} returned pictures: effect seen in {frames.effect_seen}, "
        f"missing in {frames.effect_missing}, wrong number in {frames.number_mismatches}"
    )
    numbers_right = frames.number_mismatches <= WRONG_NUMBER_SHARE * frames.inspected
    passed = frames.effect_seen > 0 and frames.effect_missing == 0 and numbers_right
    return Check("the effect is in the returned pictures", passed, detail)


def failures(results: Iterable[Check]) -> list[Check]:
    return [check for check in results if not check.passed]
