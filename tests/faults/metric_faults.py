"""Prometheus fails in every way while the truth is that nobody is there: no replica may be removed for it."""

import time
from collections.abc import Sequence

from faults.fake_prometheus import FakePrometheus
from faults.life import gone, new_name
from faults.oracles import settled
from faults.rig import OracleError, Rig, eventually
from faults.world import Json, World

LEAST, BUSY = 2, 5
MOST = BUSY  # new pods are silent at first, and count as full
SESSIONS = 24  # at 70 % of 8 a replica: five replicas
TICKS_SECONDS = 5.0
MEASURED: Json = {
    "autoscaling": {"minReplicas": LEAST, "maxReplicas": MOST, "latency": {"scaleDown": {"forSeconds": 2}}},
    "monitoring": {"intervalSeconds": 1},
}


def prometheus_fails(rig: Rig, modes: Sequence[str]) -> None:
    """Each way in turn, from five busy replicas; then Prometheus works again, and a replica is drained."""
    name = new_name()
    rig.bounds[name] = (LEAST, MOST)
    with rig.plane.client() as api, FakePrometheus(World(api, rig.namespace)) as prometheus:
        rig.start(f"--prometheus-url={prometheus.url}")
        prometheus.sessions = SESSIONS
        rig.world.pipeline(name, **MEASURED)
        for mode in modes:
            prometheus.works_with(SESSIONS)
            eventually(lambda: rig.world.replicas(name) == BUSY, "five replicas for 24 sessions")
            eventually(lambda: fresh(rig, name) and not draining(rig), "fresh measurements")
            _holds(rig, name, prometheus, mode)
        prometheus.works_with(0)
        eventually(lambda: draining(rig), "a drain once the measurements are back")
        settled(rig, seconds=0.0)  # measurements move: the status is written now and then
        gone(rig, name)


def _holds(rig: Rig, name: str, prometheus: FakePrometheus, mode: str) -> None:
    prometheus.fails(mode)
    deadline = time.monotonic() + TICKS_SECONDS
    while time.monotonic() < deadline:
        if rig.world.replicas(name) < BUSY or draining(rig):
            raise OracleError("O8", f"a replica was taken away while Prometheus was {mode}")
        time.sleep(0.3)


def fresh(rig: Rig, name: str) -> bool:
    """Whether the last decision was made on good measurements."""
    return (rig.world.status(name).get("autoscaling") or {}).get("dataState") == "Fresh"


def draining(rig: Rig) -> bool:
    """Whether a pod is marked."""
    label = "media.rtcscale.dev/draining"
    return any(label in (pod["metadata"].get("labels") or {}) for pod in rig.world.items("Pod"))
