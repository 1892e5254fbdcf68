"""PromQL that other autoscalers and recording rules share with ours: p95 with missed frames, GPU, requests.

Each takes the matchers of the series, the labels to group by, and the window of rates. A pipeline without any load
gives 0; one that cannot be measured gives nothing, never NaN: the Prometheus Adapter and KEDA may read NaN as 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mediapipeline_operator.api import labels

BY_POD = "by (namespace, pipeline, pod)"
GPU_SECONDS = 60  # that exporter is usually scraped twice a minute, whatever the interval of the pipelines
FRAME_P95 = "mediapod_frame_age_p95_seconds"
REQUEST_P95 = "app_latency_p95_seconds"
GPU_PERCENT = "mediapod_gpu_utilization_percent"
REQUESTS = "app_requests_per_second"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series, grouped how, over which window."""

    matchers: str
    by: str = "namespace, pipeline"
    window: str = "1m"


def frame_p95(scope: Scope) -> str:
    """p95 of received frames in seconds; one that did not come back processed is in the bucket +Inf."""
    received = f"sum by ({scope.by}) (rate(mediapod_frames_received_total{{{scope.matchers}}}[{scope.window}]))"
    within = f'mediapod_frame_age_seconds_bucket{{{scope.matchers},le!="+Inf"}}'
    buckets = f"sum by ({scope.by}, le) (rate({within}[{scope.window}]))"
    all_buckets = f'{buckets} or label_replace({received}, "le", "+Inf", "le", "")'
    sessions = f"mediapod_sessions{{{scope.matchers}}} + mediapod_sessions_pending{{{scope.matchers}}}"
    return _or_idle(f"histogram_quantile(0.95, {all_buckets})", f"sum by ({scope.by}) ({sessions})", scope)


def request_p95(scope: Scope) -> str:
    """p95 of HTTP requests in seconds."""
    within = f"rate(app_request_latency_seconds_bucket{{{scope.matchers}}}[{scope.window}])"
    return _or_idle(f"histogram_quantile(0.95, sum by ({scope.by}, le) ({within}))", requests(scope), scope)


def requests(scope: Scope) -> str:
    """HTTP requests a second, by the histogram's counter: the one by endpoint is not there before the first request."""
    counted = f"rate(app_request_latency_seconds_count{{{scope.matchers}}}[{scope.window}])"
    return f"sum by ({scope.by}) ({counted})"


def gpu_percent(scope: Scope) -> str:
    """Mean over the pods: utilization by DCGM, for pods it does not know the busy share of their device."""
    busy = f'rate(mediapod_device_busy_seconds_total{{{scope.matchers},device!="cpu"}}[{scope.window}])'
    return f"avg by ({scope.by}) (({dcgm_by_pod(scope.matchers)}) or max {BY_POD} (100 * {busy}))"


def dcgm_by_pod(matchers: str) -> str:
    """DCGM's exporter names the pod that uses a GPU in `pod`, or in `exported_pod` where its scrape configuration does
    not honor labels. It knows no pipelines: the pod's own session gauge lends that label.
    """
    renamed = _label("pod", _label("namespace", _dcgm('exported_pod!=""')))
    honored = _dcgm('exported_pod="",pod!=""')
    ones = f"max {BY_POD} (mediapod_sessions{{{matchers}}} * 0 + 1)"
    return f"{ones} * on (namespace, pod) group_left () max by (namespace, pod) ({honored} or {renamed})"


def _label(name: str, expression: str) -> str:
    return f'label_replace({expression}, "{name}", "$1", "exported_{name}", "(.+)")'


def _dcgm(matchers: str) -> str:
    return f"avg_over_time(DCGM_FI_DEV_GPU_UTIL{{{matchers}}}[{GPU_SECONDS}s])"


def _or_idle(value: str, load: str, scope: Scope) -> str:
    """`value` where it is a number (a comparison drops NaN), 0 where there is no load and every target is up."""
    unscraped = f"min by ({scope.by}) (up{{{scope.matchers}}}) == 0"
    return f"({value} >= 0) or (0 * ({load} == 0) unless on ({scope.by}) ({unscraped}))"


def adapter_rules(window: str = "1m") -> dict[str, Any]:
    """Rules of the Prometheus Adapter: metrics of the object MediaPipeline. Its chart takes them as `rules.custom`."""
    scope = Scope("<<.LabelMatchers>>", "<<.GroupBy>>", window)
    named = {
        FRAME_P95: ("mediapod_frames_received_total", frame_p95(scope)),
        REQUEST_P95: ("app_request_latency_seconds_count", request_p95(scope)),
        GPU_PERCENT: ("mediapod_sessions", gpu_percent(scope)),
        REQUESTS: ("app_request_latency_seconds_count", requests(scope)),
    }
    return {"rules": [_adapter_rule(name, series, query) for name, (series, query) in named.items()]}


def _adapter_rule(name: str, series: str, query: str) -> dict[str, Any]:
    return {
        "seriesQuery": f'{series}{{namespace!="",pipeline!=""}}',
        "resources": {
            "overrides": {
                "namespace": {"resource": "namespace"},
                "pipeline": {"group": labels.GROUP, "resource": labels.KIND.lower()},
            }
        },
        "name": {"matches": ".*", "as": name},
        "metricsQuery": query,
    }


def recording_rules(window: str = "1m") -> dict[str, Any]:
    """The same values as series of their own, for dashboards and alerts; named level:metric as Prometheus advises."""
    scope = Scope('pipeline!=""', window=window)
    named = {
        FRAME_P95: frame_p95(scope),
        REQUEST_P95: request_p95(scope),
        GPU_PERCENT: gpu_percent(scope),
        REQUESTS: requests(scope),
    }
    rules = [{"record": f"pipeline:{name}", "expr": query} for name, query in named.items()]
    return {"groups": [{"name": "mediapipelines", "rules": rules}]}


def quoted(text: str) -> str:
    """A label's value as a PromQL string."""
    return json.dumps(text)
