"""`kubectl mediapipelines simulate`: what this pipeline's law would do under a load, on a model of the cluster."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mediapipeline_operator.cli.comparison import draw, names_of, table_of
from mediapipeline_operator.cli.loadfile import shape_of
from mediapipeline_operator.cli.resource import spec_of_file
from mediapipeline_operator.core.simulation.cluster import ClusterModel
from mediapipeline_operator.core.simulation.compare import compare, usual_service_seconds
from mediapipeline_operator.core.simulation.loads import SHAPES, load_of
from mediapipeline_operator.core.simulation.world import Surroundings

PEAK_SHARE = 0.6  # of what all replicas admit
COMPARE_HELP = (
    "Other laws, by commas: hpa, hpa-sessions, keda, keda-value, kpa, llm-d, rule, min, max; kpa+drain drains."
)


def simulate(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML with a MediaPipeline.", exists=True, dir_okay=False)],
    load: Annotated[str, typer.Option(help=f"{', '.join(SHAPES)}, or a CSV file with seconds,sessions.")] = "step",
    compare_with: Annotated[str, typer.Option("--compare", help=COMPARE_HELP)] = "",
    plot: Annotated[Path | None, typer.Option(help="Write a chart (PNG) here.")] = None,
    peak: Annotated[float | None, typer.Option(min=0, help="Sessions at the peak of a named load.")] = None,
    session_seconds: Annotated[float | None, typer.Option(min=5, help="Mean session length.")] = None,
    service_milliseconds: Annotated[float | None, typer.Option(min=0.01, help="Device time of a frame.")] = None,
    startup_seconds: Annotated[float, typer.Option(min=1, max=3600, help="Median start-up of a replica.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Another seed, other arrivals.")] = 1,
) -> None:
    """Run the law of a pipeline on a model: sessions, pods, Kubernetes and Prometheus with their delays."""
    spec, names = spec_of_file(file), names_of(compare_with)
    shape, absolute = shape_of(load, session_seconds)
    scaling = spec.autoscaling
    usual_peak = PEAK_SHARE * scaling.max_replicas * spec.sessions.max_per_replica
    visits = load_of(load, shape, 1.0 if absolute else peak or usual_peak, random.Random(seed))  # noqa: S311  a model
    service = usual_service_seconds(spec) if service_milliseconds is None else service_milliseconds / 1000
    around = Surroundings(service_seconds=service, cluster=cluster_model(startup_seconds))
    found = compare(spec, visits, around, names, lambda: random.Random(seed + 1))  # noqa: S311
    title = f"{load}: {len(visits.visits)} sessions in {visits.duration_seconds / 60:.0f} minutes"
    Console().print(table_of(found, title))
    if plot is not None:
        draw(found, plot, title)
        typer.echo(f"chart: {plot}")


def cluster_model(startup_seconds: float) -> ClusterModel:
    """Start-up with this median: one in ten takes over twice as long; a third and five times are its bounds."""
    return ClusterModel(
        startup_p50_seconds=startup_seconds,
        startup_p90_seconds=2 * startup_seconds,
        fastest_startup_seconds=startup_seconds / 3,
        slowest_startup_seconds=5 * startup_seconds,
    )
