"""/process: one picture, or the reference workload on a generated one, through the effects; and the simulated GPU."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mediapod.access import Access
from mediapod.api.limits import check_access, read_body
from mediapod.api.problems import Problem
from mediapod.api.signalling import media_type
from mediapod.effects import EFFECTS
from mediapod.engine import DeadlineExceeded, EffectError, InvalidStages, Processed, StageSpec
from mediapod.frames.i420 import I420Frame
from mediapod.process.pictures import (
    InvalidPicture,
    PictureType,
    decode_picture,
    encode_picture,
    generated_picture,
    picture_size,
    raw_picture,
)
from mediapod.process.service import Busy, RequestProcessor
from mediapod.process.simulation import Simulation

T = TypeVar("T")

SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
DEFAULT_PIXELS, DEFAULT_ITERATIONS = "1280x720", 10
OWN_QUERY = frozenset({"effect", "width", "height"})
RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Processing:
    """What /process needs. pipeline: the stages that a picture without `effect` goes through."""

    processor: RequestProcessor
    simulation: Simulation
    access: Access
    pipeline: Sequence[StageSpec]
    maximum_bytes: int
    maximum_pixels: int

    async def workload(self, given: Mapping[str, Any]) -> Response:
        """The reference workload on a generated picture; the answer is JSON."""
        started = time.monotonic()
        width, height = self._size(given.get("pixels", DEFAULT_PIXELS))
        stages = [StageSpec("bench", "ConvolutionBench", {"iterations": _iterations(given)})]
        processed, _ = await self._run(stages, partial(generated_picture, width, height), _nothing, (width, height))
        return JSONResponse(self._report(processed, "ConvolutionBench", started) | {"pixels": f"{width}x{height}"})

    async def picture(self, request: Request, kind: PictureType) -> Response:
        """A picture through an effect; the answer is a picture of the same type, the rest is in headers."""
        body = await read_body(request, self.maximum_bytes)
        started = time.monotonic()
        stages = self._stages(request.query_params)
        size, read = self._reader(kind, body, request.query_params)
        processed, encoded = await self._run(stages, read, partial(encode_picture, kind), size)
        report = self._report(processed, ",".join(stage.effect for stage in stages) or "Passthrough", started)
        headers = {"x-" + name.replace("_", "-"): str(value) for name, value in report.items()}
        headers["x-size"] = f"{size[0]}x{size[1]}"
        return Response(encoded, media_type=kind.value, headers=headers)

    def _size(self, text: object) -> tuple[int, int]:
        match = SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None or not min(int(match[1]), int(match[2])):
            raise Problem(400, f"pixels: is {str(text)[:40]!r}; give WIDTHxHEIGHT, as 1920x1080", field="pixels")
        return self._capped(int(match[1]), int(match[2]), "pixels")

    def _capped(self, width: int, height: int, field: str) -> tuple[int, int]:
        if width * height > self.maximum_pixels:
            detail = f"{field}: {width}x{height} has {width * height} pixels; at most {self.maximum_pixels} are taken"
            raise Problem(413, f"{detail} (MEDIAPOD_PROCESS_MAXIMUM_PIXELS)", field=field)
        return width, height

    def _stages(self, query: Mapping[str, str]) -> Sequence[StageSpec]:
        effect = query.get("effect")
        if effect is None:
            return self.pipeline
        if effect in EFFECTS and not EFFECTS[effect].of_requests:
            raise Problem(400, f"effect: {effect} runs in a pipeline only", field="effect")
        parameters = {name: _value(text) for name, text in query.items() if name not in OWN_QUERY}
        return [StageSpec("request", effect, parameters)]

    def _reader(
        self, kind: PictureType, body: bytes, query: Mapping[str, str]
    ) -> tuple[tuple[int, int], Callable[[], I420Frame]]:
        """Width and height, checked before anything is decoded, and what decodes it. Raises Problem."""
        if kind is PictureType.I420:
            size = self._size(f"{query.get('width', '')}x{query.get('height', '')}")
            return size, partial(raw_picture, body, *size)
        try:
            return self._capped(*picture_size(kind, body), "body"), partial(decode_picture, body)
        except InvalidPicture as invalid:
            raise _unreadable(invalid) from invalid

    async def _run(
        self,
        stages: Sequence[StageSpec],
        read: Callable[[], I420Frame],
        write: Callable[[I420Frame], T],
        size: tuple[int, int],
    ) -> tuple[Processed, T]:
        try:
            return await self.processor.process(stages, read, write, size)
        except InvalidPicture as invalid:
            raise _unreadable(invalid) from invalid
        except InvalidStages as invalid:
            first = invalid.errors[0]
            field = first["field"].removeprefix("stages[0].").removeprefix("parameters.")
            allowed = f" (allowed: {', '.join(first['allowed'])})"
            raise Problem(400, f"{field}: {first['message']}{allowed}", field=field) from invalid
        except (Busy, DeadlineExceeded) as busy:
            raise _busy(str(busy)) from busy
        except EffectError as error:
            raise Problem(500, str(error)) from error

    def _report(self, processed: Processed, effect: str, started: float) -> dict[str, object]:
        simulation, whole = self.simulation, time.monotonic() - started
        latency = whole - processed.effect_seconds + simulation.seconds(processed.effect_seconds)
        report: dict[str, object] = {
            "latency_ms": round(latency * 1000, 3),
            "queue_ms": round(processed.queue_seconds * 1000, 3),
            "effect_ms": round(simulation.seconds(processed.effect_seconds) * 1000, 3),
            "device": simulation.device if simulation.on else processed.device,
            "effect": effect,
            "request_id": secrets.token_hex(8),
        }
        return report | ({"measured_latency_ms": round(whole * 1000, 3)} if simulation.on else {})


def process_router(processing: Processing) -> APIRouter:
    """/process, /toggle-gpu-simulation and /gpu-simulation-status."""
    router = APIRouter()

    @router.get("/process")
    async def workload(request: Request) -> Response:
        check_access(request, processing.access)
        return await processing.workload(request.query_params)

    @router.post("/process")
    async def process(request: Request) -> Response:
        check_access(request, processing.access)
        kind = media_type(request)
        if kind in set(PictureType):
            return await processing.picture(request, PictureType(kind))
        if kind == "application/json" or (request.query_params and (not kind or _is_empty(request))):
            return await processing.workload(_json_object(await read_body(request)) | dict(request.query_params))
        allowed = ", ".join(["application/json", *PictureType])
        raise Problem(415, f"Content-Type: is {kind[:60]!r}; send one of {allowed}", field="Content-Type")

    _include_simulation(router, processing)
    return router


def _is_empty(request: Request) -> bool:
    """Some clients name a Content-Type for a POST without a body, too."""
    return request.headers.get("content-length") == "0"


def _include_simulation(router: APIRouter, processing: Processing) -> None:
    simulation = processing.simulation

    @router.get("/gpu-simulation-status")
    async def status() -> dict[str, object]:
        return {
            "gpu_simulation": simulation.on,
            "switchable": simulation.switchable,
            "speedup_factor": simulation.speedup,
            "device": simulation.device if simulation.on else None,
        }

    @router.post("/toggle-gpu-simulation")
    async def toggle(request: Request) -> dict[str, object]:
        check_access(request, processing.access)
        if not simulation.switchable:
            raise Problem(403, "switching is off; set MEDIAPOD_ALLOW_SIMULATION_TOGGLE=true")
        simulation.on = not simulation.on
        return await status()


def _iterations(given: Mapping[str, Any]) -> int:
    value = given.get("iters", DEFAULT_ITERATIONS)
    try:
        number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= 50:
        raise Problem(400, f"iters: is {str(value)[:40]!r}; give a whole number from 1 to 50", field="iters")
    return number


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"body: is not JSON ({error})", field="body") from error
    if not isinstance(given, dict):
        raise Problem(400, 'body: must be an object, as {"pixels": "1920x1080", "iters": 10}', field="body")
    unknown = sorted(set(given) - {"pixels", "iters"})
    if unknown:
        raise Problem(400, f"{unknown[0][:40]}: is not known; allowed are pixels and iters", field=unknown[0][:40])
    return given


def _value(text: str) -> Any:
    """A parameter in a query: JSON where it is JSON (7, 0.5, true), else text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _nothing(frame: I420Frame) -> None:
    """Nobody wants to see the generated picture."""


def _unreadable(invalid: InvalidPicture) -> Problem:
    return Problem(400, f"body: {invalid}", field="body")


def _busy(detail: str) -> Problem:
    return Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})
