"""What the pod has is divided among its workers, all of it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mediapod.front.desk import least_loaded
from mediapod.front.shares import shares
from mediapod.ipc.tether import Status
from mediapod.settings import Settings


def settings(**environment: object) -> Settings:
    return Settings(**environment)


@hypothesis_settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 200), st.integers(1024, 65000), st.integers(1, 500))
def test_sessions_and_ports_add_up_and_no_worker_is_without(workers, sessions, first, count):
    last = min(65535, first + count - 1)
    parts = shares(
        settings(MEDIAPOD_WORKERS=workers, MAX_SESSIONS_PER_POD=sessions, MEDIAPOD_MEDIA_PORT_RANGE=f"{first}-{last}")
    )
    assert 1 <= len(parts) <= workers
    assert sum(part.sessions for part in parts) == sessions
    assert max(part.sessions for part in parts) - min(part.sessions for part in parts) <= 1
    assert min(part.sessions for part in parts) >= 1
    ports = [port for part in parts for port in range(part.ports[0], part.ports[1] + 1)]
    assert ports == list(range(first, last + 1))


def test_one_worker_is_the_default_and_nothing_is_pinned():
    (only,) = shares(settings())
    assert (only.sessions, only.ports, only.cpu) == (100, None, None)


def test_pinned_workers_take_turns_on_the_cpus_there_are():
    parts = shares(settings(MEDIAPOD_WORKERS=3, MEDIAPOD_PIN_WORKERS=True), frozenset({4, 6}))
    assert [part.cpu for part in parts] == [4, 6, 4]


@dataclass
class Worker:
    taken: int
    status: Status


def worker(taken: int, *, is_open: bool = True) -> Worker:
    return Worker(taken, Status(open=is_open))


@pytest.mark.parametrize(
    ("workers", "chosen"),
    [
        ([worker(2), worker(1), worker(3)], 1),
        ([worker(1), worker(1)], 0),
        ([worker(0, is_open=False), worker(5)], 1),  # it has no headroom, however few it has
        ([worker(3, is_open=False), worker(2, is_open=False)], 1),  # its refusal is as good as any
    ],
)
def test_the_next_session_goes_to_the_least_loaded_worker_that_is_open(workers, chosen):
    assert least_loaded(workers) is workers[chosen]


def test_without_workers_there_is_nobody():
    assert least_loaded([]) is None
