"""Commands for a control plane of one's own: up, down, status, binaries."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devcluster.binaries import CATALOGUE, CONTROL_PLANE, KEDA_PROGRAMS, BinaryError, Lines, crd_manifests, ensure
from devcluster.controlplane.plane import ControlPlane, ControlPlaneError
from devcluster.controlplane.processes import ProcessError, ProcessTable, stop_recorded
from devcluster.prometheus import Prometheus, PrometheusError, ScrapeSettings

app = typer.Typer(help="A real Kubernetes control plane on this machine, without Docker or root.", no_args_is_help=True)
console = Console()
DEFAULT_DATA_DIR = Path("build/cluster")
_CHECK_SECONDS = 1.0

DataDir = Annotated[Path, typer.Option(help="Folder of the cluster; several clusters need different ones.")]


@app.command()
def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    keep: Annotated[bool, typer.Option(help="Leave it running and return; `down` ends it.")] = False,
    prometheus: Annotated[bool, typer.Option(help="Also start Prometheus.")] = False,
    scrape_interval_seconds: Annotated[float, typer.Option(min=0.1, help="Prometheus' scrape interval.")] = 5.0,
) -> None:
    """Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler; Ctrl-C ends them."""
    with _readable_errors(), _terminated_like_interrupted():
        names = (*CONTROL_PLANE, *(("prometheus",) if prometheus else ()))
        programs = ensure(names)
        plane = ControlPlane(data_dir, programs, tie_to_parent=not keep)
        with Lines().step("starting the control plane"):
            plane.start()  # a refused or failed start cleans up after itself
        leave_running = False
        try:
            if prometheus:
                _start_prometheus(plane, programs["prometheus"], scrape_interval_seconds, tie_to_parent=not keep)
            _print_access(plane, programs["kubectl"])
            if not keep:
                _stay(plane)
            leave_running = keep
        finally:
            if not leave_running:
                stop_recorded(plane.data_dir)


@app.command()
def down(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Ends every process recorded in the folder."""
    stopped = stop_recorded(data_dir)
    console.print(f"stopped {', '.join(stopped)}" if stopped else f"nothing of {data_dir} was running")


@app.command()
def status(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Shows the processes recorded in the folder; exit code 1 when one of them has ended or there are none."""
    records = ProcessTable(data_dir).read()
    table = Table("process", "pid", "state", "log")
    for record in records:
        table.add_row(record.name, str(record.pid), "running" if record.alive() else "ended", record.log)
    console.print(table)
    if not records or not all(record.alive() for record in records):
        raise typer.Exit(1)


@app.command()
def binaries(
    names: Annotated[list[str] | None, typer.Argument(help="Programs; all but KEDA's when none is given.")] = None,
) -> None:
    """Finds, downloads or builds the programs, and the CRD of ServiceMonitors."""
    with _readable_errors():
        table = Table("program", "path")
        for name, path in ensure(names or [one for one in CATALOGUE if one not in KEDA_PROGRAMS]).items():
            table.add_row(name, str(path))
        if not names:
            table.add_row("CRD servicemonitors", str(crd_manifests("servicemonitors")))
        console.print(table)


def _start_prometheus(plane: ControlPlane, program: Path, interval_seconds: float, *, tie_to_parent: bool) -> None:
    settings = ScrapeSettings(plane.server_url, plane.ca_file, plane.prometheus_token_file, interval_seconds)
    server = Prometheus(plane.data_dir, program, settings, tie_to_parent=tie_to_parent)
    with Lines().step("starting Prometheus"):
        server.start()
    console.print(f"Prometheus: {server.url}")


def _print_access(plane: ControlPlane, kubectl: Path) -> None:
    console.print(f"API server: {plane.server_url}")
    console.print(f"export KUBECONFIG={plane.kubeconfig}", soft_wrap=True)
    console.print(f"kubectl:    {kubectl}", soft_wrap=True)


def _stay(plane: ControlPlane) -> None:
    console.print("running; Ctrl-C ends it")
    while True:
        threading.Event().wait(_CHECK_SECONDS)
        plane.check()


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except (BinaryError, ControlPlaneError, ProcessError, PrometheusError, ValueError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(130) from interrupt


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the cluster in order, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    app()
