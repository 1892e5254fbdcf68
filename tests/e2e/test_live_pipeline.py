"""The main job on the real control plane with real WebRTC: scaling, missing metrics, and a browser as a witness.

One cluster for the module: bringing it up costs more than any of these tests.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from coturn import SHARED_SECRET, Coturn, running_coturn
from devcluster.binaries import Quiet
from devcluster.cluster import LocalCluster
from devcluster.demo.load import LoadProcess
from devcluster.demo.observation import LoadStatus, Observation, observe
from devcluster.demo.options import ROOT
from devcluster.load.chromium import ChromiumError, ChromiumReport, ChromiumSettings, check_chromium, find_chromium

EXAMPLE = list(yaml.safe_load_all((ROOT / "examples" / "00-demo.yaml").read_text()))
STAGES = EXAMPLE[-1]["spec"]["pipeline"]["stages"]
NAMESPACE, NAME = "media", "demo"
DOWN_SECONDS = EXAMPLE[-1]["spec"]["autoscaling"]["latency"]["scaleDown"]["forSeconds"]
LATENCY = {"LatencyHigh", "LatencyVeryHigh"}
FAST = {"MEDIAPIPELINE_OPERATOR_TICK_SECONDS": "2", "MEDIAPIPELINE_OPERATOR_MEASUREMENTS_EVERY_SECONDS": "2"}


@pytest.fixture(scope="module")
def cluster(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("live"), binaries, Quiet(), scrape_seconds=2) as running:
        running.install_operator(ROOT / "install.yaml", FAST)
        running.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(EXAMPLE))
        running.wait(lambda: _true(look(running), "Ready"), 240, "the pipeline to be Ready")
        yield running


def look(cluster: LocalCluster, load: LoadStatus | None = None) -> Observation:
    return observe(0, cluster.pipeline(NAMESPACE, NAME), load or LoadStatus())


def _true(seen: Observation, condition: str) -> bool:
    return bool(seen.conditions.get(condition, {}).get("status") == "True")


def until(
    cluster: LocalCluster, load: LoadProcess, holds: Callable[[Observation], bool], seconds: float
) -> Observation:
    """The first look at which `holds`; fails with the last one."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look(cluster, load.status())
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {seen}")
        time.sleep(0.5)


@pytest.mark.timeout(1200)
def test_it_scales_up_holds_on_missing_metrics_and_drains_down_after_they_are_back(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with LoadProcess(cluster.service_url(NAMESPACE, NAME), tmp_path, STAGES) as load:
        load.want(16)
        up = until(cluster, load, lambda seen: seen.desired >= 3 and seen.ready >= 3, 240)
        # What was measured then may be over by the time of this look.
        assert {step["reason"] for step in up.history if step["action"] == "Up"} & LATENCY, "it scaled on latency"

        cluster.prometheus.stop(kill=True)
        until(cluster, load, lambda seen: seen.data_state == "Missing", 90)
        held = look(cluster).desired
        load.want(2)  # a rule that takes missing for zero would scale down now
        lowest = _lowest_replicas(cluster, seconds=DOWN_SECONDS + 15)
        assert lowest >= held, "nothing is scaled down on missing data"
        blind = until(cluster, load, lambda seen: not _true(seen, "MetricsAvailable"), 120)
        assert "Prometheus" in blind.conditions["MetricsAvailable"]["message"]

        before = datetime.now(UTC)
        cluster.prometheus.start()
        until(cluster, load, lambda seen: _true(seen, "MetricsAvailable") and seen.data_state == "Fresh", 120)
        until(cluster, load, lambda seen: seen.draining > 0, 240)
        first = _last_scale_down(cluster) - timedelta(seconds=DOWN_SECONDS)
        assert first >= before, "after the recovery a full healthy window is needed first"
        down = until(cluster, load, lambda seen: seen.desired < held and seen.replicas < held, 180)
        assert down.load.ended_by_server == 0, "no session was killed"
        assert down.load.effect_missing == 0


def _last_scale_down(cluster: LocalCluster) -> datetime:
    """By the operator's own clock, so that it does not matter when somebody looks."""
    timers = cluster.pipeline(NAMESPACE, NAME)["status"]["autoscaling"]["timers"]
    return datetime.fromisoformat(timers["lastScaleDownTime"])


def _lowest_replicas(cluster: LocalCluster, seconds: float) -> int:
    lowest, deadline = look(cluster).desired, time.monotonic() + seconds
    while time.monotonic() < deadline:
        deployment = cluster.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")
        lowest = min(lowest, deployment["spec"]["replicas"], look(cluster).desired)
        time.sleep(1)
    return lowest


def _browser_sees(cluster: LocalCluster, stages: tuple[dict[str, Any], ...], name: str = NAME) -> ChromiumReport:
    try:
        browser = find_chromium()
    except ChromiumError as error:
        pytest.skip(str(error))
    url = cluster.service_url(NAMESPACE, name)
    settings = ChromiumSettings(url, stages, seconds=60, enough_pictures=60, binary=browser)
    return asyncio.run(check_chromium(settings))


@pytest.mark.ui
def test_chromium_sees_number_and_effect_through_the_service(cluster: LocalCluster) -> None:
    report = _browser_sees(cluster, tuple(STAGES))
    assert report.numbers_increasing, report
    assert report.effect == "seen", report.reason


@pytest.mark.ui
def test_chromium_does_not_see_an_effect_that_the_pipeline_does_not_have(cluster: LocalCluster) -> None:
    other = ({"effect": "Translate", "parameters": {"x": 24, "y": 0}},)
    report = _browser_sees(cluster, other)
    assert report.numbers_increasing, report
    assert report.effect == "not seen", report.reason


@pytest.fixture
def coturn(cluster: LocalCluster, tmp_path: Path) -> Iterator[Coturn]:
    """The TURN server of the relay example, which is ready with one pod."""
    namespace, secret, pipeline = yaml.safe_load_all((ROOT / "examples" / "relay" / "studio-relay.yaml").read_text())
    of = f"--namespace={NAMESPACE}"
    with running_coturn(tmp_path) as server:
        secret["stringData"]["secret"] = SHARED_SECRET
        pipeline["spec"]["networking"]["media"]["turnURIs"] = [server.uri]
        pipeline["spec"] |= {"replicas": 1, "autoscaling": {"engine": "None"}}
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all((namespace, secret, pipeline)))
        ready = ("wait", "--for=condition=Ready", "mediapipeline/studio-relay", "--timeout=240s", of)
        cluster.kubectl(*ready, timeout_seconds=300)
        yield server
        cluster.kubectl("delete", "mediapipeline", "studio-relay", of)


@pytest.mark.ui
def test_chromium_is_served_through_a_turn_server_by_a_pod_that_has_no_other_address(
    cluster: LocalCluster, coturn: Coturn
) -> None:
    stages = ({"effect": "GaussianBlur", "parameters": {"radius": 7}},)
    report = _browser_sees(cluster, stages, "studio-relay")
    assert report.numbers_increasing, report
    assert report.effect == "seen", report.reason
    coturn.stop()
    with pytest.raises(ChromiumError, match="no address for media: TURN server"):
        _browser_sees(cluster, stages, "studio-relay")


def test_the_operator_runs_as_two_pods_with_its_own_rights(cluster: LocalCluster) -> None:
    system = ("-n", "mediapipeline-system")
    cluster.kubectl(*system, "wait", "--for=condition=Ready", "pods", "--all", "--timeout=180s", timeout_seconds=240)
    pods = cluster.kubectl(*system, "get", "pods", "--no-headers").splitlines()
    assert [line.split()[1:3] for line in pods] == [["1/1", "Running"], ["1/1", "Running"]]


def test_kubectl_get_prints_the_columns(cluster: LocalCluster) -> None:
    cluster.wait(lambda: _true(look(cluster), "Ready"), 120, "the pipeline to be Ready after what other tests did")
    head, row = cluster.kubectl("-n", NAMESPACE, "get", "mediapipelines").splitlines()
    assert head.split() == ["NAME", "READY", "REPLICAS", "DESIRED", "SESSIONS", "P95", "SCALING", "AGE"]
    assert row.split()[:2] == [NAME, "True"]
