"""`python -m mediapipeline_operator.cli`; installed as `kubectl-mediapipelines`, a plugin of kubectl."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from mediapipeline_operator.cli.explain import explanation
from mediapipeline_operator.shell.cluster.credentials import NoCredentialsError, load_credentials
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.kinds import PIPELINE
from mediapipeline_operator.shell.cluster.reader import read
from mediapipeline_operator.shell.cluster.transport import Transport

WATCH_SECONDS = 2.0
USER_AGENT = "kubectl-mediapipelines"

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Questions about MediaPipelines.")


@app.callback()
def _root() -> None:
    """Keeps `explain` a subcommand while it is the only one."""


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="Name of the MediaPipeline.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every two seconds until interrupted.")] = False,
) -> None:
    """Why the pipeline has the number of replicas that it has."""
    console = Console()
    try:
        asyncio.run(_show(console, namespace, name, watch=watch))
    except (ClusterError, NoCredentialsError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _show(console: Console, namespace: str, name: str, *, watch: bool) -> None:
    async with Transport(load_credentials(), user_agent=USER_AGENT) as transport:
        found = await _pipeline(transport, namespace, name)
        if not watch:
            console.print(explanation(found))
            return
        with Live(explanation(found), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH_SECONDS)
                live.update(explanation(await _pipeline(transport, namespace, name)), refresh=True)


async def _pipeline(transport: Transport, namespace: str, name: str) -> dict[str, Any]:
    found = await read(transport, PIPELINE, namespace, name)
    if found is None:
        raise ClusterError(f"no MediaPipeline {name} in namespace {namespace}; -n chooses another one")
    return found


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
