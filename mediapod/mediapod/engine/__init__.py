"""Engines: where the stages of a pipeline run, and what happens to frames that wait for them.

Exception
+-- DeadlineExceeded   the frame was not worked on, because it would be late
+-- EffectError        an effect failed on this frame
+-- InvalidStages      the stages cannot run at all
"""

from mediapod.engine.factory import build_engine
from mediapod.engine.interface import DeadlineExceeded, EffectError, Engine, Processed
from mediapod.engine.stages import InvalidStages, StageSpec

__all__ = ["DeadlineExceeded", "EffectError", "Engine", "InvalidStages", "Processed", "StageSpec", "build_engine"]
