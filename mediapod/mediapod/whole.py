"""The mediapod in one process."""

from __future__ import annotations

from mediapod.engine import InvalidStages
from mediapod.run import invalid_stages
from mediapod.service import Mediapod, Part
from mediapod.settings import Settings


def build(settings: Settings, part: Part | None = None) -> Mediapod:
    """The mediapod, or `part` of one. Raises CannotRun, PortTaken."""
    try:
        return Mediapod(settings, part=part)
    except InvalidStages as error:
        raise invalid_stages(error) from error
