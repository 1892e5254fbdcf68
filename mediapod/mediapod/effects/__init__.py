"""Effects: what a stage does to a picture. One file an effect."""

from mediapod.effects.effect import Effect, EffectUnavailable, Parameters, PlaneBatch
from mediapod.effects.registry import EFFECTS, create, schemas

__all__ = ["EFFECTS", "Effect", "EffectUnavailable", "Parameters", "PlaneBatch", "create", "schemas"]
