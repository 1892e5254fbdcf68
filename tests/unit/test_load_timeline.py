"""Matching of returned frames to sent ones by RTP timestamps."""

from hypothesis import given
from hypothesis import strategies as st

from devcluster.load.timeline import EchoTimeline, Match

TICKS = 6_000


def _sent(count: int, *, loop: int = 300) -> EchoTimeline:
    timeline = EchoTimeline(TICKS)
    for index in range(count):
        timeline.add_sent(index % loop, index / 15)
    return timeline


def _indexes(matches: list[Match]) -> list[int]:
    return [match.sent.index for match in matches]


@given(
    origin=st.integers(0, (1 << 32) - 1),
    dropped=st.sets(st.integers(0, 199), max_size=150),
    jitter=st.lists(st.integers(-45, 45), min_size=200, max_size=200),
    read=st.integers(0, 5),
)
def test_frames_match_through_drops_rounding_and_wraparound(
    origin: int, dropped: set[int], jitter: list[int], read: int
) -> None:
    timeline, kept, found = EchoTimeline(TICKS), [index for index in range(200) if index not in dropped], []
    for index in range(200):
        timeline.add_sent(index, index / 15)
        if index in dropped:
            continue
        timestamp = (origin + index * TICKS + jitter[index]) % (1 << 32)
        found += timeline.add_returned(timestamp, index / 15 + 0.05)
        if timeline.needs_number and kept.index(index) == read:
            found += timeline.anchor(timestamp, index)
    if len(kept) > read:
        assert _indexes(found) == kept
        assert all(abs(match.round_trip_seconds - 0.05) < 1e-9 for match in found)
        assert timeline.anchored_by == "number"


def test_the_number_tells_how_many_of_the_first_frames_were_lost() -> None:
    timeline = _sent(10)
    assert timeline.add_returned(1_000, 0.7) == []
    assert _indexes(timeline.anchor(1_000, 4)) == [4]
    assert timeline.expected_number(1_000 + 3 * TICKS) == 7


def test_a_number_of_the_loop_means_the_latest_frame_with_it() -> None:
    timeline = _sent(320)
    assert _indexes(timeline.anchor(0, 10) + timeline.add_returned(TICKS, 21.5)) == [311]


def test_without_a_readable_number_arrival_times_decide() -> None:
    timeline, found = EchoTimeline(TICKS), []
    for index in range(80):
        timeline.add_sent(index, index / 15)
        if index >= 3:
            found += timeline.add_returned((index - 1) * TICKS + 77, index / 15 + 0.001)
    assert timeline.anchored_by == "arrival"
    assert all(match.round_trip_seconds < 0.01 for match in found), "the youngest possible frames"
    assert len(found) == 77


def test_a_restarted_time_line_is_noticed_and_anchored_anew() -> None:
    timeline = _sent(100)
    timeline.anchor(0, 50)
    assert _indexes(timeline.add_returned(TICKS, 9.0)) == [51]
    assert timeline.add_returned(TICKS * 2 + TICKS // 2, 9.0) == []
    assert timeline.needs_number
    assert timeline.unmatched == 1
    assert _indexes(timeline.anchor(123, 60)) == []
    assert _indexes(timeline.add_returned(123 + TICKS, 9.0)) == [61]


def test_a_frame_that_comes_back_twice_counts_once() -> None:
    timeline = _sent(10)
    timeline.anchor(0, 5)
    assert _indexes(timeline.add_returned(TICKS, 1.0)) == [6]
    assert timeline.add_returned(TICKS, 1.1) == []
    assert timeline.duplicates == 1
