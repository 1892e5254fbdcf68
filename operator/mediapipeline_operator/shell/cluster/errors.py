"""What can go wrong between us and the API server.

ClusterError                 anything below
 ├─ Unreachable              no answer: refused, reset, timed out; a write may have happened all the same, so observe before the next
 └─ ApiError                 an answer with an error status
     ├─ Unauthorized  401    credentials are refused
     ├─ Forbidden     403    RBAC or admission says no
     ├─ NotFound      404    the object, or its kind, does not exist
     ├─ Conflict      409    the object changed since it was observed
     ├─ Gone          410    a list or watch must start over
     └─ Throttled     429    come back after `retry_after_seconds`
NotLeader                    the lease is not held safely enough to start a write
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClusterError(Exception):
    """The API server could not be asked, or said no."""


class Unreachable(ClusterError):
    """No usable answer came in time."""


class NotLeader(ClusterError):
    """This process may not write now."""


class ApiError(ClusterError):
    """An error answer: HTTP status, the Status object's reason and message."""

    def __init__(self, status: int, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class Gone(ApiError):
    pass


class Throttled(ApiError):
    pass


_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone, 429: Throttled}


def api_error(status: int, body: Mapping[str, Any], retry_after_seconds: float | None = None) -> ApiError:
    """The error for an HTTP status and the Status object that came with it."""
    kind = _BY_STATUS.get(status, ApiError)
    return kind(status, str(body.get("reason") or ""), str(body.get("message") or "no message"), retry_after_seconds)
