"""The mediapod in one process."""

from __future__ import annotations

from mediapod.engine import InvalidStages
from mediapod.run import EXIT_BAD_SETTINGS, CannotRun
from mediapod.service import Mediapod, Part
from mediapod.settings import Settings


def build(settings: Settings, part: Part | None = None) -> Mediapod:
    """The mediapod, or `part` of one. Raises CannotRun, PortTaken."""
    try:
        return Mediapod(settings, part=part)
    except InvalidStages as error:
        raise CannotRun(error.describe(), EXIT_BAD_SETTINGS) from error
