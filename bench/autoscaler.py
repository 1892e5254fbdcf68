"""Our scaling law against other autoscalers' laws in one closed loop: same loads, same faults, same pods.

    python bench/autoscaler.py [--seeds N] [--settings N] [--worlds sticky,stateless] [--only NAME,NAME]

Prints a table for each scenario, says where we lose, and writes build/bench/autoscaler.json with Pareto plots beside
it. Every run is checked against a clairvoyant lower bound: one that beats it ends the benchmark, since then the
simulator is wrong. FULL=1 in the environment: 30 seeds and the whole tuning grid. Results are kept in build/bench until
the code changes, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import os

from autoscaling import picture
from autoscaling.job import Job, Result
from autoscaling.kept import Kept
from autoscaling.report import FOLDER, losses, pareto, rows, scenes, show, write
from autoscaling.runs import BY_NAME, contestant, laws, play_all, tune, tuned_name
from autoscaling.scenarios import WORLDS
from rich.console import Console

FULL = os.environ.get("FULL", "") not in ("", "0")
FULL_SEEDS, SHORT_SEEDS = 30, 4
FULL_SETTINGS, SHORT_SETTINGS = 8, 4


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=FULL_SEEDS if FULL else SHORT_SEEDS)
    parser.add_argument("--settings", type=int, default=FULL_SETTINGS if FULL else SHORT_SETTINGS)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--only", default=",".join(BY_NAME), help="names of scenarios")
    return parser.parse_args()


def jobs(options: argparse.Namespace, chosen: dict[str, int]) -> dict[Job, str]:
    """Every run with the name under which its law is shown."""
    entries = [(law, None, law) for law in laws()]
    entries += [(law, setting, tuned_name(law)) for law, setting in chosen.items()]
    return {
        Job(world, scenario, law, seed, setting): shown
        for seed in range(options.seeds)
        for law, setting, shown in entries
        for world in options.worlds.split(",")
        for scenario in options.only.split(",")
    }


def main() -> None:
    """Tunes, runs, reports."""
    console, options, kept = Console(width=120), arguments(), Kept(FOLDER)
    chosen = tune(options.settings, kept)
    settings = {law: _setting(law, setting) for law, setting in chosen.items()}
    console.print("tuned on other seeds, the same number of settings each:", settings)
    named = jobs(options, chosen)
    results: dict[tuple[str, str, str], list[Result]] = {}
    for job, result in play_all(list(named), kept).items():
        results.setdefault((job.world, job.scenario, named[job]), []).append(result)
    for scene in scenes(results):
        show(console, results, scene)
    lost = losses(results)
    console.print("\n[bold]Where we lose[/]")
    for line in lost or ["nowhere in this run"]:
        console.print(f"- {line}")
    path = write(results, settings, lost)
    charts = [pareto(results, world) for world in options.worlds.split(",")]
    if picture.is_possible(rows(results)):
        charts.append(FOLDER / "autoscaler.png")
        picture.draw(rows(results), charts[-1])
    console.print(f"\n{len(named)} runs; {path.relative_to(FOLDER.parents[1])}, {', '.join(c.name for c in charts)}")


def _setting(law: str, setting: int) -> str:
    name = contestant(Job("sticky", "step", law, 0, setting)).name
    return name if law.startswith("ours") else f"setting {setting}"


if __name__ == "__main__":
    main()
