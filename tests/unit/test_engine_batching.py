"""The choice of a batch, the estimates behind it and the breaker: pure functions of queue and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediapod.engine.batching import BATCH_LIMIT, Choice, Waiting, choose_batch
from mediapod.engine.breaker import PROBE_AFTER_SECONDS, Breaker
from mediapod.engine.busy import BusyTime
from mediapod.engine.estimate import BatchTimes, ServiceTime

HD, SD = (720, 1280), (360, 640)


def linear(seconds: float):
    return lambda size, count: seconds * count


class TestChooseBatch:
    def test_one_waiting_frame_is_launched_at_once(self) -> None:
        assert choose_batch([Waiting(HD, 1.0)], 0.0, linear(0.01)) == Choice((0,), ())

    def test_what_queued_up_goes_together(self) -> None:
        queue = [Waiting(HD, 1.0 + i) for i in range(5)]
        assert choose_batch(queue, 0.0, linear(0.01)) == Choice((0, 1, 2, 3, 4), ())

    def test_an_empty_queue_launches_nothing(self) -> None:
        assert choose_batch([], 0.0, linear(1)) == Choice((), ())

    def test_the_batch_is_cut_where_it_would_pass_the_first_deadline(self) -> None:
        queue = [Waiting(HD, 0.035), Waiting(HD, 1.0), Waiting(HD, 1.0), Waiting(HD, 1.0), Waiting(HD, 1.0)]
        assert choose_batch(queue, 0.0, linear(0.01)).launch == (0, 1, 2)

    def test_sizes_do_not_mix_and_the_most_urgent_size_goes_first(self) -> None:
        queue = [Waiting(HD, 3.0), Waiting(SD, 1.0), Waiting(HD, 2.0), Waiting(SD, 4.0)]
        assert choose_batch(queue, 0.0, linear(0.01)).launch == (1, 3)

    def test_a_frame_that_cannot_make_it_is_given_up_instead_of_delaying_the_others(self) -> None:
        queue = [Waiting(HD, 0.005), Waiting(HD, 1.0), Waiting(SD, -1.0)]
        assert choose_batch(queue, 0.0, linear(0.01)) == Choice((1,), (0, 2))

    @given(
        queue=st.lists(st.builds(Waiting, st.sampled_from([HD, SD]), st.floats(-1, 5)), max_size=40),
        base=st.floats(0, 1),
        slope=st.floats(0, 0.5),
        limit=st.integers(1, BATCH_LIMIT),
    )
    def test_invariants(self, queue: list[Waiting], base: float, slope: float, limit: int) -> None:
        def estimate(size: tuple[int, int], count: int) -> float:
            return base + slope * count

        launch, expired = choose_batch(queue, 0.0, estimate, limit)
        assert not set(launch) & set(expired)
        assert len(launch) <= limit
        assert len({queue[i].size for i in launch}) <= 1
        assert all(estimate(HD, len(launch)) <= queue[i].deadline for i in launch)
        assert all(estimate(HD, 1) > queue[i].deadline for i in expired)
        # Work-conserving: the device is never left idle while a frame could still make it.
        assert launch or len(expired) == len(queue)
        # Nobody more urgent is passed over.
        left = [queue[i].deadline for i in range(len(queue)) if i not in {*launch, *expired}]
        assert not launch or not left or queue[launch[0]].deadline <= min(left)


class TestEstimates:
    def test_nothing_known_is_no_reason_to_refuse(self) -> None:
        assert BatchTimes().estimate(HD, 4) == 0

    def test_an_unknown_count_is_put_at_the_long_side_of_its_neighbours(self) -> None:
        times = BatchTimes()
        times.observe(HD, 2, 0.010)
        assert times.estimate(HD, 1) == pytest.approx(0.010)
        assert times.estimate(HD, 8) == pytest.approx(0.040)
        times.observe(HD, 16, 0.050)
        assert times.estimate(HD, 8) == pytest.approx(0.050)
        assert times.estimate(SD, 8) == 0

    def test_one_stall_does_not_refuse_frames_for_ever(self) -> None:
        service_time = ServiceTime()
        service_time.observe(5.0)
        for _ in range(60):
            service_time.refuse()
        assert service_time.seconds < 0.1

    @given(st.lists(st.floats(0.001, 1), min_size=1, max_size=50))
    def test_the_estimate_stays_within_what_was_seen(self, seen: list[float]) -> None:
        service_time = ServiceTime()
        for seconds in seen:
            service_time.observe(seconds)
        assert min(seen) - 1e-9 <= service_time.seconds <= max(seen) + 1e-9


class TestBreaker:
    def test_a_failure_keeps_the_device_off_until_the_pause_is_over(self) -> None:
        breaker = Breaker()
        assert breaker.allow(0.0)
        breaker.fail(0.0)
        assert not breaker.allow(PROBE_AFTER_SECONDS - 0.001)
        assert breaker.allow(PROBE_AFTER_SECONDS)

    def test_only_one_probe_at_a_time(self) -> None:
        breaker = Breaker()
        breaker.fail(0.0)
        assert breaker.allow(10.0)
        assert not breaker.allow(10.1)

    def test_a_probe_that_never_reports_is_followed_by_another(self) -> None:
        breaker = Breaker()
        breaker.fail(0.0)
        assert breaker.allow(10.0)
        assert breaker.allow(20.0)

    def test_a_good_probe_closes_a_bad_one_opens(self) -> None:
        breaker = Breaker()
        breaker.fail(0.0)
        breaker.allow(10.0)
        breaker.fail(10.5)
        assert not breaker.allow(20.4)
        assert breaker.allow(20.5)
        breaker.succeed()
        assert breaker.allow(20.6)
        assert breaker.state == "closed"

    def test_a_batch_launched_before_the_failure_does_not_close_it(self) -> None:
        breaker = Breaker()
        breaker.fail(0.0)
        breaker.succeed()
        assert not breaker.allow(1.0)


class TestBusyTime:
    def test_overlapping_batches_count_once(self) -> None:
        busy = BusyTime("cuda")
        busy.begin(10.0)
        busy.begin(11.0)
        busy.end(12.0, "cuda")
        busy.end(14.0, "cuda")
        busy.begin(20.0)
        busy.end(21.0, "cpu")
        assert busy.seconds() == {"cuda": 4.0, "cpu": 1.0}

    @given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from(["cuda", "cpu"])), max_size=40))
    def test_never_more_than_time_passed_and_never_less_than_before(self, steps: list[tuple[float, bool, str]]) -> None:
        busy, now, active, last = BusyTime("cuda"), 0.0, 0, 0.0
        for seconds, begins, device in steps:
            now += seconds
            if begins:
                busy.begin(now)
                active += 1
            elif active:
                busy.end(now, device)
                active -= 1
            total = sum(busy.seconds().values())
            assert last <= total <= now + 1e-9
            last = total
