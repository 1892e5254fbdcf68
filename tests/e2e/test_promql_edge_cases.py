"""Every expression on Prometheus' own engine (promtool), on recorded series with what goes wrong in practice.

Time is that of the recording: a sample every 5 s, evaluation after 60 s, rates over 20 s.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.core import expressions
from mediapipeline_operator.core.expressions import Scope
from mediapipeline_operator.core.scaling.queries import Measure, batch

SIGNALS = ("GPUUtilization", "CPUUtilization", "MemoryUtilization", "RequestsPerSecond")
STAGES = {"pipeline": {"stages": [{"name": "a", "effect": "GaussianBlur"}]}}


def specs() -> list[MediaPipelineSpec]:
    """Pipelines that together need every query."""
    scaling = [{"signals": [{"type": kind} for kind in SIGNALS]}, {"latency": {"source": "Request"}}]
    return [MediaPipelineSpec.model_validate({**STAGES, "autoscaling": one}) for one in scaling]


SCOPE = Scope('namespace="n",pipeline="p"', window="20s")
EXPRESSIONS = {query.measure.value: query.promql for query in batch(specs())} | {
    "p95": expressions.frame_p95(SCOPE),
    "request p95": expressions.request_p95(SCOPE),
    "requests of all": expressions.requests(SCOPE),
    "gpu of all": expressions.gpu_percent(SCOPE),
}

FLEET = {"namespace": "n", "pipeline": "p"}
POD = {**FLEET, "pod": "a"}
RECEIVED = "mediapod_frames_received_total"
BUCKET = "mediapod_frame_age_seconds_bucket"
STEADY = "0+100x12"  # 20 a second


def series(name: str, **more: str) -> str:
    inner = ",".join(f"{key}={json.dumps(value)}" for key, value in {**POD, **more}.items())
    return f"{name}{{{inner}}}"


@dataclass(frozen=True)
class Case:
    """Recorded series, an expression, and the samples that it must give: labels -> value."""

    expression: str
    recorded: Mapping[str, str]
    expected: list[tuple[dict[str, str], float]] = field(default_factory=list)


def frames(received: str = STEADY, within: str = "0+90x12", **more: str) -> dict[str, str]:
    return {series(RECEIVED, **more): received, series(BUCKET, le="0.1", **more): within}


def sessions(count: str, up: str = "1x12") -> dict[str, str]:
    return {
        series("mediapod_sessions"): count,
        series("mediapod_sessions_pending"): "0x12",
        series("up"): up,
    }


BUSY = {series("mediapod_device_busy_seconds_total", device="cuda"): "0+2.5x12"}
DCGM = "DCGM_FI_DEV_GPU_UTIL"
ONE = {series("mediapod_sessions"): "1x12"}

CASES = {
    "steady": Case("fleet_frames", frames(), [(FLEET, 20), ({**FLEET, "le": "0.1"}, 18)]),
    "steady, by pod": Case("pod_frames", frames(), [(POD, 20), ({**POD, "le": "0.1"}, 18)]),
    "no samples": Case("fleet_frames", {}),
    "a counter that stands": Case("fleet_frames", {series(RECEIVED): "100x12"}, [(FLEET, 0)]),
    "a missing bucket": Case("fleet_frames", {series(RECEIVED): STEADY}, [(FLEET, 20)]),
    "a counter reset": Case("fleet_frames", {series(RECEIVED): "0+100x10 0+100x5"}, [(FLEET, 200 / 15)]),
    "a lost scrape": Case("fleet_frames", {series(RECEIVED): "0+100x9 _ 1100+100x3"}, [(FLEET, 20)]),
    "one sample in the window": Case("fleet_frames", {series(RECEIVED): "_x11 100"}),
    "a target that went away": Case("gauges", {series("mediapod_sessions"): "3x10 stale"}),
    "whole seconds in both spellings": Case(
        "fleet_frames",
        {series(BUCKET, le="1"): STEADY, series(BUCKET, le="2.0"): STEADY},
        [({**FLEET, "le": "1"}, 20), ({**FLEET, "le": "2.0"}, 20)],
    ),
    "foreign series": Case("fleet_frames", {f'{RECEIVED}{{job="other"}}': STEADY}),
    "age": Case("age", ONE, [(POD, 0)]),
    "a late scrape": Case("age", {series("mediapod_sessions"): "3x10 _ _"}, [(POD, 10)]),
    "up": Case("up", {series("up"): "0x12"}, [(POD, 0)]),
    "one scrape configuration": Case("duplicates", frames()),
    "two scrape configurations": Case("duplicates", frames(job="one") | frames(job="two"), [(POD, 2)]),
    "growth of a minute": Case("growth", {series("mediapod_sessions"): "1x11 7"}, [(FLEET, 0.1)]),
    "growth needs a minute": Case("growth", {series("mediapod_sessions"): "_ 1x11"}),
    "refused offers": Case(
        "rejected",
        {
            series("mediapod_offers_total", result="rejected_capacity"): "0+5x12",
            series("mediapod_offers_total", result="placed"): STEADY,
        },
        [(POD, 1)],
    ),
    "busy": Case("busy", BUSY, [(POD, 0.5)]),
    "the CPU's threads are no share": Case(
        "busy", {series("mediapod_device_busy_seconds_total", device="cpu"): "0+20x12"}
    ),
    "requests": Case("requests", {series("app_request_latency_seconds_count"): STEADY}, [(POD, 20)]),
    "requests by bucket": Case(
        "fleet_requests",
        {
            series("app_request_latency_seconds_count"): STEADY,
            series("app_request_latency_seconds_bucket", le="0.1"): "0+50x12",
        },
        [(FLEET, 20), ({**FLEET, "le": "0.1"}, 10)],
    ),
    "requests by bucket and pod": Case(
        "pod_requests", {series("app_request_latency_seconds_bucket", le="0.1"): STEADY}, [({**POD, "le": "0.1"}, 20)]
    ),
    "cores": Case("cpu", {series("process_cpu_seconds_total"): "0+7.5x12"}, [(POD, 1.5)]),
    "bytes": Case("memory", {series("process_resident_memory_bytes"): "100x10 200 200 200"}, [(POD, 150)]),
    "a GPU's pod": Case("gpu", ONE | {f'{DCGM}{{namespace="n",pod="a"}}': "80x12"}, [(POD, 80)]),
    "a GPU's pod behind the exporter's own": Case(
        "gpu",
        ONE
        | {f'{DCGM}{{namespace="gpu",pod="dcgm",exported_namespace="n",exported_pod="a"}}': "80x12"}
        | {f'{DCGM}{{namespace="gpu",pod="dcgm"}}': "10x12"},
        [(POD, 80)],
    ),
    "the busiest of two GPUs": Case(
        "gpu",
        ONE
        | {f'{DCGM}{{namespace="n",pod="a",gpu="0"}}': "80x12"}
        | {f'{DCGM}{{namespace="n",pod="a",gpu="1"}}': "30x12"},
        [(POD, 80)],
    ),
    "a GPU of somebody else": Case("gpu", ONE | {f'{DCGM}{{namespace="n",pod="x"}}': "80x12"}),
    "p95 within a bucket": Case(
        "p95",
        {series(RECEIVED): STEADY, series(BUCKET, le="0.1"): "0+90x12", series(BUCKET, le="0.2"): STEADY},
        [(FLEET, 0.15)],
    ),
    "p95 of dropped frames": Case("p95", frames(), [(FLEET, 0.1)]),
    "p95 without a frame that came back": Case("p95", frames(within="0x12"), [(FLEET, 0.1)]),
    "p95 of muted cameras": Case("p95", frames("100x12", "90x12") | sessions("1x12")),
    "p95 of nobody": Case("p95", frames("100x12", "90x12") | sessions("0x12"), [(FLEET, 0)]),
    "p95 of nobody, targets down": Case("p95", frames("100x12", "90x12") | sessions("0x12", up="1x11 0")),
    "p95 with sessions that are no number": Case("p95", sessions(" ".join(["NaN"] * 13))),
    "p95 of nothing": Case("p95", {}),
    "p95 of requests": Case(
        "request p95",
        {series("app_request_latency_seconds_bucket", le="0.1"): STEADY}
        | {series("app_request_latency_seconds_bucket", le="+Inf"): STEADY},
        [(FLEET, 0.095)],
    ),
    "p95 before the first request": Case(
        "request p95",
        {
            series("app_request_latency_seconds_bucket", le="+Inf"): "0x12",
            series("app_request_latency_seconds_count"): "0x12",
            series("up"): "1x12",
        },
        [(FLEET, 0)],
    ),
    "requests of two pods": Case(
        "requests of all",
        {
            series("app_request_latency_seconds_count"): STEADY,
            series("app_request_latency_seconds_count", pod="b"): STEADY,
        },
        [(FLEET, 40)],
    ),
    "gpu by DCGM and busy share": Case(
        "gpu of all",
        ONE
        | BUSY
        | {f'{DCGM}{{namespace="n",pod="a"}}': "80x12"}
        # DCGM knows pod a alone
        | {series("mediapod_device_busy_seconds_total", pod="b", device="cuda"): "0+1x12"},
        [(FLEET, 50)],
    ),
}


def test_every_expression_has_a_case() -> None:
    assert EXPRESSIONS.keys() == {case.expression for case in CASES.values()}
    assert {measure.value for measure in Measure} <= EXPRESSIONS.keys()


def as_test(name: str, case: Case) -> dict[str, Any]:
    samples = [{"labels": _selector(labels), "value": value} for labels, value in case.expected]
    if case.expression == "gauges":
        samples = [{**sample, "labels": f"mediapod_sessions{sample['labels']}"} for sample in samples]
    return {
        "name": name,
        "interval": "5s",
        "input_series": [{"series": text, "values": values} for text, values in case.recorded.items()],
        "promql_expr_test": [{"expr": EXPRESSIONS[case.expression], "eval_time": "60s", "exp_samples": samples}],
    }


def _selector(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items()) + "}"


def promtool(binaries: Mapping[str, Path], *arguments: str) -> str:
    result = subprocess.run(
        (str(binaries["promtool"]), *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_recorded_edge_cases(binaries: Mapping[str, Path], tmp_path: Path) -> None:
    """All in one run of promtool; a failure shows the expression with both answers."""
    file = tmp_path / "cases.json"  # JSON is YAML
    file.write_text(json.dumps({"fuzzy_compare": True, "tests": [as_test(*item) for item in CASES.items()]}))
    promtool(binaries, "test", "rules", str(file))


def test_a_wrong_expectation_is_found(binaries: Mapping[str, Path], tmp_path: Path) -> None:
    """The tool is able to fail."""
    wrong = Case("fleet_frames", frames(), [(FLEET, 21)])
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"tests": [as_test("wrong", wrong)]}))
    with pytest.raises(AssertionError, match=r"got: .* 2E\+01"):
        promtool(binaries, "test", "rules", str(file))


def test_the_recording_rules_of_the_chart_are_valid(binaries: Mapping[str, Path]) -> None:
    rules = Path(__file__).parents[2] / "charts/mediapipeline-operator/files/recording-rules.yaml"
    assert "SUCCESS: 4 rules found" in promtool(binaries, "check", "rules", str(rules))
