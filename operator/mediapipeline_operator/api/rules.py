"""Rules across fields (CEL), checked by the API server. Each has a test that it accepts and one that it rejects.

A rule stands at the object that holds all fields it reads; `path` is that object's place below the resource.
"""

from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.api.model import LATENCY_BUCKETS_MILLISECONDS

_BOUNDS = ", ".join(str(bound) for bound in LATENCY_BUCKETS_MILLISECONDS)


@dataclass(frozen=True, slots=True)
class Rule:
    """`field` is the field that the message is about, below `path`; the API server puts it before the message."""

    path: tuple[str, ...]
    rule: str
    message: str
    field: str = ""

    def as_validation(self) -> dict[str, Any]:
        validation = {"rule": self.rule, "message": self.message}
        return {**validation, "fieldPath": f".{self.field}"} if self.field else validation


def _on_a_bound(path: tuple[str, ...], field: str) -> Rule:
    return Rule(
        path,
        f"self.{field} in [{_BOUNDS}]",
        f"must be a bound of the latency histogram, where the missed share is exact: {_BOUNDS}",
        field,
    )


_LATENCY = ("spec", "autoscaling", "latency")

RULES = (
    Rule(
        (),
        "size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be a DNS label that starts with a letter and has at most 52 characters: "
        "the names of the children are made from it",
    ),
    Rule(("spec", "profile"), "self == oldSelf", "profile is immutable: create another MediaPipeline"),
    Rule(
        ("spec",),
        "!(oldSelf.autoscaling.engine == 'Operator' && self.autoscaling.engine == 'Operator')"
        " || self.replicas == oldSelf.replicas",
        "replicas is not used with autoscaling.engine Operator, which decides the number itself: change "
        "autoscaling.minReplicas and autoscaling.maxReplicas, or set autoscaling.engine to None first",
        "replicas",
    ),
    Rule(
        ("spec",),
        "4 * self.monitoring.intervalSeconds <= self.autoscaling.latency.scaleUp.forSeconds",
        "rates are taken over 4 x monitoring.intervalSeconds, which must not be longer than "
        "autoscaling.latency.scaleUp.forSeconds: lower the one or raise the other",
        "monitoring.intervalSeconds",
    ),
    Rule(
        ("spec", "autoscaling"),
        "self.minReplicas <= self.maxReplicas",
        "minReplicas must not be above maxReplicas",
        "minReplicas",
    ),
    Rule(
        ("spec", "autoscaling"),
        "self.mode == 'Active' || self.engine == 'Operator'",
        "mode Advisory needs engine Operator: no other engine can decide without acting",
        "mode",
    ),
    Rule(
        _LATENCY,
        "self.scaleDown.belowMilliseconds < self.scaleUp.aboveMilliseconds",
        "scaleDown.belowMilliseconds must be below scaleUp.aboveMilliseconds: between them nothing happens",
        "scaleDown.belowMilliseconds",
    ),
    _on_a_bound((*_LATENCY, "scaleUp"), "aboveMilliseconds"),
    _on_a_bound((*_LATENCY, "scaleDown"), "belowMilliseconds"),
    Rule(
        ("spec", "compute"),
        "!has(self.simulation) || self.device == 'Simulated'",
        "simulation is for device Simulated only: remove it or set device to Simulated",
        "simulation",
    ),
    Rule(
        ("spec", "compute"),
        "!has(self.gpu) || self.device == 'GPU'",
        "gpu is for device GPU only: remove it or set device to GPU",
        "gpu",
    ),
    Rule(
        ("spec", "rollout"),
        "!(string(self.maxSurge) in ['0', '0%', '00%'] && string(self.maxUnavailable) in ['0', '0%', '00%'])",
        "maxSurge and maxUnavailable must not both be 0: a rollout could not begin",
        "maxUnavailable",
    ),
)
