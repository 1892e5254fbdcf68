"""Prometheus fails in every way while the truth is that nobody is there: no replica may be removed for it."""

import time
from collections.abc import Sequence

from faults.fake_prometheus import FakePrometheus
from faults.life import new_name
from faults.oracles import clean_log, replicas_within
from faults.rig import OracleError, Rig, World, eventually

LEAST, MOST, BUSY = 2, 6, 5
SESSIONS = 24  # at 70 % of 8 a replica: five replicas
TICKS_SECONDS = 5.0
AUTOSCALING = {
    "minReplicas": LEAST,
    "maxReplicas": MOST,
    "latency": {"scaleDown": {"forSeconds": 2}},
}


def prometheus_fails(rig: Rig, modes: Sequence[str]) -> None:
    """Each way in turn, from five busy replicas; then Prometheus works again, and a replica is drained."""
    name = new_name()
    with rig.plane.client() as api, FakePrometheus(World(api, rig.namespace)) as prometheus:
        rig.start(f"--prometheus-url={prometheus.url}")
        prometheus.sessions = SESSIONS
        rig.world.pipeline(name, autoscaling=AUTOSCALING, monitoring={"intervalSeconds": 1})
        for mode in modes:
            prometheus.mode, prometheus.sessions = "well", SESSIONS
            eventually(lambda: rig.world.replicas(name) == BUSY, "five replicas for 24 sessions", 60)
            eventually(lambda: _fresh(rig, name), "fresh measurements")
            _holds(rig, name, prometheus, mode)
        prometheus.mode, prometheus.sessions = "well", 0
        eventually(lambda: _draining(rig), "a drain once the measurements are back", 60)
        replicas_within(rig, name, LEAST, MOST)
        clean_log(rig.operator)


def _holds(rig: Rig, name: str, prometheus: FakePrometheus, mode: str) -> None:
    prometheus.mode = mode
    prometheus.sessions = SESSIONS if mode == "reset" else 0  # a reset hides frames, not sessions
    deadline = time.monotonic() + TICKS_SECONDS
    while time.monotonic() < deadline:
        if rig.world.replicas(name) < BUSY or _draining(rig):
            raise OracleError("O8", f"a replica was taken away while Prometheus was {mode}")
        time.sleep(0.2)


def _fresh(rig: Rig, name: str) -> bool:
    return (rig.world.status(name).get("autoscaling") or {}).get("dataState") == "Fresh"


def _draining(rig: Rig) -> bool:
    label = "media.rtcscale.dev/draining"
    return any(label in (pod["metadata"].get("labels") or {}) for pod in rig.world.items("Pod"))
