"""Runs in parallel processes, and their means."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import statistics
from collections.abc import Iterable, Sequence

from autoscaling.hours import hours
from autoscaling.job import Job, Result
from autoscaling.kept import Kept
from autoscaling.scenarios import FAULTS, LOADS, SPEC, load, surroundings

from mediapipeline_operator.core.simulation.bound import check, clairvoyant
from mediapipeline_operator.core.simulation.catalogue import DRAINED, OURS_SLO, Contestant, contestants, tunings
from mediapipeline_operator.core.simulation.world import World

TRAINING_SEED = 9000  # no run that is reported uses it
TRAINING = ("step", "diurnal", "spike")
BY_NAME = {scenario.name: scenario for scenario in (*LOADS, *FAULTS)}
TUNED = ", tuned"


def contestant(job: Job) -> Contestant:
    """The law of a job."""
    return contestants(SPEC)[job.law] if job.setting is None else tunings(SPEC)[job.law][job.setting]


def play(job: Job) -> Result:
    """One run, checked against the bound that nobody can beat."""
    scenario, player = BY_NAME[job.scenario], contestant(job)
    around, visits = surroundings(job.world, scenario, player), load(scenario, job.seed)
    score = World(SPEC, visits, around, player.make(), random.Random(job.seed + 1)).run()
    bound = clairvoyant(SPEC, visits, around)
    check(bound, score, around)
    return Result(
        missed=100 * score.missed_share,
        rejected=100 * score.rejected_share,
        rejected_session_minutes=score.rejected_session_minutes,
        replica_hours=score.replica_hours,
        ratio=score.replica_hours / bound.replica_hours,
        killed=score.killed,
        reversals=score.reversals,
        recovery_seconds=score.longest_trouble_seconds,
        blind_downs=score.blind_downs,
        **hours(SPEC, score.timeline, bound),
    )


def play_all(jobs: Sequence[Job], kept: Kept) -> dict[Job, Result]:
    """All runs on all cores, without those that are kept from an interrupted benchmark of the same code."""
    missing = [job for job in jobs if job not in kept]
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for job, result in zip(missing, pool.imap(play, missing), strict=True):
            kept.add(job, result)
    return {job: kept[job] for job in jobs}


def tune(settings: int, kept: Kept) -> dict[str, int]:
    """The best of the first `settings` of each grid on the training loads, by one cost for all laws."""
    grids = {law: min(settings, len(grid)) for law, grid in tunings(SPEC).items()}
    jobs = [
        Job("sticky", name, law, TRAINING_SEED, setting)
        for law, count in grids.items()
        for setting in spread(count, len(tunings(SPEC)[law]))
        for name in TRAINING
    ]
    results = play_all(jobs, kept)
    chosen = {}
    for law in grids:
        costs: dict[int, float] = {}
        for job, result in results.items():
            if job.law == law and job.setting is not None:
                costs[job.setting] = costs.get(job.setting, 0.0) + cost(result)
        chosen[law] = min(costs, key=lambda setting: costs[setting])
    return chosen


def spread(count: int, length: int) -> list[int]:
    """`count` places of a grid, evenly."""
    return sorted({round(index * (length - 1) / max(1, count - 1)) for index in range(count)})


def cost(result: Result) -> float:
    """One percent of frames or of session-time lost weighs as much as all replicas of the bound once more."""
    return result.missed + result.rejected + result.ratio


def mean(results: Iterable[Result], measure: str) -> float:
    """Over seeds."""
    return statistics.fmean(getattr(result, measure) for result in results)


def half_interval(results: Sequence[Result], measure: str) -> float:
    """Half of a 95 % interval of the mean over seeds (normal approximation); 0 with one seed."""
    values = [float(getattr(result, measure)) for result in results]
    return 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def laws() -> tuple[str, ...]:
    """All laws at their defaults."""
    return tuple(contestants(SPEC))


def tuned_name(law: str) -> str:
    """How a tuned law is called in tables."""
    return law + TUNED


__all__ = ["DRAINED", "OURS_SLO", "laws", "mean", "play_all", "tune", "tuned_name"]
