"""Conditions by the Kubernetes conventions: a transition time moves only with the status, kstatus' own appear
only when True.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from mediapipeline_operator.api.reasons import ConditionType
from mediapipeline_operator.core.scaling.state import rfc3339

_ONLY_WHEN_TRUE = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
_MESSAGE_LENGTH = 32768  # metav1.Condition
WORDS = {True: "True", False: "False", None: "Unknown"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it is now; status None is Unknown."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str = ""


def merged(
    old: Sequence[Mapping[str, Any]], current: Iterable[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The conditions to write, in order of type. Of `old` only transition times are kept."""
    since = {item.get("type"): item for item in old}
    return [_json(item, since.get(item.type.value, {}), generation, now) for item in shown(current)]


def shown(current: Iterable[Condition]) -> list[Condition]:
    """Those that are written, in order of type."""
    return sorted((item for item in current if item.status or item.type not in _ONLY_WHEN_TRUE), key=_type)


_type = attrgetter("type")


def _json(item: Condition, old: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    status = WORDS[item.status]
    kept = old.get("lastTransitionTime") if old.get("status") == status else None
    return {
        "type": item.type.value,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": kept or rfc3339(now),
        "reason": item.reason,
        "message": item.message[:_MESSAGE_LENGTH],
    }
