"""The local cluster of bench/live.py: twin pipelines, the Prometheus Adapter, and what is seen of them each second."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from devcluster.autoscalers import PrometheusAdapter
from devcluster.binaries import CONTROL_PLANE, Lines, ensure
from devcluster.cluster import LocalCluster

ROOT = Path(__file__).parents[1]
RULES = ROOT / "charts/mediapipeline-operator/files/prometheus-adapter-rules.yaml"
NAMESPACE, OURS, HPA = "live", "ours", "hpa"
ENGINES = {OURS: "Operator", HPA: "HorizontalPodAutoscaler"}
FRAMES_PER_SECOND, SERVICE_MILLISECONDS, SESSIONS_PER_REPLICA = 5, 21, 10
SIZE = "256x192"
SCRAPE_SECONDS = 5
READY_SECONDS = 180
PIPELINE_LABEL, DRAINING_LABEL = "media.rtcscale.dev/pipeline", "media.rtcscale.dev/draining"
# Small enough that all replicas of both fit on a node of two processors: a replica that finds no node helps nobody.
REQUESTS = {"requests": {"cpu": "50m", "memory": "128Mi"}}
# A full replica uses 105 % of its device: what it admits is a little more than it carries, as operators' numbers are.
# Frames come every 200 ms, so they may be as old as that, and the thresholds are wider than for 25 frames a second.
SPEC: dict[str, Any] = {
    "pipeline": {
        "stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 5}}],
        "frameDeadlineMilliseconds": 200,
    },
    "sessions": {"maxPerReplica": SESSIONS_PER_REPLICA},
    "compute": {
        "device": "Simulated",
        "simulation": {"serviceTimeMilliseconds": SERVICE_MILLISECONDS},
        "resources": REQUESTS,
    },
    "autoscaling": {
        "minReplicas": 2,
        "maxReplicas": 8,
        "latency": {"scaleUp": {"aboveMilliseconds": 150}, "scaleDown": {"belowMilliseconds": 75}},
    },
    "monitoring": {"intervalSeconds": SCRAPE_SECONDS},
}


@dataclass(frozen=True)
class Look:
    """A pipeline at one second of the run. `serving`: the Deployment's number without draining replicas."""

    seconds: float
    pods: int
    ready: int
    serving: int
    draining: int


def spec_of(engine: str) -> dict[str, Any]:
    """The twins differ in nothing else."""
    return SPEC | {"autoscaling": {**SPEC["autoscaling"], "engine": engine}}


def bring_up(stack: ExitStack, folder: Path) -> LocalCluster:
    """Cluster, operator, adapter and both pipelines, ready and measured."""
    programs = ensure((*CONTROL_PLANE, "prometheus", "prometheus-adapter"), progress=Lines())
    cluster = LocalCluster(folder, programs, Lines(), scrape_seconds=SCRAPE_SECONDS)
    stack.enter_context(cluster)
    cluster.install_operator(ROOT / "install.yaml", {})
    adapter = PrometheusAdapter(
        folder,
        programs["prometheus-adapter"],
        kubeconfig=cluster.kubeconfig,
        prometheus_url=cluster.prometheus.url,
        rules=RULES.read_text(),
    )
    stack.enter_context(adapter)
    adapter.start(cluster.client, lambda text: cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text))
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_objects()))
    cluster.wait(lambda: all(_ready(cluster, name) for name in ENGINES), READY_SECONDS, "both pipelines to be Ready")
    cluster.wait(lambda: hpa_reads(cluster), READY_SECONDS, "the HorizontalPodAutoscaler to read the p95")
    return cluster


def _objects() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for name, engine in ENGINES.items():
        meta = {"name": name, "namespace": NAMESPACE}
        found.append(
            {
                "apiVersion": "media.rtcscale.dev/v1alpha1",
                "kind": "MediaPipeline",
                "metadata": meta,
                "spec": spec_of(engine),
            }
        )
    return found


def _ready(cluster: LocalCluster, name: str) -> bool:
    conditions = (cluster.pipeline(NAMESPACE, name).get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def hpa_reads(cluster: LocalCluster) -> bool:
    """Whether the real controller has a value; it gives its reason in the condition ScalingActive."""
    path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{HPA}"
    answer = cluster.client.get(path)
    conditions = (answer.json().get("status") or {}).get("conditions") or () if answer.is_success else ()
    return any(one["type"] == "ScalingActive" and one["status"] == "True" for one in conditions)


def look(cluster: LocalCluster, seconds: float) -> dict[str, Look]:
    """Both pipelines now."""
    pods = cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    deployments = cluster.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]
    replicas = {one["metadata"]["name"]: int(one["spec"]["replicas"]) for one in deployments}
    return {name: _look(seconds, _of(pods, name), replicas[name]) for name in ENGINES}


def _of(pods: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [pod for pod in pods if pod["metadata"]["labels"].get(PIPELINE_LABEL) == name]


def _look(seconds: float, pods: list[dict[str, Any]], replicas: int) -> Look:
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    marked = sum(DRAINING_LABEL in pod["metadata"]["labels"] for pod in live)
    serving = replicas - max(0, marked - max(0, len(live) - replicas))
    return Look(seconds, len(pods), sum(_is_ready(pod) for pod in pods), serving, marked)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def startups(cluster: LocalCluster) -> dict[str, float]:
    """Seconds from creation to Ready of the pods that are ready, by name."""
    pods = cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    return {pod["metadata"]["name"]: _startup(pod) for pod in pods if _is_ready(pod)}


def _startup(pod: Mapping[str, Any]) -> float:
    ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
    return _seconds(ready["lastTransitionTime"]) - _seconds(pod["metadata"]["creationTimestamp"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def missed_share(cluster: LocalCluster, name: str) -> float:
    """Of all frames that any pod of the pipeline ever received: those that did not come back processed in time."""
    chosen = f'namespace="{NAMESPACE}",pipeline="{name}"'
    received = _sum(cluster, f"mediapod_frames_received_total{{{chosen}}}")
    ok = _sum(cluster, f'mediapod_frames_total{{{chosen},result="ok"}}')
    return 1 - ok / received if received else 0.0


def _sum(cluster: LocalCluster, series: str) -> float:
    """Last values, also of pods that are gone."""
    found = cluster.prometheus.query(f"sum(last_over_time({series}[2h]))")
    return float(found[0]["value"][1]) if found else 0.0


def missed_over_time(cluster: LocalCluster, name: str, start: float, end: float) -> list[tuple[float, float]]:
    """(seconds of the run, share missed of the last 20 s) every ten seconds."""
    chosen = f'namespace="{NAMESPACE}",pipeline="{name}"'
    ok = f'sum(rate(mediapod_frames_total{{{chosen},result="ok"}}[20s]))'
    query = f"1 - {ok} / sum(rate(mediapod_frames_received_total{{{chosen}}}[20s]))"
    asked = {"query": query, "start": start, "end": end, "step": 10}
    answer = httpx.get(f"{cluster.prometheus.url}/api/v1/query_range", params=asked, timeout=20, trust_env=False)
    result = answer.raise_for_status().json()["data"]["result"]
    values = [(float(at) - start, float(value)) for at, value in (result[0]["values"] if result else ())]
    return [(at, max(0.0, value)) for at, value in values if value == value]  # without frames it is NaN
