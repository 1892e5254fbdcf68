"""What can go wrong between us and the API server.

ClusterError                  anything below
 ├─ UnreachableError          no answer: refused, reset, timed out; a write may have happened, observe before the next
 ├─ NotLeaderError            the lease is not held safely enough to start a write
 └─ ApiError                  an answer with an error status
     ├─ UnauthorizedError 401 credentials are refused
     ├─ ForbiddenError    403 RBAC or admission says no
     ├─ NotFoundError     404 the object, or its kind, does not exist
     ├─ ConflictError     409 the object changed since it was observed
     ├─ GoneError         410 a list or watch must start over
     └─ ThrottledError    429 come back after `retry_after_seconds`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClusterError(Exception):
    """The API server could not be asked, or said no."""


class UnreachableError(ClusterError):
    """No usable answer came in time."""


class NotLeaderError(ClusterError):
    """This process may not write now."""


class ApiError(ClusterError):
    """An error answer: HTTP status, the Status object's reason and message."""

    def __init__(self, status: int, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class UnauthorizedError(ApiError):
    pass


class ForbiddenError(ApiError):
    pass


class NotFoundError(ApiError):
    pass


class ConflictError(ApiError):
    pass


class GoneError(ApiError):
    pass


class ThrottledError(ApiError):
    pass


_BY_STATUS = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: ThrottledError,
}


def api_error(status: int, body: Mapping[str, Any], retry_after_seconds: float | None = None) -> ApiError:
    """The error for an HTTP status and the Status object that came with it."""
    kind = _BY_STATUS.get(status, ApiError)
    return kind(status, str(body.get("reason") or ""), str(body.get("message") or "no message"), retry_after_seconds)
