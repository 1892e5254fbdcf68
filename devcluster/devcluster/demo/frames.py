"""Frame facts of a finished demo: the pods' counters as Prometheus kept them, and the clients' own report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devcluster.demo.verdict import FrameFacts

Query = Callable[[str], float]
# Also the counters of pods that are gone: each one's last sample. A drained pod has no frame in flight when it goes.
RECEIVED = 'sum(last_over_time(mediapod_frames_received_total{{pipeline="{pipeline}"}}[30m]))'
RESULTS = 'sum(last_over_time(mediapod_frames_total{{pipeline="{pipeline}"}}[30m]))'


def frame_facts(pipeline: str, query: Query, report: Mapping[str, Any]) -> FrameFacts:
    """`query` answers PromQL with one number (0 when empty); `report` is the totals of the load generator."""
    inside, outside = report["insideOverloads"], report["outsideOverloads"]
    verdicts = report["verdicts"]
    return FrameFacts(
        received=round(query(RECEIVED.format(pipeline=pipeline))),
        accounted=round(query(RESULTS.format(pipeline=pipeline))),
        sent=inside["framesSent"] + outside["framesSent"],
        returned=inside["framesReturned"] + outside["framesReturned"],
        sent_outside_overload=outside["framesSent"],
        returned_processed_outside_overload=outside["framesReturned"],
        inspected=sum(verdicts.values()),
        effect_seen=verdicts.get("seen", 0),
        effect_missing=verdicts.get("not-seen", 0),
        number_mismatches=report["numbersWrong"],
    )
