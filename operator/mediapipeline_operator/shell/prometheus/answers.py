"""Answers of Prometheus from bytes to samples, without the JSON objects in between.

The batch of 5,000 pipelines is 27 MB of JSON. Decoded to dictionaries and from these to samples it took four times the
CPU time, and the memory of all of them at once.
"""

from __future__ import annotations

from typing import Any

import msgspec
import requests

from mediapipeline_operator.core.scaling.signals import Sample, Series
from mediapipeline_operator.shell.prometheus.errors import QueryRefusedError


class _Point(msgspec.Struct, array_like=True, gc=False):
    seconds: float
    number: str


class _Element(msgspec.Struct, gc=False):
    metric: Series
    value: _Point


class _Data(msgspec.Struct):
    result: msgspec.Raw


class _Body(msgspec.Struct):
    data: _Data


_BODIES = msgspec.json.Decoder(_Body)
_VECTORS = msgspec.json.Decoder(list[_Element])


class Envelope(requests.Response):
    """A response whose `json()` leaves the result as bytes, for `to_samples` or `plain`."""

    @classmethod
    def of(cls, response: requests.Response, body: bytes) -> Envelope:
        """The response with a body that was read in parts, for which requests has no other way."""
        envelope = cls()
        envelope.__dict__.update(response.__dict__, _content=body, _content_consumed=True)
        return envelope

    def json(self, **_: Any) -> dict[str, dict[str, msgspec.Raw]]:
        """The client library takes `["data"]["result"]` of it. Raises msgspec.DecodeError."""
        return {"data": {"result": _BODIES.decode(self.content).data.result}}


def to_samples(result: msgspec.Raw) -> list[Sample]:
    """The JSON of an instant vector. Raises QueryRefusedError for anything else; NaN and Inf are judged later."""
    try:
        return [Sample(float(element.value.number), element.metric) for element in _VECTORS.decode(result)]
    except ValueError as error:
        raise QueryRefusedError(f"the answer is no instant vector: {error}") from error


def plain(result: msgspec.Raw) -> Any:
    """The JSON of any result."""
    return msgspec.json.decode(result)
