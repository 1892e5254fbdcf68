"""What a media worker and the device process say to each other, beside the pictures in shared memory.

A connection is one engine: the worker says hello (with the shared memory's descriptor), the device process welcomes it
or tells what is wrong with the stages. Then requests go one way and replies the other; each request gets exactly one
reply, until which its slot belongs to the device process. The result lies where the picture lay.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mediapod.engine.interface import DeadlineExceeded, EffectError

REQUEST = struct.Struct("<IIIId")
REPLY = struct.Struct("<IIBdd")
REASON_CHARACTERS = 500


class InvalidMessage(ValueError):  # noqa: N818  says what is the case
    """The other side said something that is not part of the protocol."""


class WireStage(BaseModel):
    """One stage as the user wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    effect: str
    parameters: dict[str, JsonValue]


class Hello(BaseModel):
    """The worker's first message. stages: None for those of the pipeline; background: it gives way to live frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    slots: int = Field(ge=1, le=256)
    slot_bytes: int = Field(ge=1, le=1 << 30)
    stages: list[WireStage] | None = None
    background: bool = False


class Welcome(BaseModel):
    """The answer. errors: why the stages cannot run, as InvalidStages has them; failure: any other reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    device: str = ""
    changes_nothing: bool = False
    errors: list[dict[str, Any]] = []
    failure: str = ""


class Request(NamedTuple):
    """A picture lies in `slot`. deadline: time.monotonic() seconds, which all processes of a machine share."""

    slot: int
    sequence: int
    width: int
    height: int
    deadline: float

    def encode(self) -> bytes:
        """As a message."""
        return REQUEST.pack(*self)

    @classmethod
    def decode(cls, message: bytes) -> Request:
        """From a message. Raises InvalidMessage."""
        try:
            return cls(*REQUEST.unpack(message))
        except struct.error as error:
            raise InvalidMessage(f"a request of {len(message)} bytes") from error


class Outcome(IntEnum):
    """How a request ended."""

    DONE = 0
    LATE = 1
    FAILED = 2


class Reply(NamedTuple):
    """The slot is the worker's again. text: the device, or what went wrong."""

    slot: int
    sequence: int
    outcome: Outcome
    effect_seconds: float
    queue_seconds: float
    text: str

    def encode(self) -> bytes:
        """As a message."""
        return REPLY.pack(*self[:5]) + self.text.encode()

    @classmethod
    def decode(cls, message: bytes) -> Reply:
        """From a message. Raises InvalidMessage."""
        try:
            slot, sequence, outcome, effect_seconds, queue_seconds = REPLY.unpack_from(message)
            text = message[REPLY.size :].decode()
            return cls(slot, sequence, Outcome(outcome), effect_seconds, queue_seconds, text)
        except (struct.error, ValueError) as error:
            raise InvalidMessage(f"a reply of {len(message)} bytes") from error

    @classmethod
    def of_failure(cls, request: Request, failure: Exception) -> Reply:
        """The reply to a request that was not carried out."""
        if isinstance(failure, DeadlineExceeded):
            outcome, parts = Outcome.LATE, [str(failure)]
        elif isinstance(failure, EffectError):
            outcome, parts = Outcome.FAILED, [failure.stage, failure.effect, failure.reason]
        else:
            outcome, parts = Outcome.FAILED, ["?", "?", repr(failure)]
        text = json.dumps([part[:REASON_CHARACTERS] for part in parts])
        return cls(request.slot, request.sequence, outcome, 0.0, 0.0, text)

    def failure(self) -> DeadlineExceeded | EffectError | None:
        """What the engine raised there; None: it did the work."""
        if self.outcome is Outcome.DONE:
            return None
        parts = json.loads(self.text)
        return DeadlineExceeded(*parts) if self.outcome is Outcome.LATE else EffectError(*parts)
