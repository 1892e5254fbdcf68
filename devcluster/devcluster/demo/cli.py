"""`devcluster demo`: run it, or run its negative controls."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from devcluster.binaries import BinaryError
from devcluster.cluster import ClusterError
from devcluster.controlplane import ControlPlaneError
from devcluster.demo.options import CAUGHT_BY, ROOT, Control, DemoOptions, Device, device_note
from devcluster.demo.run import Demo, explain_failure
from devcluster.demo.story import StoryPlan
from devcluster.demo.verdict import Check, failures
from devcluster.prometheus.server import PrometheusError

app = typer.Typer(no_args_is_help=True, help="The product's main job, live, with a verdict that can fail.")
EXPECTED = (ClusterError, ControlPlaneError, PrometheusError, BinaryError, httpx.HTTPError, OSError)


@app.command()
def run(
    keep: Annotated[bool, typer.Option(help="Leave everything running until Ctrl-C")] = False,
    device: Annotated[Device, typer.Option(help="Device of the pods", case_sensitive=False)] = Device.SIMULATED,
    control: Annotated[Control, typer.Option(help="Break it: the demo must fail")] = Control.NONE,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for data and logs")] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes")] = ROOT / "build" / "demo" / "report.json",
) -> None:
    """Runs the demo; exit code 0 only when every check holds."""
    options = DemoOptions(keep=keep, device=device, control=control, data_dir=data_dir, report=report)
    sys.exit(0 if play(options, Console()) else 1)


@app.command()
def controls() -> None:
    """Runs the demo broken in each way; succeeds only when each is caught by the check that should catch it."""
    console, missed = Console(), []
    for control, check_name in CAUGHT_BY.items():
        console.rule(f"control: {control}, must be caught by: {check_name}")
        options = DemoOptions(control=control, report=ROOT / "build" / "demo" / f"control-{control}.json")
        demo = Demo(options, console, plan=StoryPlan(overload_limit_seconds=50))
        caught = check_name in {check.name for check in failures(_results(demo))}
        console.print(f"[{'green' if caught else 'red'}]{control}: {'caught' if caught else 'NOT CAUGHT'}[/]")
        if not caught:
            missed.append(control)
    console.print(f"{len(CAUGHT_BY) - len(missed)} of {len(CAUGHT_BY)} controls failed as they should")
    sys.exit(1 if missed else 0)


def play(options: DemoOptions, console: Console) -> bool:
    """One run with its summary. Every failure says what and where; nothing is left running unless `keep`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clean-up runs
    console.print(f"[bold]MediaPipeline demo[/] - {device_note(options)}")
    demo = Demo(options, console)
    with ExitStack() as stack:
        try:
            results = demo.run(stack)
        except EXPECTED as error:
            console.print(
                f"[red]The demo could not go on.[/] {explain_failure(error, options.data_dir)}", soft_wrap=True
            )
            return False
        except KeyboardInterrupt:
            console.print("interrupted; everything is stopped")
            return False
        _summary(console, demo, results)
        if options.keep:
            _hold(console, demo)
    return not failures(results)


def _results(demo: Demo) -> Sequence[Check]:
    with ExitStack() as stack:
        try:
            return demo.run(stack)
        except EXPECTED as error:
            return [Check("the demo ran", passed=False, detail=explain_failure(error, None))]


def _summary(console: Console, demo: Demo, results: Sequence[Check]) -> None:
    console.print()
    for check in results:
        mark = "[green]PASS[/]" if check.passed else "[red]FAIL[/]"
        console.print(f"{mark} {check.name}: {check.detail}", soft_wrap=True)
    console.print(f"report: {demo.options.report}")


def _hold(console: Console, demo: Demo) -> None:
    console.print(demo.addresses())
    console.print("Running until Ctrl-C ...")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
