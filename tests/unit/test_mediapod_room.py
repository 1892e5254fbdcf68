"""Room: what a pod says of itself so that others pack into it, by what it has measured."""

from pathlib import Path

import pytest

from mediapod.observability.occupancy import Occupancy, usable_cpus
from mediapod.session.room import Measured, has_room
from mediapod.session.state import EndReason, Limits, SessionState

CALM = Measured(busy_share=0.4)


@pytest.mark.parametrize(
    ("taken", "capacity", "fill", "room"),
    [
        (5, 8, 0.75, True),
        (6, 8, 0.75, False),
        (0, 8, 0.75, True),
        (0, 8, 0.0, False),
        (0, 1, 0.75, False),
        (7, 8, 1, True),
    ],
)
def test_it_is_filled_up_to_a_share(taken, capacity, fill, room):
    assert has_room(taken, capacity, fill, CALM) is room


@pytest.mark.parametrize(
    "measured",
    [
        Measured(busy_share=0.7),  # 5 sessions of 14 % each: a sixth would make it 84 %
        Measured(0.4, missed_share=0.02),
        Measured(0.4, loop_lag_seconds=0.1),
        Measured(0.4, unmeasured=1),
    ],
    ids=["busy", "frames missed", "loop late", "too new"],
)
def test_it_ends_before_the_places_do(measured):
    assert has_room(5, 100, 0.75, CALM)
    assert not has_room(5, 100, 0.75, measured)
    assert has_room(1, 100, 0.75, measured), "nearly empty: one more is no risk"


def test_a_session_is_measured_a_while_after_its_media_began_to_flow():
    state = SessionState(Limits(30, 300), 100.0)
    assert not state.is_measured(101.0)
    state.connection_changed("connected", 103.0)
    assert not state.is_measured(104.9)
    state.connection_changed("connected", 104.9)
    assert state.is_measured(105.0), "a second report of the same is no new beginning"


def test_a_peer_that_never_connects_or_has_gone_is_not_waited_for():
    state = SessionState(Limits(30, 300), 100.0)
    assert not state.is_measured(109.9)
    assert state.is_measured(110.0)
    leaving = SessionState(Limits(30, 300), 100.0)
    leaving.end(EndReason.CLIENT_ENDED)
    assert leaving.is_measured(100.1)


class Clocked:
    """A device and CPUs whose busy seconds are set by hand."""

    def __init__(self, cpus: float = 2.0) -> None:
        self.now, self.device, self.cpu = 0.0, {"cuda": 0.0, "cpu": 0.0}, 0.0
        self.occupancy = Occupancy(lambda: self.device, cpus, lambda: self.cpu, lambda: self.now)

    def pass_seconds(self, seconds: float, device: float = 0.0, cpu: float = 0.0, threads: float = 0.0) -> None:
        for _ in range(round(seconds * 2)):
            self.occupancy.sample()
            self.now += 0.5
            self.cpu += cpu / 2
            self.device = {"cuda": self.device["cuda"] + device / 2, "cpu": self.device["cpu"] + threads / 2}


def test_the_share_of_the_busiest_in_the_last_seconds():
    rig = Clocked()
    assert rig.occupancy.busy_share() == 0.0
    rig.pass_seconds(3, device=0.6, cpu=0.4)
    assert rig.occupancy.busy_share() == pytest.approx(0.6)
    rig.pass_seconds(10, device=0.1, cpu=1.0)
    assert rig.occupancy.busy_share() == pytest.approx(0.5), "one of two CPUs"
    rig.pass_seconds(10, threads=5.0)
    assert rig.occupancy.busy_share() == 0.0, "busy seconds of threads are no share of a device"


def test_the_containers_limit_counts(tmp_path: Path):
    limit = tmp_path / "cpu.max"
    everything = usable_cpus(limit)
    limit.write_text("max 100000")
    assert usable_cpus(limit) == everything
    limit.write_text("50000 100000")
    assert usable_cpus(limit) == 0.5
    limit.write_text("nonsense")
    assert usable_cpus(limit) == everything
