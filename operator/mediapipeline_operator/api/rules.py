"""Rules across fields (CEL), checked by the API server. Each has a test that it accepts and one that it rejects.

A rule stands at the object that holds all fields it reads, but not inside an object with a default: the API server
checks a default of {} against the rules of that object before it fills the object's own defaults in.
"""

from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.api.model import LATENCY_BUCKETS_MILLISECONDS

_BOUNDS = ", ".join(str(bound) for bound in LATENCY_BUCKETS_MILLISECONDS)
_SPEC = ("spec",)
_MEDIA = "self.networking.media"
_PORTS = f"{_MEDIA}.portRange"
_FIRST, _LAST = (f"int({_PORTS}.split('-')[{index}])" for index in (0, 1))


@dataclass(frozen=True, slots=True)
class Rule:
    """`path`: where the rule stands, below the resource. `field`: what the message is about, below `path`."""

    path: tuple[str, ...]
    rule: str
    message: str
    field: str = ""

    def as_validation(self) -> dict[str, Any]:
        validation = {"rule": self.rule, "message": self.message}
        return {**validation, "fieldPath": f".{self.field}"} if self.field else validation


def _on_a_bound(field: str) -> Rule:
    return Rule(
        _SPEC,
        f"self.autoscaling.latency.source == 'Query' || self.{field} in [{_BOUNDS}]",
        f"must be a bound of the latency histogram, where the missed share is exact: {_BOUNDS}",
        field,
    )


RULES = (
    Rule(
        (),
        "size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be a DNS label that starts with a letter and has at most 52 characters: "
        "the names of the children are made from it",
    ),
    Rule(("spec", "profile"), "self == oldSelf", "profile is immutable: create another MediaPipeline"),
    Rule(
        _SPEC,
        "!(oldSelf.autoscaling.engine == 'Operator' && self.autoscaling.engine == 'Operator')"
        " || self.replicas == oldSelf.replicas",
        "replicas is not used with autoscaling.engine Operator, which decides the number itself: change "
        "autoscaling.minReplicas and autoscaling.maxReplicas, or set autoscaling.engine to None first",
        "replicas",
    ),
    Rule(
        _SPEC,
        "4 * self.monitoring.intervalSeconds <= self.autoscaling.latency.scaleUp.forSeconds",
        "rates are taken over 4 x monitoring.intervalSeconds, which must not be longer than "
        "autoscaling.latency.scaleUp.forSeconds: lower the one or raise the other",
        "monitoring.intervalSeconds",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.minReplicas <= self.autoscaling.maxReplicas",
        "minReplicas must not be above maxReplicas",
        "autoscaling.minReplicas",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.mode == 'Active' || self.autoscaling.engine == 'Operator'",
        "mode Advisory needs engine Operator: no other engine can decide without acting",
        "autoscaling.mode",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.latency.scaleDown.belowMilliseconds < self.autoscaling.latency.scaleUp.aboveMilliseconds",
        "scaleDown.belowMilliseconds must be below scaleUp.aboveMilliseconds: between them nothing happens",
        "autoscaling.latency.scaleDown.belowMilliseconds",
    ),
    _on_a_bound("autoscaling.latency.scaleUp.aboveMilliseconds"),
    _on_a_bound("autoscaling.latency.scaleDown.belowMilliseconds"),
    Rule(
        _SPEC,
        "(self.autoscaling.latency.source == 'Query') == (self.autoscaling.latency.query != '')",
        "query is needed with source Query and is not allowed with another source",
        "autoscaling.latency.query",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.latency.source != 'Query' || self.autoscaling.engine != 'HorizontalPodAutoscaler'",
        "a HorizontalPodAutoscaler reads p95 through the rules of the metrics adapter and cannot run a query: "
        "set source to Frame or Request, or engine to Operator or KEDA",
        "autoscaling.latency.source",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.signals.all(s, s.type == 'RequestsPerSecond' || s.target <= 100)",
        "target must be at most 100 (percent) for GPUUtilization, CPUUtilization and MemoryUtilization",
        "autoscaling.signals",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.engine != 'None' || size(self.autoscaling.signals) == 0",
        "signals need an engine that decides: remove them, or set engine to another one than None",
        "autoscaling.signals",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.engine != 'None' || size(self.autoscaling.schedules) == 0",
        "schedules need an engine that decides: remove them, or set engine to another one than None",
        "autoscaling.schedules",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.schedules.all(s, has(s.minReplicas) || has(s.maxReplicas))",
        "each schedule needs minReplicas or maxReplicas",
        "autoscaling.schedules",
    ),
    Rule(
        _SPEC,
        "self.autoscaling.schedules.all(s, "
        "(!has(s.minReplicas) || (s.minReplicas >= self.autoscaling.minReplicas "
        "&& s.minReplicas <= (has(s.maxReplicas) ? s.maxReplicas : self.autoscaling.maxReplicas))) && "
        "(!has(s.maxReplicas) || (s.maxReplicas >= self.autoscaling.minReplicas "
        "&& s.maxReplicas <= self.autoscaling.maxReplicas)))",
        "the bounds of a schedule must lie within autoscaling.minReplicas and autoscaling.maxReplicas, "
        "its minReplicas not above its maxReplicas",
        "autoscaling.schedules",
    ),
    Rule(
        _SPEC,
        "!has(self.compute.simulation) || self.compute.device == 'Simulated'",
        "simulation is for device Simulated only: remove it or set device to Simulated",
        "compute.simulation",
    ),
    Rule(
        _SPEC,
        "!has(self.compute.gpu) || self.compute.device == 'GPU'",
        "gpu is for device GPU only: remove it or set device to GPU",
        "compute.gpu",
    ),
    Rule(
        _SPEC,
        "!(string(self.rollout.maxSurge) in ['0', '0%', '00%'] "
        "&& string(self.rollout.maxUnavailable) in ['0', '0%', '00%'])",
        "maxSurge and maxUnavailable must not both be 0: a rollout could not begin",
        "rollout.maxUnavailable",
    ),
    Rule(
        _SPEC,
        "self.profile != 'Voice' || self.compute.device != 'GPU'",
        "profile Voice has no work for a GPU: set compute.device to CPU",
        "compute.device",
    ),
    Rule(
        _SPEC,
        f"{_MEDIA}.mode != 'HostPort' || size({_PORTS}) > 0",
        "mode HostPort needs portRange: the ports that a pod takes on its node",
        "networking.media.portRange",
    ),
    Rule(
        _SPEC,
        f"size({_PORTS}) == 0 || ({_FIRST} <= {_LAST} && {_FIRST} >= 1024 && {_LAST} <= 65535)",
        "must be from-to with 1024 <= from <= to <= 65535",
        "networking.media.portRange",
    ),
    Rule(
        _SPEC,
        f"size({_PORTS}) == 0 || {_LAST} < {_FIRST} || {_LAST} - {_FIRST} + 1 >= self.sessions.maxPerReplica",
        "portRange must have a port for each session: widen it or lower sessions.maxPerReplica",
        "networking.media.portRange",
    ),
    Rule(
        _SPEC,
        f"{_MEDIA}.mode != 'HostPort' || size({_PORTS}) == 0 || {_LAST} - {_FIRST} < 256",
        "portRange may have at most 256 ports with mode HostPort: each stands in the pod template",
        "networking.media.portRange",
    ),
    Rule(
        _SPEC,
        f"size({_PORTS}) == 0 || [8080, 9090].all(port, port < {_FIRST} || port > {_LAST})",
        "portRange must not hold 8080 or 9090, the pods' own ports",
        "networking.media.portRange",
    ),
    Rule(
        _SPEC,
        f"{_MEDIA}.mode != 'Relay' || size({_MEDIA}.turnURIs) > 0",
        "mode Relay needs turnURIs: the TURN servers that media go through, for example turn:turn.example.com:3478",
        "networking.media.turnURIs",
    ),
    Rule(
        _SPEC,
        f"(size({_MEDIA}.turnURIs) > 0) == (size({_MEDIA}.turnSecretName) > 0)",
        "turnURIs and turnSecretName belong together: name the Secret with the key secret (shared with the TURN "
        "servers), or with the keys username and password; or remove both",
        "networking.media.turnSecretName",
    ),
    Rule(
        _SPEC,
        f"{_MEDIA}.mode != 'Relay' || (size({_PORTS}) == 0 && size({_MEDIA}.advertisedAddresses) == 0)",
        "mode Relay opens no port on the pod: remove portRange and advertisedAddresses, or use another mode",
        "networking.media.mode",
    ),
)
