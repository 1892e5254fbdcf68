"""What can go wrong with a query, each with the kind that data states and messages name.

PrometheusError
├── UnauthorizedError  401, 403: the token or its rights
├── QueryRefusedError  any other answer that is not 200, and 200 with something that is no instant vector
├── TooLargeError      the answer exceeds the bound
└── TooSlowError       the answer did not end in time
"""

from __future__ import annotations

import json

import msgspec
import requests
import urllib3

from mediapipeline_operator.core.scaling import Problem, ProblemKind

MESSAGE_LENGTH = 200


class PrometheusError(Exception):
    """Base of this module's errors."""

    kind = ProblemKind.QUERY_ERROR


class UnauthorizedError(PrometheusError):
    kind = ProblemKind.UNAUTHORIZED


class QueryRefusedError(PrometheusError):
    kind = ProblemKind.QUERY_ERROR


class TooLargeError(PrometheusError):
    kind = ProblemKind.QUERY_ERROR


class TooSlowError(PrometheusError):
    kind = ProblemKind.TIMEOUT


def from_response(status: int, body: bytes) -> PrometheusError:
    """The error of an answer that is not 200, with Prometheus' own words where it has any."""
    text = f"HTTP {status}: {_words(body)}"
    return UnauthorizedError(text) if status in (401, 403) else QueryRefusedError(text)


def _words(body: bytes) -> str:
    try:
        said = json.loads(body).get("error", "")
    except (ValueError, AttributeError):
        said = body.decode("utf-8", "replace")
    return str(said).strip()[:MESSAGE_LENGTH]


def to_problem(error: Exception, url: str) -> Problem:
    """The problem that a failed query is reported as. Every message says which server it is about."""
    if isinstance(error, PrometheusError):
        return Problem(error.kind, f"Prometheus at {url}: {error}")
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        return Problem(ProblemKind.QUERY_ERROR, f"Prometheus at {url} answered with something that is not JSON")
    if isinstance(error, requests.Timeout) or _is_read_timeout(error):
        return Problem(ProblemKind.TIMEOUT, f"Prometheus at {url} did not answer in time")
    if isinstance(error, requests.ConnectionError | OSError):
        return Problem(ProblemKind.DOWN, f"Prometheus at {url} cannot be reached: {type(error).__name__}")
    return Problem(ProblemKind.QUERY_ERROR, f"Prometheus at {url}: {type(error).__name__}: {error}"[:MESSAGE_LENGTH])


def _is_read_timeout(error: Exception) -> bool:
    """requests turns a time-out in the middle of a streamed body into a ConnectionError."""
    return any(isinstance(cause, urllib3.exceptions.TimeoutError) for cause in error.args)


def is_transport(problem: Problem) -> bool:
    """Whether the server itself, not one query, is the trouble."""
    return problem.kind in (ProblemKind.DOWN, ProblemKind.TIMEOUT)
