"""What an effect is: a name, validated parameters, and one picture transform in two forms that agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    from torch import Tensor

    from mediapod.frames.i420 import I420Frame


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# JSON Schema calls 7.0 an integer, and YAML tools write it; a strict int alone would refuse it.
WHOLE_NUMBER = BeforeValidator(_integral)


class Parameters(BaseModel):
    """Base of every effect's parameters: unknown names and wrong types are refused, never guessed.

    What these models accept equals what their JSON schema accepts, so that a value which passed the schema
    elsewhere is never refused here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EffectUnavailable(Exception):  # noqa: N818  same wording as InvalidStages
    """An effect cannot be made here, although its parameters are well-formed. field: the parameter at fault."""

    def __init__(self, field: str, message: str, allowed: list[str]) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message, self.allowed = field, message, allowed


@dataclass(frozen=True, slots=True)
class PlaneBatch:
    """B pictures of one size as tensors of one floating dtype, values 0..255 (not rounded).

    y: (B, 1, H, W); u, v: (B, 1, (H+1)//2, (W+1)//2). motion: (B, 1, rows, columns), the maps of frames.motion, for
    effects that see motion; None: not known.
    """

    y: Tensor
    u: Tensor
    v: Tensor
    motion: Tensor | None = None

    @property
    def planes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Luma and both chromas."""
        return self.y, self.u, self.v


P = TypeVar("P", bound=Parameters)


class Effect(ABC, Generic[P]):
    """One effect with its parameters bound. Stateless: frames of all sessions pass through it, from any thread.

    Pictures are I420, BT.601, limited range (luma 16..235, chroma 16..240 around 128). `cpu` and `torch` agree
    within 2/255 for every sample unless the effect says otherwise.
    """

    name: ClassVar[str]
    Parameters: ClassVar[type[Parameters]]
    of_requests: ClassVar[bool] = True
    """Whether a request of anybody may name it; otherwise only the pipeline may."""
    sees_motion: ClassVar[bool] = False
    """Whether it needs the motion of the stream beside the picture; engines hand that on from stage to stage."""

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @property
    def is_identity(self) -> bool:
        """True when these parameters leave every picture as it is; engines then skip the effect."""
        return False

    @abstractmethod
    def cpu(self, frame: I420Frame) -> I420Frame:
        """Return the changed picture, same size; the input is not written to."""

    @abstractmethod
    def torch(self, batch: PlaneBatch) -> PlaneBatch:
        """Return the changed pictures, same shapes, dtype and device; the input is not written to."""
