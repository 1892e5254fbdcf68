"""What one would write with kopf in an afternoon: create, update and resume handlers, and a timer.

It makes the same children from the same manifests. A missing child is created, an update applies all of them, and the
timer asks Prometheus for the pipeline's p95 at every tick. Progress goes to the file of KOPF_BASELINE_PROGRESS.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import kopf
import requests
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import desired
from mediapipeline_operator.runtime.settings import load_settings

RESOURCE = (labels.GROUP, labels.VERSION, labels.PLURAL)
PROGRESS = Path(os.environ["KOPF_BASELINE_PROGRESS"])
TICK_SECONDS = float(os.environ["KOPF_BASELINE_TICK_SECONDS"])
PROMETHEUS = os.environ["KOPF_BASELINE_PROMETHEUS"]
SETTINGS = load_settings([]).build()
P95 = "histogram_quantile(0.95, sum by (le) (rate(mediapod_frame_age_seconds_bucket{{{}}}[20s])))"
WORKERS = 32  # threads of synchronous handlers

_lock = threading.Lock()
_counts: Counter[str] = Counter()
_seen: set[str] = set()
_local = threading.local()


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.execution.max_workers = WORKERS


@kopf.on.resume(*RESOURCE)
@kopf.on.create(*RESOURCE)
def ensure(body: kopf.Body, **_: Any) -> None:
    for manifest in _wanted(body):
        try:
            _api(manifest).get(name=manifest["metadata"]["name"], namespace=manifest["metadata"]["namespace"])
        except NotFoundError:
            _apply(manifest)
    _count("ensured", body)


@kopf.on.update(*RESOURCE, field="spec")
def update(body: kopf.Body, **_: Any) -> None:
    for manifest in _wanted(body):
        _apply(manifest)
    _count("updated", body)


@kopf.timer(*RESOURCE, interval=TICK_SECONDS)
def scale(body: kopf.Body, **_: Any) -> None:
    if body["spec"].get("paused"):
        return
    ours = f'namespace="{body["metadata"]["namespace"]}",pipeline="{body["metadata"]["name"]}"'
    requests.get(f"{PROMETHEUS}/api/v1/query", params={"query": P95.format(ours)}, timeout=10).raise_for_status()
    _count("ticked", body)


def _wanted(body: kopf.Body) -> tuple[dict[str, Any], ...]:
    if body["spec"].get("paused"):
        return ()
    return tuple(desired(MediaPipeline.from_object(dict(body)), SETTINGS))


def _count(what: str, body: kopf.Body) -> None:
    with _lock:
        _counts[what] += 1
        _seen.add(body["metadata"]["name"])
        text = json.dumps({**_counts, "seen": len(_seen)})
        new = PROGRESS.with_suffix(".new")
        new.write_text(text)
        new.replace(PROGRESS)


def _apply(manifest: dict[str, Any]) -> None:
    _api(manifest).server_side_apply(body=manifest, field_manager=labels.MANAGER, force_conflicts=True)


def _api(manifest: dict[str, Any]) -> Any:
    if not hasattr(_local, "client"):
        config.load_kube_config()
        _local.client = DynamicClient(client.ApiClient())
    return _local.client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
