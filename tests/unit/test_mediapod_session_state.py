"""The session's state machine and admission, with the clock as an argument."""

import pytest

from mediapod.session.admission import RETRY_AFTER_SECONDS, Admission, Draining, Full, Headroom, Overloaded, Starting
from mediapod.session.state import EndReason, Limits, SessionState, State

LIMITS = Limits(connect_seconds=30, idle_seconds=300, maximum_seconds=1000)


def connected(now: float = 0.0) -> SessionState:
    session = SessionState(LIMITS, now)
    session.answered()
    session.connection_changed("connected", now)
    return session


def test_a_session_goes_from_pending_over_connecting_to_active():
    session = SessionState(LIMITS, 0)
    assert session.state is State.PENDING
    session.answered()
    assert session.state is State.CONNECTING
    assert session.connection_changed("connecting", 1) is None
    session.connection_changed("connected", 2)
    assert session.connected


@pytest.mark.parametrize(("change", "reason"), [("failed", EndReason.PEER_LOST), ("closed", EndReason.PEER_CLOSED)])
def test_a_connected_session_ends_for_the_peer(change, reason):
    assert connected().connection_changed(change, 1) is reason


def test_a_failure_before_connecting_has_its_own_reason():
    session = SessionState(LIMITS, 0)
    session.answered()
    assert session.connection_changed("failed", 1) is EndReason.CONNECT_FAILED


def test_a_session_that_never_connects_ends_in_time():
    session = SessionState(LIMITS, 100)
    assert session.due(129.9) is None
    assert session.due(130) is EndReason.CONNECT_TIMEOUT


def test_packets_keep_a_session_alive_and_silence_ends_it():
    session = connected(0)
    session.packet(200)
    session.packet(150)  # an older arrival never turns the clock back
    assert session.due(499.9) is None
    assert session.due(500) is EndReason.IDLE_TIMEOUT


def test_no_session_outlives_the_maximum():
    session = connected(0)
    session.packet(999)
    assert session.due(1000) is EndReason.MAXIMUM_DURATION


def test_without_a_maximum_a_session_with_packets_never_ends():
    session = SessionState(Limits(30, 300), 0)
    session.connection_changed("connected", 1)
    session.packet(1e6)
    assert session.due(1e6) is None


def test_a_session_ends_once():
    session = connected()
    assert session.end(EndReason.SHUTDOWN) is EndReason.SHUTDOWN
    assert session.end(EndReason.PEER_CLOSED) is None
    assert session.connection_changed("failed", 1) is None
    assert session.due(1e9) is None
    assert session.reason is EndReason.SHUTDOWN


def test_admission_counts_every_place_and_says_when_to_come_again():
    admission = Admission(capacity=2)
    with pytest.raises(Starting):
        admission.admit(0)
    admission.started = True
    admission.admit(1)
    with pytest.raises(Full, match="MAX_SESSIONS_PER_POD") as refused:
        admission.admit(2)
    assert refused.value.retry_after_seconds > 0


def test_draining_refuses_even_an_empty_pod_until_it_is_undone():
    admission = Admission(capacity=2)
    admission.started = admission.draining = True
    with pytest.raises(Draining):
        admission.admit(0)
    admission.draining = False
    admission.admit(0)


def started(headroom: Headroom, lag: float = 0.0) -> Admission:
    admission = Admission(10, headroom, lambda: lag)
    admission.started = True
    return admission


def test_a_busy_event_loop_closes_the_door_but_for_the_first_session():
    admission = started(Headroom(loop_lag_seconds=0.1), lag=0.15)
    admission.admit(0)
    with pytest.raises(Overloaded, match="150 ms late"):
        admission.admit(1)
    started(Headroom(loop_lag_seconds=0.1), lag=0.05).admit(9)


def test_missed_frames_close_the_door_when_wanted():
    admission = started(Headroom(missed_share=0.2))
    admission.admit(3, lambda: 0.1)
    with pytest.raises(Overloaded, match=r"30\.0% of the frames"):
        admission.admit(3, lambda: 0.3)


def test_headroom_can_be_switched_off():
    started(Headroom(), lag=9.0).admit(9, lambda: 1.0)


def test_a_draining_pod_sends_clients_on_sooner_than_a_full_one():
    assert 0 < Draining("").retry_after_seconds < Full("").retry_after_seconds == RETRY_AFTER_SECONDS
