"""`kubectl mediapipelines backtest`: what the law would have done with a pipeline's own past."""

from __future__ import annotations

import asyncio
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.api.spec import MediaPipelineSpec
from mediapipeline_operator.cli.comparison import draw, names_of, table_of
from mediapipeline_operator.cli.resource import USER_AGENT, checked_spec, pipeline, spec_of_file
from mediapipeline_operator.cli.simulate import COMPARE_HELP, cluster_model
from mediapipeline_operator.core.simulation.compare import compare, usual_service_seconds
from mediapipeline_operator.core.simulation.loads import Lengths, Load, Shape, load_of, piecewise
from mediapipeline_operator.core.simulation.world import Surroundings
from mediapipeline_operator.shell.cluster.credentials import NoCredentialsError, load_credentials
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.transport import Transport
from mediapipeline_operator.shell.prometheus.errors import to_problem
from mediapipeline_operator.shell.prometheus.history import History, read_history
from mediapipeline_operator.shell.prometheus.reader import ReaderSettings

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 7 * 86400
TIMEOUT_SECONDS = 30.0
SESSION_SECONDS = 300.0  # assumed where no session is known to have begun


def backtest(
    name: Annotated[str, typer.Argument(help="Name of the MediaPipeline.")],
    prometheus_url: Annotated[
        str, typer.Option(envvar="MEDIAPIPELINE_OPERATOR_PROMETHEUS_URL", help="Where its metrics are kept.")
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    since: Annotated[str, typer.Option(help="How far back, for example 90m, 24h, 7d.")] = "24h",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Use the spec of this file instead.")] = None,
    compare_with: Annotated[str, typer.Option("--compare", help=COMPARE_HELP)] = "hpa,keda,kpa",
    plot: Annotated[Path | None, typer.Option(help="Write a chart (PNG) here.")] = None,
    service_milliseconds: Annotated[float | None, typer.Option(min=0.01, help="Device time of a frame.")] = None,
    startup_seconds: Annotated[float, typer.Option(min=1, max=3600, help="Median start-up of a replica.")] = 60.0,
    prometheus_token_file: Annotated[str, typer.Option(help="File with a bearer token.")] = "",
    prometheus_ca_file: Annotated[str, typer.Option(help="CA certificate of the server.")] = "",
) -> None:
    """Replay a pipeline's sessions of the last hours through its law, and through others."""
    seconds, names = seconds_of(since), names_of(compare_with)
    spec = spec_of_file(file) if file is not None else _spec_in_cluster(namespace, name)
    settings = ReaderSettings(
        prometheus_url,
        prometheus_token_file,
        prometheus_ca_file,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    history = _history(settings, Key(namespace, name), seconds)
    load = load_of_history(history, seconds)
    service = usual_service_seconds(spec) if service_milliseconds is None else service_milliseconds / 1000
    around = Surroundings(service_seconds=service, cluster=cluster_model(startup_seconds))
    found = compare(spec, load, around, names, lambda: random.Random(1))  # noqa: S311  a model
    title = f"{namespace}/{name}, last {since}: {len(load.visits)} sessions"
    Console().print(table_of(found, title))
    typer.echo(f"what really ran: {history.pod_hours:.2f} replica-hours")
    if plot is not None:
        draw(found, plot, title)
        typer.echo(f"chart: {plot}")


def seconds_of(text: str) -> int:
    """ "90m" -> 5400. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 60 <= seconds <= LONGEST_SECONDS:
        raise typer.BadParameter(f"--since {text}: a number with s, m, h or d, from 1m to 7d")
    return seconds


def load_of_history(history: History, seconds: int) -> Load:
    """Visits that make the same number of sessions: refused ones are not in it, nobody knows how long they had stayed.

    Raises typer.BadParameter if there is nothing to replay.
    """
    if len(history.sessions) < 2 or not any(value for _, value in history.sessions):
        raise typer.BadParameter("no sessions in that time: is --prometheus-url right, and the pipeline scraped?")
    lengths = Lengths(max(5.0, history.mean_session_seconds or SESSION_SECONDS))
    shape = Shape(seconds, piecewise(*history.sessions), lengths)
    return load_of("history", shape, 1.0, random.Random(1))  # noqa: S311


def _history(settings: ReaderSettings, key: Key, seconds: int) -> History:
    try:
        return read_history(settings, key, datetime.now(UTC), seconds)
    except Exception as error:  # a client library may raise anything; people get one line
        problem = to_problem(error, settings.url)
        typer.echo(f"{problem.kind.value}: {problem.message}", err=True)
        raise typer.Exit(1) from error


def _spec_in_cluster(namespace: str, name: str) -> MediaPipelineSpec:
    try:
        found = asyncio.run(_read(namespace, name))
    except (ClusterError, NoCredentialsError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    return checked_spec(found, f"{namespace}/{name}")


async def _read(namespace: str, name: str) -> dict[str, object]:
    async with Transport(load_credentials(), user_agent=USER_AGENT) as transport:
        return await pipeline(transport, namespace, name)
