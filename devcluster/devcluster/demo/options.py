"""What the demo can be asked for, and how an example is changed for it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Device(StrEnum):
    """Simulated: a serial device with a fixed service time around the real decode, OpenCV effect and encode."""

    SIMULATED = "Simulated"
    CPU = "CPU"


class Control(StrEnum):
    """Ways to break the demo. It must then fail, or its success means nothing."""

    NONE = "none"
    ADVISORY = "advisory"
    PROMETHEUS_STOPPED = "prometheus-stopped"
    OPERATOR_STOPPED = "operator-stopped"
    PASSTHROUGH = "passthrough"


# What each control must be caught by: the name of the check that fails.
CAUGHT_BY = {
    Control.ADVISORY: "it scaled up on p95",
    Control.PROMETHEUS_STOPPED: "it scaled up on p95",
    Control.OPERATOR_STOPPED: "it scaled up on p95",
    Control.PASSTHROUGH: "the effect is in the returned pictures",
}


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`example` is applied as it stands, but for the device and the control. `keep` leaves everything running."""

    keep: bool = False
    device: Device = Device.SIMULATED
    control: Control = Control.NONE
    example: Path = ROOT / "examples" / "00-demo.yaml"
    manifest: Path = ROOT / "install.yaml"
    report: Path = ROOT / "build" / "demo" / "report.json"
    data_dir: Path | None = None


def prepared(example: Mapping[str, Any], options: DemoOptions) -> dict[str, Any]:
    """The MediaPipeline that is applied: the example with the asked device, broken where a control asks for it."""
    pipeline = copy.deepcopy(dict(example))
    spec = pipeline["spec"]
    if options.device is Device.CPU:
        spec["compute"] = {"device": "CPU"}
    if options.control is Control.ADVISORY:
        spec.setdefault("autoscaling", {})["mode"] = "Advisory"
    if options.control is Control.PASSTHROUGH:
        spec["pipeline"]["stages"] = [{"name": "nothing", "effect": "Passthrough"}]
    return pipeline


def device_note(options: DemoOptions) -> str:
    """Said wherever numbers of the demo show."""
    if options.device is Device.CPU:
        return "device: CPU (OpenCV); real decode, effect and encode"
    return "device: SIMULATED (a serial device with a fixed service time) around real decode, OpenCV effect and encode"
