"""Load profiles, the mix of sessions, and who is closed."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.load.plan import Mix, choose_to_close, parse_profile


def test_steps_are_held_one_after_the_other() -> None:
    profile = parse_profile("step:2,8,2", hold_seconds=10)
    assert [profile.wanted(at) for at in (0, 9.9, 10, 19.9, 20, 29.9, 30, 99)] == [2, 2, 8, 8, 2, 2, 0, 0]


def test_timed_steps_change_at_their_seconds() -> None:
    profile = parse_profile("at:0=1,5=4,6=0", hold_seconds=4)
    assert [profile.wanted(at) for at in (0, 4.9, 5, 6, 9.9, 10)] == [1, 1, 4, 0, 0, 0]
    assert profile.duration_seconds == 10


def test_a_ramp_changes_by_one_session_at_a_time() -> None:
    up, down = parse_profile("ramp:0,4", hold_seconds=10), parse_profile("ramp:4,0", hold_seconds=10)
    assert [up.wanted(at) for at in range(0, 10, 2)] == [0, 1, 2, 3, 4]
    assert [down.wanted(at) for at in range(0, 10, 2)] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    "text", ["", "2,8", "step:", "step:2,x", "step:-1", "step:501", "at:5=1", "at:0=1,0=2", "at:0", "saw:1"]
)
def test_a_profile_that_makes_no_sense_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=f"profile '{text}'"):
        parse_profile(text)


@given(vp8=st.floats(0, 1), inspectors=st.floats(0, 1), count=st.integers(1, 200))
def test_the_mix_keeps_its_shares_at_every_number_of_sessions(vp8: float, inspectors: float, count: int) -> None:
    mix = Mix(vp8, inspectors)
    assert abs(sum(mix.codec(index) == "VP8" for index in range(count)) - vp8 * count) <= 1
    assert abs(sum(mix.inspects(index) for index in range(count)) - inspectors * count) <= 1


def test_any_share_of_inspectors_makes_the_first_session_one() -> None:
    assert Mix(inspector_share=0.01).inspects(0)
    assert not Mix(inspector_share=0).inspects(0)
    with pytest.raises(ValueError, match=r"vp8_share 1\.5"):
        Mix(vp8_share=1.5)


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311  which session closes is no secret


def test_the_newest_sessions_are_closed_first_and_nobody_when_sessions_are_wanting() -> None:
    live = ["a", "b", "c", "d"]
    assert choose_to_close(live, 2, "newest", _random(1)) == ["d", "c"]
    for order in ("newest", "random"):
        assert choose_to_close(live, -1, order, _random(1)) == []
        assert sorted(choose_to_close(live, 9, order, _random(1))) == live


def test_random_closing_is_the_same_for_the_same_seed() -> None:
    live = [str(index) for index in range(20)]
    first = choose_to_close(live, 5, "random", _random(7))
    assert first == choose_to_close(live, 5, "random", _random(7))
    assert first != choose_to_close(live, 5, "random", _random(8))
    assert len(set(first)) == 5
