"""What is run, and what a run yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One run. `setting` chooses from the tuning grid of `law`, None is the law at its defaults."""

    world: str
    scenario: str
    law: str
    seed: int
    setting: int | None = None


@dataclass(frozen=True)
class Result:
    """What a run yields. Shares of frames and session-time in percent; `ratio` is replica-hours over the clairvoyant
    bound's, and the last four are the parts of what is above 1."""

    missed: float
    rejected: float
    rejected_session_minutes: float
    replica_hours: float
    ratio: float
    killed: int
    reversals: int
    recovery_seconds: int
    blind_downs: int
    share_target: float
    share_rounding: float
    share_kept: float
    share_leaving: float
