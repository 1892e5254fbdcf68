"""`make bench-operator`: the operator with thousands of MediaPipelines, beside a plain kopf operator.

A real kube-apiserver with etcd runs alone: no node, no controllers. See scale_cluster for what is written before. Sizes
grow in one cluster; at each the operator is measured first, then the baseline.

    python bench/operator_scale.py [--sizes 500,2000,5000] [--seconds 20] [--no-peer]
    python bench/operator_scale.py --sizes 100 --seconds 5 --tick-seconds 2      # about two minutes
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from kubernetes.config import kube_config
from rich.console import Console
from rich.table import Table
from scale_cluster import PODS_EACH, ScaleCluster, pipeline
from scale_prometheus import FakePrometheus
from scale_subjects import BATCHES, TICKS, Baseline, Ours, Place, Subject, until

from devcluster.binaries import CONTROL_PLANE, crd_manifests, ensure
from devcluster.controlplane import ControlPlane
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.runtime.settings import load_settings
from mediapipeline_operator.shell.cluster.credentials import load_credentials
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.transport import Transport

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bench" / "operator.json"
NAMESPACE = "bench"
STAMP = "bench.example.org/stamp"
WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")
KINDS = (
    "mediapipelines", "deployments", "services", "serviceaccounts", "poddisruptionbudgets", "networkpolicies",
    "ingresses", "servicemonitors", "pods", "events",
)  # fmt: skip
CHANGES_PER_SECOND = 50
LONGEST_SECONDS = 900.0
TARGETS = {  # of issue and design, at 5,000 pipelines
    "restart": 20.0, "writes": 0.0, "memory": 600.0, "applied": 1.0, "idle": 2.0, "tick": 3.0, "failover": 20.0,
    "graceful": 2.0,
}  # fmt: skip

Values = dict[str, float | None]


class Rig:
    """The cluster, the fake Prometheus and the objects, and how to ask the API server what was written."""

    def __init__(
        self,
        cluster: ScaleCluster,
        transport: Transport,
        prometheus: FakePrometheus,
        folder: Path,
        tick_seconds: float,
    ) -> None:
        self.cluster = cluster
        self.transport = transport
        self.prometheus = prometheus
        self.folder = folder
        self.tick_seconds = tick_seconds
        self.kubeconfig = Path(os.environ["KUBECONFIG"])
        self._started = 0

    def start(self, kind: type[Ours] | type[Baseline]) -> Any:
        """Starts one more process."""
        self._started += 1
        place = Place(self.folder, self._started, self.kubeconfig, NAMESPACE, self.prometheus.url, self.tick_seconds)
        return kind(place)

    async def writes(self) -> int:
        """Mutating requests about pipelines, children, pods and events that the API server has answered so far."""
        session = self.transport._open()  # noqa: SLF001  its metrics are text, the transport speaks JSON
        headers = self.transport._headers({})  # noqa: SLF001
        async with session.get(self.transport._url("/metrics"), headers=headers) as answer:  # noqa: SLF001
            lines = (await answer.text()).splitlines()
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if _is_write(line))

    async def settled(self, subject: Subject, seconds: float) -> None:
        """Waits until nothing was written for a while."""
        last = -1

        async def quiet() -> bool:
            nonlocal last
            subject.process.check()
            before, last = last, await self.writes()
            return before == last

        await until(quiet, "an end of all writes", seconds, poll_seconds=1.3 * self.tick_seconds)


def _is_write(line: str) -> bool:
    return (
        line.startswith("apiserver_request_total{")
        and any(f'verb="{verb}"' in line for verb in WRITES)
        and any(f'resource="{kind}"' in line for kind in KINDS)
    )


async def measured(rig: Rig, kind: type[Ours] | type[Baseline], seconds: float) -> tuple[Values, str]:
    """Everything of one operator at the size that the cluster now has, and why something is missing, if it is."""
    values: Values = {}
    try:
        await _measure(rig, kind, seconds, values)
    except (TimeoutError, RuntimeError, ClusterError) as error:
        return values, f"{kind.__name__.lower()}: {str(error)[:300]}"
    return values, ""


async def _measure(rig: Rig, kind: type[Ours] | type[Baseline], seconds: float, values: Values) -> None:
    size = rig.cluster.size
    first = rig.start(kind)
    try:
        await _all_handled(first, size)
        await rig.settled(first, LONGEST_SECONDS)
    finally:
        first.process.stop()
    before = await rig.writes()
    subject = rig.start(kind)
    try:
        values |= await _restart(rig, subject, before)
        values |= await _tick(rig, subject, size)
        values |= await _changes(rig, subject, seconds)
        values |= await _failover(rig, subject, size) if isinstance(subject, Ours) else {}
    finally:
        subject.process.stop()
    values |= await _idle(rig, kind, size, seconds)


async def _all_handled(subject: Subject, size: int) -> float:
    async def done() -> bool:
        return await subject.handled() >= size

    return await until(done, f"a pass of each of {size} pipelines", LONGEST_SECONDS)


async def _restart(rig: Rig, subject: Subject, writes_before: int) -> Values:
    seconds = await _all_handled(subject, rig.cluster.size)
    await asyncio.sleep(2.5 * rig.tick_seconds)
    writes = await rig.writes() - writes_before
    return {"restart": seconds, "writes": float(writes), "memory": subject.process.memory_megabytes()}


async def _tick(rig: Rig, subject: Subject, size: int) -> Values:
    """Means over about four ticks."""
    if not isinstance(subject, Ours):
        asked = len(rig.prometheus.asked)
        await asyncio.sleep(2 * rig.tick_seconds)
        return {"queries": (len(rig.prometheus.asked) - asked) / 2}
    before = [await subject.metric(name, part) for name in (TICKS, BATCHES) for part in ("_sum", "_count")]
    asked = len(rig.prometheus.asked)
    await asyncio.sleep(4 * rig.tick_seconds)
    after = [await subject.metric(name, part) for name in (TICKS, BATCHES) for part in ("_sum", "_count")]
    ticks, tick_count, batches, batch_count = (late - early for late, early in zip(after, before, strict=True))
    return {
        "tick": ticks / tick_count if tick_count else None,
        "batch": batches / batch_count if batch_count else None,
        "queries": (len(rig.prometheus.asked) - asked) / batch_count if batch_count else None,
    }


async def _changes(rig: Rig, subject: Subject, seconds: float) -> Values:
    """Changes at a steady rate; from the API server's answer until the child shows the change in a watch."""
    loop = asyncio.get_running_loop()
    stamps: dict[str, float] = {}
    taken: list[float] = []

    async def watch() -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}/services"
        async for event in rig.transport.lines(path, {"watch": "true"}, silence_seconds=LONGEST_SECONDS):
            stamp = (event["object"]["metadata"].get("annotations") or {}).get(STAMP, "")
            if stamp in stamps:
                taken.append(max(0.0, loop.time() - stamps.pop(stamp)))

    async def change(stamp: str, number: int) -> None:
        stamps[stamp] = loop.time() + LONGEST_SECONDS  # until the answer is there
        with suppress(ClusterError):  # a change that is refused is one that was not applied
            await rig.cluster.change(number, {"networking": {"service": {"annotations": {STAMP: stamp}}}})
        if stamp in stamps:
            stamps[stamp] = loop.time()

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1.0)
    count = int(CHANGES_PER_SECOND * seconds)
    order = random.Random(1).sample(range(rig.cluster.size), k=rig.cluster.size)
    numbers = [order[index % len(order)] for index in range(count)]  # a pipeline's changes are far apart
    try:
        await _at_a_rate(change, [f"{id(taken):x}-{index}" for index in range(count)], numbers)
        with suppress(TimeoutError):
            await until(_true_when(lambda: len(taken) >= count), "all changes", 30.0, 0.2)
    finally:
        watching.cancel()
    subject.process.check()
    taken.sort()
    enough = len(taken) >= 0.9 * count  # a slow operator may carry two changes of one pipeline out as one
    return {
        "applied": taken[int(0.99 * (len(taken) - 1))] if enough else None,
        "applied_median": statistics.median(taken) if taken else None,
    }


async def _at_a_rate(work: Callable[[str, int], Awaitable[None]], stamps: list[str], numbers: list[int]) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        for index, (stamp, number) in enumerate(zip(stamps, numbers, strict=True)):
            await asyncio.sleep(max(0.0, started + index / CHANGES_PER_SECOND - loop.time()))
            group.create_task(work(stamp, number))


def _true_when(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return condition()

    return check


async def _failover(rig: Rig, leader: Ours, size: int) -> Values:
    """From the end of the leader until the next one has decided about every pipeline, killed and asked to stop."""
    seconds = {}
    for name in ("failover", "graceful"):
        successor = rig.start(Ours)
        try:
            await asyncio.sleep(10.0 + size / 250)  # its caches fill
            started = asyncio.get_running_loop().time()
            leader.process.kill() if name == "failover" else leader.process.stop()
            asked = len(rig.prometheus.asked)
            await until(_true_when(lambda seen=asked: len(rig.prometheus.asked) > seen), "the first tick", 120.0, 0.02)
            seconds[name] = asyncio.get_running_loop().time() - started
            await _all_handled(successor, size)
        except BaseException:
            successor.process.stop()
            raise
        leader.process.stop()
        leader = successor
    leader.process.stop()
    return dict(seconds)


async def _idle(rig: Rig, kind: type[Ours] | type[Baseline], size: int, seconds: float) -> Values:
    """CPU of one core in percent while every pipeline is paused."""
    await rig.cluster.change_all({"paused": True})
    subject = rig.start(kind)
    try:
        await _all_handled(subject, size)
        await rig.settled(subject, LONGEST_SECONDS)
        before = subject.process.cpu_seconds()
        await asyncio.sleep(2 * seconds)
        return {"idle": 100 * (subject.process.cpu_seconds() - before) / (2 * seconds)}
    finally:
        subject.process.stop()
        await rig.cluster.change_all({"paused": False})


@asynccontextmanager
async def rig_of(folder: Path, tick_seconds: float) -> AsyncIterator[Rig]:
    """A cluster without controllers, with our CRD and ServiceMonitors."""
    plane = ControlPlane(folder / "cluster", ensure(CONTROL_PLANE))
    await asyncio.to_thread(plane.start)
    try:
        for name in ("kube-scheduler", "kube-controller-manager"):
            await asyncio.to_thread(plane.stop_component, name)
        await asyncio.to_thread(_install, plane)
        os.environ["KUBECONFIG"] = kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(plane.kubeconfig)
        prometheus = FakePrometheus(NAMESPACE)
        await prometheus.start()
        transport = Transport(load_credentials(), request_timeout_seconds=60.0, user_agent="bench")
        async with transport:
            cluster = ScaleCluster(transport, load_settings([]).build(), NAMESPACE)
            yield Rig(cluster, transport, prometheus, folder, tick_seconds)
        await prometheus.close()
    finally:
        await asyncio.to_thread(plane.stop)


def _install(plane: ControlPlane) -> None:
    crds = [*(ROOT / "crds").glob("*.yaml"), crd_manifests("servicemonitors")]
    with plane.client() as api:
        api.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}).raise_for_status()
        for path in crds:
            body = yaml.safe_load(path.read_text())
            url = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
            headers = {"Content-Type": "application/apply-patch+yaml"}
            api.patch(url, content=json.dumps(body), headers=headers, params={"fieldManager": "bench"})
            group, plural = body["spec"]["group"], body["spec"]["names"]["plural"]
            served = f"/apis/{group}/{body['spec']['versions'][0]['name']}/{plural}"
            _wait_served(api, served)


def _wait_served(api: Any, path: str) -> None:
    deadline = time.monotonic() + 30
    while api.get(path).status_code != 200:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is not served")
        time.sleep(0.2)


MEASURES = {  # name -> (words, unit)
    "restart": ("restart to first full pass", "s"),
    "writes": ("writes at a restart and in the two ticks after it", "requests"),
    "memory": ("resident memory", "MB"),
    "applied": (f"change to child, p99 at {CHANGES_PER_SECOND} changes/s", "s"),
    "applied_median": (f"change to child, median at {CHANGES_PER_SECOND} changes/s", "s"),
    "idle": ("CPU while all are paused", "% of a core"),
    "tick": ("scaling tick, queries to last decision", "s"),
    "batch": ("queries of a tick", "s"),
    "queries": ("number of queries a tick", "queries"),
    "failover": ("killed leader to next tick", "s"),
    "graceful": ("stopped leader to next tick", "s"),
}


def rows(size: int, ours: Values, peer: Values, note: str) -> list[dict[str, Any]]:
    """One row a measure; targets are those of 5,000 pipelines."""
    return [
        {
            "measure": f"{words}, {size} pipelines",
            "unit": unit,
            "direction": "lower",
            "ours": _rounded(ours.get(name)),
            "spread": None,
            "peers": {"plain kopf": _rounded(peer.get(name))},
            "target": TARGETS.get(name),
            "note": (note or "the baseline has no such thing") if None in (ours.get(name), peer.get(name)) else "",
        }
        for name, (words, unit) in MEASURES.items()
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


async def run(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All measurements, size by size."""
    found: list[dict[str, Any]] = []
    spec = MediaPipelineSpec.model_validate(pipeline("any")["spec"])
    console = Console()
    async with rig_of(folder, arguments.tick_seconds) as rig:
        for size in sorted(int(size) for size in arguments.sizes.split(",")):
            console.print(f"{size} pipelines: writing them and {PODS_EACH * size} pods ...")
            await rig.cluster.grow(size)
            rig.prometheus.serve(size, spec)
            console.print(f"{size} pipelines: measuring the operator ...")
            ours, problem = await measured(rig, Ours, arguments.seconds)
            peer: Values = {}
            note = "the baseline was left out"
            if not arguments.no_peer:
                console.print(f"{size} pipelines: measuring the baseline ...")
                peer, note = await measured(rig, Baseline, arguments.seconds)
            found += rows(size, ours, peer, problem or note)
    return found


def report(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON of the benchmark."""
    commit = subprocess.run(("git", "rev-parse", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=False)
    versions = {name: version(name) for name in ("kopf", "kubernetes", "aiohttp")} | {
        "python": platform.python_version()
    }
    model = next(
        (line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return {
        "benchmark": "operator",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "rig": {"cpu": model.strip(), "cores": os.cpu_count(), "versions": versions, "load": os.getloadavg()},
        "rows": found,
    }


def show(found: list[dict[str, Any]]) -> None:
    """A table for people."""
    table = Table("measure", "unit", "ours", "plain kopf", "target at 5000")
    for row in found:
        values = (row["ours"], row["peers"]["plain kopf"], row["target"])
        table.add_row(row["measure"], row["unit"], *("" if value is None else f"{value:g}" for value in values))
    Console(width=130).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="500,2000,5000", help="numbers of pipelines, growing")
    parser.add_argument("--no-peer", action="store_true", help="leave the baseline out")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the phases with changes and without")
    parser.add_argument("--tick-seconds", type=float, default=10.0, help="time between two scaling ticks, for both")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as folder:
        found = asyncio.run(run(arguments, Path(folder)))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report(found), indent=1) + "\n")
    show(found)
    print(f"written: {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
