"""Signals and their votes: GPU, CPU, memory and requests a second, each as a mean over the serving replicas.

Assist adds at most one replica and can forbid a removal; Drive also asks for as many as bring the mean to the target.
GPU utilization as the only driver over-scales: a single stream of work can read 100 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from mediapipeline_operator.api.spec import Signal, SignalType, Vote
from mediapipeline_operator.core.quantity import parse_quantity
from mediapipeline_operator.core.resources.compute import container_resources
from mediapipeline_operator.core.scaling.model import PodFacts, Proposal
from mediapipeline_operator.core.scaling.reasons import Reason
from mediapipeline_operator.core.scaling.situation import Situation, exceeds

REPORTING_SHARE = 0.8  # of the reporting replicas must have the signal; the mean of a few would be theirs alone
MARGIN = 0.10  # after a removal a signal must stay this far below its target, or it would call the replica back


@dataclass(frozen=True, slots=True)
class SignalReading:
    """A configured signal with its value (percent, or requests a second, a replica); None: unknown, which is not 0."""

    signal: Signal
    value: float | None
    proposal: Proposal | None


def readings(situation: Situation) -> tuple[SignalReading, ...]:
    """All configured signals, in the order of the spec."""
    return tuple(_reading(situation, signal) for signal in situation.spec.autoscaling.signals)


def _reading(situation: Situation, signal: Signal) -> SignalReading:
    value = mean(situation, signal.type)
    return SignalReading(signal, value, _proposal(situation, signal, value))


def mean(situation: Situation, kind: SignalType) -> float | None:
    """Over the serving replicas with fresh samples; None when too few of them have the signal."""
    values = [value for pod in situation.reporting if (value := _value(situation, kind, pod)) is not None]
    if not values or len(values) < REPORTING_SHARE * len(situation.reporting):
        return None
    return sum(values) / len(values)


def _value(situation: Situation, kind: SignalType, pod: PodFacts) -> float | None:
    seen = situation.of(pod)
    if kind is SignalType.REQUESTS_PER_SECOND:
        return seen.requests_per_second
    if kind is SignalType.GPU_UTILIZATION:
        busy = None if seen.busy_share is None else 100 * seen.busy_share
        return busy if seen.gpu_percent is None else seen.gpu_percent
    used = seen.cpu_cores if kind is SignalType.CPU_UTILIZATION else seen.memory_bytes
    requested = _requested(situation, "cpu" if kind is SignalType.CPU_UTILIZATION else "memory")
    return None if used is None or not requested else 100 * used / requested


def _requested(situation: Situation, resource: str) -> float | None:
    """What a replica requests, as the HorizontalPodAutoscaler counts; Kubernetes takes the limit for a missing one."""
    resources = container_resources(situation.spec)
    for section in ("requests", "limits"):
        quantity = resources.get(section, {}).get(resource)
        if quantity is not None:
            return _amount(str(quantity))
    return None


def _amount(quantity: str) -> float | None:
    try:
        return float(parse_quantity(quantity))
    except ValueError:
        return None


def _proposal(situation: Situation, signal: Signal, value: float | None) -> Proposal | None:
    if value is None or not exceeds(value, signal.target):
        return None
    wanted = _driven(situation, signal, value) if signal.vote is Vote.DRIVE else _assisted(situation)
    if wanted is None:
        return None
    unit = " requests a second" if signal.type is SignalType.REQUESTS_PER_SECOND else " %"
    message = (
        f"{signal.type.value} is {value:.0f}{unit} a replica (target {signal.target}{unit}, vote {signal.vote.value})"
    )
    return Proposal(Reason.SIGNAL_HIGH, wanted, message)


def _driven(situation: Situation, signal: Signal, value: float) -> int:
    """ceil(replicas x value / target). Ready replicas alone: starting ones carry nothing of the value yet."""
    return math.ceil(len(situation.serving) * value / signal.target - 1e-9)


def _assisted(situation: Situation) -> int | None:
    """One more, and the next one only after that one has had its time to help."""
    last, wait = situation.before.last_scale_up, situation.spec.autoscaling.latency.scale_up.for_seconds
    rested = last is None or situation.now >= last + timedelta(seconds=wait)
    return situation.n + 1 if rested and not situation.step_pending else None


def proposals(situation: Situation) -> list[Proposal]:
    """What the signals ask for."""
    return [reading.proposal for reading in readings(situation) if reading.proposal is not None]


def is_unknown(situation: Situation) -> bool:
    """A signal that is asked for and not measured is not low."""
    return any(reading.value is None for reading in readings(situation))


def forbids_removal(situation: Situation) -> bool:
    """Whether a signal's mean over n - 1 replicas would come within a tenth of its target."""
    return any(_is_high_after_removal(situation, reading) for reading in readings(situation))


def _is_high_after_removal(situation: Situation, reading: SignalReading) -> bool:
    serving = len(situation.serving)
    if reading.value is None or serving == 0:
        return False
    left = serving - 1
    after = reading.value * serving / left if left else math.inf
    return reading.value > 0 and exceeds(after, (1 - MARGIN) * reading.signal.target)
