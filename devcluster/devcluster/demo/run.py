"""The demo from nothing to its verdict."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live

from devcluster.binaries import CONTROL_PLANE, Lines, ensure
from devcluster.cluster import OPERATOR_NAMESPACE, ClusterError, LocalCluster
from devcluster.demo.frames import frame_facts
from devcluster.demo.load import LoadProcess
from devcluster.demo.observation import LoadStatus, Observation, observe
from devcluster.demo.options import Control, DemoOptions, device_note, prepared
from devcluster.demo.report import report
from devcluster.demo.steps import Steps
from devcluster.demo.story import Phase, Story, StoryPlan, advance, begin
from devcluster.demo.table import line, render, worth_a_row
from devcluster.demo.verdict import Check, FrameFacts, checks

TICK_SECONDS = 2  # of the operator; by default it decides every 10 s and shows new measurements every minute
SHORTENED = ("TICK_SECONDS", "MEASUREMENTS_EVERY_SECONDS")
READY_SECONDS = 90
QUIET_SECONDS = 12


@dataclass(slots=True)
class Demo:
    """One run. `looks` grows by one a second and ends with the story."""

    options: DemoOptions
    console: Console
    plan: StoryPlan = field(default_factory=StoryPlan)
    looks: list[tuple[Story, Observation]] = field(default_factory=list)
    rows: list[tuple[Story, Observation]] = field(default_factory=list)
    frames: FrameFacts | None = None
    kubernetes_version: str = ""
    cluster: LocalCluster | None = None

    def run(self, stack: ExitStack) -> list[Check]:
        """Plays the whole demo; what it started is on `stack`. Raises ClusterError when a part does not work."""
        steps = Steps(self.console)
        cluster = self.cluster = self._bring_up(stack, steps)
        pipeline = self._apply(cluster, steps)
        self._play(cluster, pipeline, steps)
        results = self.verdict()
        self._write_report(steps, results)
        return results

    def verdict(self) -> list[Check]:
        if not self.looks or self.frames is None:
            return [Check("the demo ran", passed=False, detail="it ended before the load")]
        return checks(self.looks[-1][0], [seen for _, seen in self.looks], self.frames)

    def addresses(self) -> str:
        """What a person needs to look around in a kept demo."""
        if self.cluster is None:
            return "nothing is running"
        pods = self.cluster.get("/api/v1/pods?labelSelector=media.rtcscale.dev/pipeline")["items"]
        urls = [
            f"  {pod['metadata']['name']}: http://{pod['status'].get('podIP', 'no address yet')}:8080" for pod in pods
        ]
        folders = f"{self.cluster.kubectl_program.parent}:{Path(sys.executable).parent}"  # kubectl and its plugin
        head = (f"export KUBECONFIG={self.cluster.kubeconfig}", f"export PATH={folders}:$PATH")
        return "\n".join([*head, f"Prometheus: {self.cluster.prometheus.url}", "pods:", *urls])

    def _bring_up(self, stack: ExitStack, steps: Steps) -> LocalCluster:
        with steps.step("programs: etcd, Kubernetes, kubectl, Prometheus"):
            binaries = ensure([*CONTROL_PLANE, "kubectl", "prometheus"], progress=Lines())
        folder = self.options.data_dir or Path(tempfile.mkdtemp(prefix="mediapipeline-demo-"))
        cluster = LocalCluster(folder, binaries, Lines(), scrape_seconds=scrape_seconds(self.options))
        with steps.step("local cluster: control plane, node, Prometheus"):
            stack.enter_context(cluster)
        self.kubernetes_version = cluster.get("/version")["gitVersion"]
        steps.note(f"Kubernetes {self.kubernetes_version}, Prometheus {cluster.prometheus.url}, logs in {folder}")
        with steps.step("operator: install.yaml applied, one of two replicas leads"):
            settings = {f"MEDIAPIPELINE_OPERATOR_{name}": str(TICK_SECONDS) for name in SHORTENED}
            cluster.install_operator(self.options.manifest, settings)
        return cluster

    def _apply(self, cluster: LocalCluster, steps: Steps) -> dict[str, Any]:
        documents = list(yaml.safe_load_all(self.options.example.read_text()))
        applied = [prepared(one, self.options) if one["kind"] == "MediaPipeline" else one for one in documents]
        pipeline = next(one for one in applied if one["kind"] == "MediaPipeline")
        with steps.step(f"{self.options.example.name} applied, pods ready"):
            cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(applied))
            cluster.wait(lambda: _ready(cluster, pipeline), READY_SECONDS, "the pipeline to be Ready")
        return pipeline

    def _play(self, cluster: LocalCluster, pipeline: Mapping[str, Any], steps: Steps) -> None:
        stages = yaml.safe_load(self.options.example.read_text().split("\n---")[-1])["spec"]["pipeline"]["stages"]
        meta = pipeline["metadata"]
        url = cluster.service_url(meta["namespace"], meta["name"])
        with LoadProcess(url, cluster.data_dir, stages) as load:
            began = time.time()
            with (
                Live(console=self.console, refresh_per_second=2) if self.console.is_terminal else nullcontext() as live
            ):
                story = self._watch(cluster, pipeline, load, live)
            if story.overload:
                load.mark_overload(began + story.overload[0], began + story.overload[1] + 2)
            load.want(0)
            with steps.step("sessions closed, counters settled"):
                time.sleep(QUIET_SECONDS)
        totals = load.report()["totals"]
        self.frames = frame_facts(meta["name"], lambda promql: _number(cluster, promql), totals)

    def _watch(self, cluster: LocalCluster, pipeline: Mapping[str, Any], load: LoadProcess, live: Live | None) -> Story:
        story, began, broken = begin(self.plan), time.monotonic(), False
        wanted = -1
        while not story.over:
            if story.sessions != wanted:
                wanted = story.sessions
                load.want(wanted)
            if story.phase is Phase.OVERLOAD and not broken:
                broken = True
                break_it(cluster, self.options.control)
            seen = _seen(cluster, pipeline, time.monotonic() - began, load.status())
            story = self._look(story, seen, live)
            time.sleep(1)
        return story

    def _look(self, story: Story, seen: Observation, live: Live | None) -> Story:
        story = advance(self.plan, story, seen)
        self.looks.append((story, seen))
        if worth_a_row(self.rows[-1][1] if self.rows else None, seen):
            self.rows.append((story, seen))
            if live is None:
                self.console.print(line(story, seen), soft_wrap=True)
        if live is not None:
            live.update(render(self.rows, device_note(self.options), seen))
        return story

    def _write_report(self, steps: Steps, results: list[Check]) -> None:
        content = report(self.options, self.kubernetes_version, steps.seconds, self.looks, self.frames, results)
        self.options.report.parent.mkdir(parents=True, exist_ok=True)
        self.options.report.write_text(json.dumps(content, indent=1))


def break_it(cluster: LocalCluster, control: Control) -> None:
    """What a control stops when the overload begins; the others are in the applied resource."""
    if control is Control.PROMETHEUS_STOPPED:
        cluster.prometheus.stop()
    if control is Control.OPERATOR_STOPPED:
        cluster.kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/mediapipeline-operator", "--replicas=0")


def scrape_seconds(options: DemoOptions) -> int:
    """The scrape interval that the example asks for."""
    documents = yaml.safe_load_all(options.example.read_text())
    pipeline = next(one for one in documents if one["kind"] == "MediaPipeline")
    return int(pipeline["spec"].get("monitoring", {}).get("intervalSeconds", 5))


def _seen(cluster: LocalCluster, pipeline: Mapping[str, Any], seconds: float, load: LoadStatus) -> Observation:
    meta = pipeline["metadata"]
    return observe(seconds, cluster.pipeline(meta["namespace"], meta["name"]), load)


def _ready(cluster: LocalCluster, pipeline: Mapping[str, Any]) -> bool:
    conditions = _seen(cluster, pipeline, 0, LoadStatus()).conditions
    return bool(conditions.get("Ready", {}).get("status") == "True")


def _number(cluster: LocalCluster, promql: str) -> float:
    if not cluster.prometheus.alive():  # a control stopped it: nothing is accounted for then
        return 0.0
    found = cluster.prometheus.query(promql)
    return float(found[0]["value"][1]) if found else 0.0


def explain_failure(error: Exception, folder: Path | None) -> str:
    """One sentence for a part that did not work."""
    where = f" Logs: {folder}" if folder and not isinstance(error, ClusterError) else ""
    return f"{type(error).__name__}: {error}.{where}"
