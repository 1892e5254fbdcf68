"""Rejected demand: clients that were refused are the one load that no gauge shows."""

from __future__ import annotations

from datetime import datetime, timedelta

from mediapipeline_operator.core.scaling.model import Proposal
from mediapipeline_operator.core.scaling.reasons import DataState, Reason
from mediapipeline_operator.core.scaling.situation import Situation
from mediapipeline_operator.core.scaling.state import stamp
from mediapipeline_operator.core.scaling.states import SESSIONS_KNOWN


def rejected_per_second(situation: Situation) -> float:
    """Offers refused for lack of capacity. A placed offer found its seat on a peer and is none."""
    return sum(seen.rejected_per_second or 0.0 for seen in situation.signals.pods.values())


def rejected_since(situation: Situation, data_state: DataState) -> datetime | None:
    """Since when the counter rises; what is not measured is not a reason."""
    if data_state not in SESSIONS_KNOWN or rejected_per_second(situation) <= 0:
        return None
    return situation.before.rejected_since or stamp(situation.now)


def rejected_demand(situation: Situation, since: datetime | None) -> Proposal | None:
    """Rising in two consecutive ticks: one more. A single refusal may be a client that a peer has served since."""
    if (
        since is None
        or situation.now < since + timedelta(seconds=0.9 * situation.tick_seconds)
        or situation.step_pending
    ):
        return None
    rate = 60 * rejected_per_second(situation)
    return Proposal(
        Reason.DEMAND_REJECTED, situation.n + 1, f"{rate:.1f} sessions a minute were refused for lack of capacity"
    )
