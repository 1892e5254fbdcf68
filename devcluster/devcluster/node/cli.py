"""``python -m devcluster.node.cli run``: the node agent as a command."""

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer

from devcluster.node.agent import run_until_signal
from devcluster.node.api import ApiError
from devcluster.node.images import ImageTableError
from devcluster.node.kubeconfig import KubeconfigError
from devcluster.node.node_object import parse_taint
from devcluster.node.settings import NodeSettings

app = typer.Typer(help="A node of the local cluster: pods as ordinary processes.", no_args_is_help=True)
_DEFAULTS = NodeSettings(Path(), Path(), Path())


@app.callback()
def node() -> None:
    """A node of the local cluster: pods as ordinary processes."""


@app.command()
def run(
    kubeconfig: Annotated[Path, typer.Option(help="How to reach the API server; needs the rights of a node and more.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder for logs and volumes.")],
    images: Annotated[Path, typer.Option(help="YAML or JSON: image repository -> argv.")],
    name: Annotated[str, typer.Option(help="The Node's name.")] = _DEFAULTS.name,
    gpus: Annotated[int, typer.Option(min=0, help="Simulated nvidia.com/gpu.")] = 0,
    cpu: Annotated[str, typer.Option(help="Capacity, a quantity.")] = _DEFAULTS.cpu,
    memory: Annotated[str, typer.Option(help="Capacity, a quantity.")] = _DEFAULTS.memory,
    pods: Annotated[int, typer.Option(min=1, help="Most pods.")] = _DEFAULTS.pods,
    label: Annotated[list[str] | None, typer.Option(help="key=value of the Node; repeatable.")] = None,
    taint: Annotated[list[str] | None, typer.Option(help="key=value:Effect; repeatable.")] = None,
    backoff_seconds: Annotated[float, typer.Option(min=0.1, help="First restart back-off.")] = 10.0,
    stop_grace_seconds: Annotated[float, typer.Option(min=0, help="Longest grace when the agent is stopped.")] = 10.0,
    service_proxy: Annotated[bool, typer.Option(help="Serve ClusterIPs.")] = True,
    isolation: Annotated[bool, typer.Option(help="Mount volumes in namespaces where the system allows it.")] = True,
) -> None:
    """Registers a Node and runs the pods that the scheduler binds to it, until SIGTERM."""
    labels = dict(_pair(text) for text in label or ())
    settings = NodeSettings(
        kubeconfig=kubeconfig,
        data_folder=data_dir.resolve(),
        images_file=images,
        name=name,
        cpu=cpu,
        memory=memory,
        pods=pods,
        simulated_gpus=gpus,
        labels=labels,
        taints=_checked_taints(taint or []),
        backoff_initial_seconds=backoff_seconds,
        stop_grace_seconds=stop_grace_seconds,
        service_proxy=service_proxy,
        isolation=isolation,
    )
    try:
        asyncio.run(run_until_signal(settings))
    except (ApiError, ImageTableError, KubeconfigError) as error:
        structlog.get_logger(__name__).error("the node agent cannot run", error=str(error))
        raise typer.Exit(1) from error


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"label {text!r}: expected key=value")
    return key, value


def _checked_taints(taints: list[str]) -> tuple[str, ...]:
    for taint in taints:
        try:
            parse_taint(taint)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return tuple(taints)


if __name__ == "__main__":
    app()
