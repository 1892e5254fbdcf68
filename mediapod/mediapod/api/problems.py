"""Errors as RFC 9457 problem JSON that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  named as RFC 9457 names it
    """An answer that is an error: status, what is wrong and what would be right, and the field if there is one."""

    def __init__(
        self, status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.headers = status, detail, field, headers


def problem_response(problem: Problem) -> JSONResponse:
    """The response for a problem."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
    }
    body["detail"] = problem.detail
    if problem.field is not None:
        body["field"] = problem.field
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem: ours, the framework's (404, 405) and unexpected ones (500, logged)."""

    @app.exception_handler(Problem)
    async def ours(request: Request, problem: Problem) -> JSONResponse:
        return problem_response(problem)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(
            Problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
        )

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, exc_info=error)
        return problem_response(Problem(500, "an internal error; the log has the details"))
