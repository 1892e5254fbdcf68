"""The peers' laws against the examples that their own documentation gives. Numbers, not shapes: they are not ours."""

import math
from itertools import pairwise

import pytest

from mediapipeline_operator.core.simulation.peers.behavior import Behavior, Policy, Rules
from mediapipeline_operator.core.simulation.peers.hpa import Hpa, Metric, combine, proposal
from mediapipeline_operator.core.simulation.peers.keda import Fallback, Keda
from mediapipeline_operator.core.simulation.peers.kpa import Kpa
from mediapipeline_operator.core.simulation.peers.law import Observed
from mediapipeline_operator.core.simulation.peers.llmd import SloAware
from mediapipeline_operator.core.simulation.peers.simple import BareThreshold, Static


def seen(now, replicas, *, ready=None, p95=0.05, sessions=0.0, failed=False, pods=0.0):
    return Observed(float(now), replicas, replicas if ready is None else ready, p95, sessions, failed, pods)


@pytest.mark.parametrize(
    ("value", "replicas", "wanted"),
    [
        (200.0, 3, 6),  # "if the current metric value is 200m, and the desired value is 100m, the replicas are doubled"
        (50.0, 4, 2),  # "if the current value is instead 50m, you'll halve the number of replicas"
        (109.0, 4, 4),  # within the tolerance of 0.1
        (91.0, 4, 4),
        (120.0, 4, 5),  # ceil
    ],
)
def test_hpa_ratio_and_tolerance(value, replicas, wanted):
    assert proposal(Metric("p95", 100.0), value, replicas, replicas) == wanted


def test_hpa_value_counts_from_ready_pods():
    assert proposal(Metric("p95", 100.0), 150.0, 8, 4) == 6


def test_hpa_average_value_divides_the_total():
    assert proposal(Metric("sessions", 5.0, average=True), 43.0, 4, 4) == 9
    assert proposal(Metric("sessions", 5.0, average=True), 21.0, 4, 4) == 4  # 1.05 is within the tolerance


def test_hpa_takes_the_largest_and_does_not_lower_with_a_metric_missing():
    assert combine([3, 5], 4) == 5
    assert combine([3, None], 4) is None
    assert combine([6, None], 4) == 6
    assert combine([None, None], 4) is None


def test_hpa_documented_down_policy_eighty_to_ten():
    """The guide's example: 10 % or 4 pods in a minute, whichever is more: 80, 72, 64 (7.2 is rounded up), ..., 4 a time
    below 40."""
    rules = Rules(0, (Policy(4, 60, percent=False), Policy(10, 60, percent=True)))
    behavior, replicas, path = Behavior(down=rules), 80, []
    for minute in range(16):
        replicas = behavior.apply(replicas, 10, 60.0 * minute)
        path.append(replicas)
    assert path[:3] == [72, 64, 57]
    below = [count for count in path if count < 40]
    assert all(earlier - later == 4 for earlier, later in pairwise(below) if later > 10)


def test_hpa_down_waits_for_the_highest_recommendation_of_five_minutes():
    behavior = Behavior()
    assert behavior.apply(10, 10, 0.0) == 10
    assert [behavior.apply(10, 4, float(t)) for t in (15, 150, 285)] == [10, 10, 10]
    assert behavior.apply(10, 4, 315.0) == 4


def test_hpa_default_up_is_double_or_four_in_fifteen_seconds():
    behavior = Behavior()
    assert behavior.apply(2, 100, 0.0) == 6
    assert behavior.apply(6, 100, 15.0) == 12
    assert behavior.apply(12, 100, 20.0) == 12  # the same 15 s
    assert behavior.apply(12, 100, 31.0) == 24


def test_hpa_rates_count_from_the_start_of_the_period_in_both_directions():
    """periodStartReplicas = current - added + deleted: what was just deleted may be added again on top."""
    up = Behavior(up=Rules(0, (Policy(2, 60, percent=False),)), down=Rules(0, (Policy(100, 15, percent=True),)))
    assert up.apply(10, 10, 0.0) == 10
    assert up.apply(10, 4, 15.0) == 4
    assert up.apply(4, 20, 30.0) == 12  # 10 at the start of the minute, and 2
    down = Behavior(down=Rules(0, (Policy(1, 60, percent=False),)))
    assert down.apply(4, 8, 0.0) == 8
    assert down.apply(8, 1, 30.0) == 3  # 4 at the start of the minute, less 1


def test_hpa_up_window_takes_the_lowest():
    behavior = Behavior(up=Rules(60, (Policy(100, 15, percent=True),)))
    assert behavior.apply(4, 8, 0.0) == 4
    assert behavior.apply(4, 8, 30.0) == 4
    assert behavior.apply(4, 8, 61.0) == 8


@pytest.mark.parametrize("missing", [seen(0, 6, p95=None), seen(0, 6, p95=math.nan), seen(0, 6, failed=True)])
def test_hpa_holds_without_a_metric(missing):
    assert Hpa((Metric("p95", 0.1),)).desired(missing) == 6


def test_keda_default_reads_nothing_as_zero_and_ignores_how_many_run():
    law = Keda(Metric("p95", 0.1, average=True))
    assert law.desired(seen(0, 8, p95=0.3)) == 8  # 3 wanted; the window holds 8
    empties = [law.desired(seen(t, 8, p95=None)) for t in (15, 150, 301, 316)]
    assert empties[0] == 8
    assert empties[-1] < 8


def test_keda_value_keeps_the_number_then_falls_back_upwards_only():
    law = Keda(Metric("p95", 0.1), ignore_null=False, fallback=Fallback(3, 10))
    assert [law.desired(seen(15 * i, 6, p95=math.nan)) for i in range(5)] == [6, 6, 6, 10, 10]
    high = Keda(Metric("p95", 0.1), ignore_null=False, fallback=Fallback(3, 4))
    assert [high.desired(seen(15 * i, 6, failed=True)) for i in range(5)] == [6] * 5


def run_kpa(law, sessions, ready, seconds, start=0):
    return [law.desired(seen(t, ready, pods=sessions)) for t in range(start, start + seconds, 2)]


def test_kpa_panics_at_twice_the_ready_pods_and_does_not_go_down_while_it_does():
    law = Kpa(10.0)
    assert run_kpa(law, 10.0, 1, 120)[-1] == 1
    panicked = run_kpa(law, 100.0, 1, 10, start=120)
    assert panicked[-1] == 10  # the panic window of 6 s has forgotten the past
    assert law.panic_since is not None
    assert min(run_kpa(law, 10.0, 10, 58, start=130)) == 10
    assert run_kpa(law, 10.0, 10, 40, start=188)[-1] == 5  # at most halved: max-scale-down-rate 2.0


def test_kpa_starts_in_panic_with_more_than_one_pod():
    law = Kpa(10.0)
    assert law.desired(seen(0, 5, pods=0.0)) == 5
    assert run_kpa(law, 0.0, 5, 60, start=2)[-1] == 5


class Told(Kpa):
    """The decider without its averages: both windows are told, as the tests of knative's autoscaler do."""

    stable = panic = 0.0

    def _average(self, seen, seconds):
        return self.stable if seconds == self.stable_seconds else self.panic

    def scale(self, now, ready, stable, panic):
        self.stable, self.panic = float(stable), float(panic)
        return self.desired(seen(now, ready))


def told(target, **settings):
    return Told(target, _begun=True, **settings)


def test_kpa_as_in_its_own_tests_a_slow_increase_ends_the_panic():
    law = told(1.0)
    assert (law.scale(0, 10, 11, 25), law.panic_since) == (25, 0.0)
    assert (law.scale(30, 40, 30, 41), law.panic_since) == (41, 0.0)
    assert (law.scale(62, 55, 50, 56), law.panic_since) == (50, None)


def test_kpa_as_in_its_own_tests_a_surge_extends_the_panic():
    law = told(1.0)
    assert (law.scale(0, 10, 11, 25), law.panic_since) == (25, 0.0)
    assert (law.scale(30, 40, 30, 80), law.panic_since) == (80, 30.0)


def test_kpa_as_in_its_own_tests_the_stable_mode():
    law = told(10.0)
    assert [law.scale(0, 1, 50, 10), law.scale(1, 1, 100, 10)] == [5, 10]
    law = told(10.0)
    assert [law.scale(0, 8, 100, 100), law.scale(1, 8, 50, 50)] == [10, 5]
    law = told(10.0)
    assert [law.scale(0, 1, 1, 0), law.scale(1, 1, 0, 0)] == [1, 0]


def test_kpa_as_in_its_own_tests_the_delay_of_scale_downs():
    law = told(10.0, scale_down_delay_seconds=300.0, panic_threshold=100.0, most_down=10.0)
    assert law.scale(2, 1, 40, 40) == 4
    assert law.scale(300, 1, 0, 0) == 4
    assert law.scale(302, 1, 0, 0) == 0
    assert law.scale(540, 1, 40, 40) == 4
    assert law.scale(600, 1, 30, 30) == 4
    assert law.scale(660, 1, 0, 0) == 4
    assert law.scale(840, 1, 0, 0) == 3
    assert law.scale(900, 1, 0, 0) == 0


def test_kpa_scale_down_delay_keeps_the_largest():
    law = Kpa(10.0, scale_down_delay_seconds=300.0)
    run_kpa(law, 40.0, 1, 20)
    assert law.desired(seen(22, 4, pods=40.0)) == 4
    assert run_kpa(law, 10.0, 4, 250, start=24)[-1] == 4


def test_llmd_credits_starting_pods_and_has_a_dead_band():
    def settled(p95, replicas, ready):
        law = SloAware(0.1)
        return [law.desired(seen(15 * i, replicas, ready=ready, p95=p95)) for i in range(3)][-1]

    assert settled(0.05, 4, 4) == 4  # between 0.40 and 0.55
    assert settled(0.09, 4, 4) == 7  # 4 + ceil(4 (0.9/0.55 - 1))
    assert settled(0.09, 4, 2) == 4  # half of them start: 0.45
    assert settled(9.0, 4, 4) == 8  # clamped at 2.0; the HPA's 100 % a minute


def test_the_bare_rule_waits_and_forgets():
    law = BareThreshold()
    ups = [law.desired(seen(t, 3, p95=0.2)) for t in range(0, 70, 10)]
    assert ups == [3, 3, 3, 4, 3, 3, 3]
    assert [law.desired(seen(t, 3, p95=0.01)) for t in range(70, 200, 10)][-1] == 2


def test_static_is_static():
    assert Static(7).desired(seen(0, 2)) == 7
