"""Where the replica-hours above the clairvoyant bound go."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core.simulation.bound import Bound
from mediapipeline_operator.core.simulation.score import Moment


def hours(spec: MediaPipelineSpec, timeline: Sequence[Moment], bound: Bound) -> dict[str, float]:
    """Shares of the bound, from moments at equal distances; their sum is the ratio less 1.

    target: the replicas that the wanted sessions take at the target utilisation, in fractions, above the bound (which
    fills every replica); rounding: to whole replicas; kept: serving replicas above those (negative: too few); leaving:
    draining and terminating ones. A law with another target has the difference in `kept`.
    """
    scaling = spec.autoscaling
    places = spec.sessions.max_per_replica * scaling.sessions.target_utilization_percent / 100
    target = rounding = kept = leaving = base = 0.0
    for moment in timeline:
        lowest = bound.replicas[moment.time]
        exact = _clamped(spec, moment.demand / places)
        whole = _clamped(spec, math.ceil(moment.demand / places - 1e-9))
        base += lowest
        target += exact - lowest
        rounding += whole - exact
        kept += moment.serving - whole
        leaving += moment.pods - moment.serving
    parts = {"target": target, "rounding": rounding, "kept": kept, "leaving": leaving}
    return {f"share_{name}": part / base for name, part in parts.items()}


def _clamped(spec: MediaPipelineSpec, replicas: float) -> float:
    return min(max(replicas, spec.autoscaling.min_replicas), spec.autoscaling.max_replicas)
