"""`python -m mediapipeline_operator.cli`; installed as `kubectl-mediapipelines`, a plugin of kubectl."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from mediapipeline_operator.cli.backtest import backtest
from mediapipeline_operator.cli.explain import explanation
from mediapipeline_operator.cli.resource import USER_AGENT, pipeline
from mediapipeline_operator.cli.simulate import simulate
from mediapipeline_operator.shell.cluster.credentials import NoCredentialsError, load_credentials
from mediapipeline_operator.shell.cluster.errors import ClusterError
from mediapipeline_operator.shell.cluster.transport import Transport

WATCH_SECONDS = 2.0

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Questions about MediaPipelines.")


app.command()(simulate)
app.command()(backtest)


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
        found = await pipeline(transport, namespace, name)
        if not watch:
            console.print(explanation(found))
            return
        with Live(explanation(found), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH_SECONDS)
                live.update(explanation(await pipeline(transport, namespace, name)), refresh=True)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
