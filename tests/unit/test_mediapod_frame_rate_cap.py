"""The adaptive frame rate falls when frames are late, stays even, rises again, and is gone when all is well."""

import itertools

from mediapod.frames.ledger import FrameLedger, Result
from mediapod.frames.rate_cap import LOWEST_PER_SECOND, FrameRateCap
from mediapod.frames.recent import MOST_FRAMES, Outcome, RecentFrames

TICKS = 3000  # 30 fps


class Stream:
    """Thirty frames a second through a cap; `late` says which share of the admitted ones is late."""

    def __init__(self) -> None:
        self.recent = RecentFrames()
        self.cap = FrameRateCap(self.recent.late_share, 0.0)
        self.frame = 0

    def play(self, seconds: float, late_every: int = 0) -> list[int]:
        """Returns the numbers of the frames that were admitted."""
        admitted = []
        for _ in range(round(seconds * 30)):
            now = self.frame / 30
            if self.cap.admits(self.frame * TICKS, now):
                admitted.append(self.frame)
                late = late_every and len(admitted) % late_every == 0
                self.recent.add(now, Outcome.LATE if late else Outcome.IN_TIME, not late, 0.01)
            else:
                self.recent.add(now, Outcome.SHED, False, 0.0)
            self.frame += 1
        return admitted


def test_nothing_is_shed_while_frames_are_in_time_or_few_are_late():
    stream = Stream()
    assert len(stream.play(10)) == 300
    assert len(stream.play(10, late_every=25)) == 300


def test_late_frames_lower_the_rate_step_by_step_to_a_floor():
    stream = Stream()
    stream.play(3, late_every=3)
    first = stream.cap.frames_per_second
    assert first is not None
    assert 18 <= first <= 23
    stream.play(20, late_every=1)
    assert stream.cap.frames_per_second == LOWEST_PER_SECOND


def test_shed_frames_are_evenly_spread():
    stream = Stream()
    stream.play(3, late_every=2)
    admitted = stream.play(1.0, late_every=1000)
    steps = [after - before for before, after in itertools.pairwise(admitted)]
    assert max(steps) <= 2


def test_the_rate_rises_again_and_the_cap_goes():
    stream = Stream()
    stream.play(8, late_every=2)
    assert stream.cap.frames_per_second is not None
    stream.play(8)
    assert stream.cap.frames_per_second is None
    assert len(stream.play(2)) == 60


def test_a_jump_of_the_timestamps_does_not_stop_the_stream():
    stream = Stream()
    stream.play(3, late_every=2)
    stream.frame += 10_000_000
    stream.cap.admits(stream.frame * TICKS, 3.0)
    stream.frame = 0
    assert sum(stream.cap.admits(frame * TICKS, 3.0 + frame / 30) for frame in range(30)) >= 10


def test_frames_that_failed_say_nothing_about_load():
    recent = RecentFrames()
    for index in range(20):
        recent.add(index / 30, Outcome.OTHER if index % 2 else Outcome.IN_TIME, True, 0.01)
    assert recent.late_share(0.0) == (0.0, 10)


def test_recent_frames_are_bounded_and_summed_up():
    recent = RecentFrames()
    for index in range(5 * MOST_FRAMES):
        recent.add(index / 100, Outcome.LATE if index % 4 == 0 else Outcome.IN_TIME, index % 4 != 0, index % 10 / 100)
    summary = recent.summary(5 * MOST_FRAMES / 100)
    assert summary.received_per_second == 100
    assert summary.sent_per_second == 75
    assert summary.missed_share == 0.25
    assert summary.age_p95_seconds == 0.09


class _Silent:
    def frame_received(self) -> None: ...
    def frame_ended(self, result: Result) -> None: ...
    def frame_age(self, seconds: float) -> None: ...
    def stage(self, stage, seconds: float) -> None: ...


def test_what_counts_as_late(monkeypatch):
    ledger = FrameLedger(_Silent(), deadline_seconds=0.1)
    monkeypatch.setattr("mediapod.frames.ledger.time.monotonic", lambda: 100.0)
    cases = [(Result.OK, 0.05), (Result.OK, 0.2), (Result.BYPASSED, 0.05), (Result.BYPASSED, 0.2)]
    cases += [(Result.LATE, 0.01), (Result.SUPERSEDED, 0.01), (Result.SHED, 0.01), (Result.ERROR, 0.01)]
    for index, (result, age) in enumerate(cases):
        ledger.receive(100.0 - age, index).settle(result)
    assert ledger.late_share(0.0) == (4 / 6, 6)
