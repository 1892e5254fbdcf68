"""`make bench-operator`: the operator with thousands of MediaPipelines, beside a plain kopf operator.

A real kube-apiserver with etcd runs alone: no node, no controllers. See scale_cluster for what is written before. Sizes
grow in one cluster; at each the operator is measured first, then the baseline. Every wait has an end, and so has the
whole run (--minutes): who does not get there is reported with the number that did.

    python bench/operator_scale.py [--sizes 500,2000,5000] [--seconds 20] [--no-peer]
    python bench/operator_scale.py --sizes 100 --seconds 5 --tick-seconds 2 --repeats 1      # a few minutes
    python bench/operator_scale.py --sizes 5000 --cluster FOLDER      # the objects stay there for the next run
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scale_report
from rich.console import Console
from scale_cluster import PODS_EACH, pipeline
from scale_phases import PHASES, Phases
from scale_rig import Rig, rig_of
from scale_subjects import Baseline, Ours

from mediapipeline_operator.api.spec import MediaPipelineSpec

console = Console()


async def measured(rig: Rig, size: int, arguments: argparse.Namespace, deadline: float) -> list[dict[str, Any]]:
    """Both operators at a size. What the run's time did not suffice for, or what broke the bench, is a reason."""
    only = arguments.only.split(",")
    ours = Phases(rig, Ours, arguments.seconds, arguments.repeats, only)
    peer = Phases(rig, Baseline, arguments.seconds, arguments.repeats, only)
    chosen = {"the operator": ours, "the baseline": peer}
    for name in arguments.without.split(","):
        chosen.pop(name, None)
    try:
        async with asyncio.timeout_at(deadline):
            await _grow(rig, size)
            await _phases(rig, chosen, idle="idle" in only)
    except TimeoutError:
        _missing(chosen, f"the {arguments.minutes:g} minutes of the run were over")
    except Exception as error:  # noqa: BLE001  an hour of measurements is not lost to an error of the bench
        _missing(chosen, f"{type(error).__name__}: {error}"[:300])
    return scale_report.rows(size, ours.found, peer.found)


async def _grow(rig: Rig, size: int) -> None:
    console.print(f"{size} pipelines: writing them, their children and {PODS_EACH * size} pods ...")
    await rig.cluster.grow(size)
    rig.prometheus.serve(rig.size, MediaPipelineSpec.model_validate(pipeline("any")["spec"]))


async def _phases(rig: Rig, chosen: Mapping[str, Phases], *, idle: bool) -> None:
    """First all that is active, then both while all are paused."""
    for name, phases in chosen.items():
        console.print(f"{rig.size} pipelines: measuring {name} ...")
        await phases.active()
    if not idle:
        return
    await rig.cluster.change_all({"paused": True})
    for name, phases in chosen.items():
        console.print(f"{rig.size} pipelines: measuring {name} while all are paused ...")
        await phases.idle()
    await rig.cluster.change_all({"paused": False})


def _missing(chosen: Mapping[str, Phases], reason: str) -> None:
    console.print(f"[red]{reason}[/]")
    for phases in chosen.values():
        found = phases.found
        found.missing((name for name in scale_report.MEASURES if not found.values.get(name)), reason)


async def run(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All measurements, size by size, within the run's minutes; what is there is written and shown after each."""
    found: list[dict[str, Any]] = []
    deadline = asyncio.get_running_loop().time() + 60 * arguments.minutes
    async with rig_of(folder, arguments.cluster or folder / "cluster", arguments.tick_seconds) as rig:
        for size in sorted(int(size) for size in arguments.sizes.split(",")):
            found += await measured(rig, size, arguments, deadline)
            scale_report.write(found)
            scale_report.show(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="500,2000,5000", help="numbers of pipelines, growing")
    parser.add_argument("--without", default="", help='"the operator" or "the baseline" is left out')
    parser.add_argument(
        "--only", default=",".join(PHASES), help="phases; rows of others stay as an earlier run wrote them"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the phases with changes and without")
    parser.add_argument("--tick-seconds", type=float, default=10.0, help="time between two scaling ticks, for both")
    parser.add_argument("--repeats", type=int, default=2, help="restarts and failovers of the operator")
    parser.add_argument("--minutes", type=float, default=65.0, help="for the whole run; the rest is not measured")
    parser.add_argument(
        "--cluster", type=Path, help="folder of a cluster that is kept, or that an earlier run has kept"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as folder:
        found = asyncio.run(run(arguments, Path(folder)))
    console.print(f"{len(found)} rows written: {scale_report.OUTPUT.relative_to(scale_report.ROOT)}")


if __name__ == "__main__":
    main()
