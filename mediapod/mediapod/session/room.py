"""Whether a pod still has room in the sense of packing: not whether a session may come, but whether it had better come
here, to the fullest pod of all that have room. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

BUSY_LIMIT = 0.8  # of the device or the CPUs: frame ages are flat up to here, and seconds just above 1
MISSED_LIMIT = 0.01  # what an unlucky moment costs; more is a sign of load
LOOP_LAG_LIMIT_SECONDS = 0.05
NEARLY_EMPTY = 2  # so few sessions that one more is no risk, whatever they will turn out to need
FLOAT_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Measured:
    """The pod as it has been in the last seconds.

    busy_share: of the busiest of its devices and its CPUs; unmeasured: sessions whose load that does not yet show.
    """

    busy_share: float = 0.0
    missed_share: float = 0.0
    loop_lag_seconds: float = 0.0
    unmeasured: int = 0


def has_room(taken: int, capacity: int, fill_share: float, measured: Measured) -> bool:
    """Whether the next session had better come here than to an emptier pod, with `taken` sessions of `capacity` here.

    The number of sessions alone would not do: where MAX_SESSIONS_PER_POD promises more than the device keeps, one pod
    would be filled until it misses frames while others idle. So the load that was measured must leave room for one
    session more of the same kind, and must have been measured with all sessions: offers that come at once spread.
    """
    if taken + 1 > fill_share * capacity + FLOAT_SLACK:
        return False
    if taken < NEARLY_EMPTY:
        return True
    return (
        not measured.unmeasured
        and measured.busy_share * (taken + 1) / taken <= BUSY_LIMIT
        and measured.missed_share <= MISSED_LIMIT
        and measured.loop_lag_seconds <= LOOP_LAG_LIMIT_SECONDS
    )
