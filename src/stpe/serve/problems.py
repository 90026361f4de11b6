"""Every failure as one RFC 9457 problem document, with the prototype's `error` beside it."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stpe.errors import StpeError
from stpe.serve import request
from stpe.serve.failures import BusyError

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One wrong value of a body, path or query."""

    loc: list[str | int] = Field(description="where it is")
    msg: str
    type: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(description="`urn:stpe:error:` and the kind of error, or about:blank")
    title: str
    status: int
    detail: str = Field(description="what is wrong and what to do")
    error: str = Field(description="the same as `detail`")
    request_id: str | None = Field(
        default=None, description="as `X-Request-ID` of the request or the answer has it"
    )
    errors: list[FieldProblem] | None = Field(
        default=None, description="each wrong value of the request, where there are several"
    )


class ProblemResponse(Response):
    """A problem document; whatever text is in it, it is written in ASCII."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """JSON bytes."""
        return json.dumps(content, allow_nan=False).encode("ascii")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for failures an operation can have, beside those any can have."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    named: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
    return {**named, "default": {"description": "Any failure", "content": content}}


def document(status: int, detail: str, kind: str = "about:blank") -> dict[str, Any]:
    """The fields every problem has."""
    title = HTTPStatus(status).phrase
    found = {"type": kind, "title": title, "status": status, "detail": detail, "error": detail}
    identity = request.request_id()
    return found if identity is None else {**found, "request_id": identity}


def retry_after(status: int) -> dict[str, str]:
    """The header of an answer that does not know itself when to come again."""
    return {"Retry-After": "60"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def of_error(error: StpeError) -> ProblemResponse:
    """The answer to an error that was foreseen."""
    name = type(error).__name__.removesuffix("Error")
    kind = "urn:stpe:error:" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
    headers = retry_after(error.http_status)
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    body = document(error.http_status, str(error), kind)
    return ProblemResponse(body, error.http_status, headers)


async def answer_early(error: StpeError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before the body has been read; the connection cannot be used again then."""
    response = of_error(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)


def of_unforeseen(error: BaseException) -> ProblemResponse:
    """The answer to a bug: nothing of it leaves the server but that it happened."""
    log.error("a request failed unexpectedly", exc_info=error)
    body = document(500, "the server failed on this request; its log says more")
    identity = request.request_id()  # this answer passes nothing that could add the header
    return ProblemResponse(body, 500, {} if identity is None else {request.HEADER: identity})


def _validation(errors: Sequence[Any]) -> ProblemResponse:
    fields = [{"loc": list(e["loc"]), "msg": str(e["msg"]), "type": str(e["type"])} for e in errors]
    first = fields[0] if fields else {"loc": ["body"], "msg": "wrong", "type": "value_error"}
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    body = document(422, f"{where}: {first['msg']}{more}", "urn:stpe:error:validation")
    return ProblemResponse({**body, "errors": fields}, 422)


def install(app: FastAPI) -> None:
    """Answer every failure of the application in this form."""

    @app.exception_handler(StpeError)
    async def foreseen(_: Request, error: StpeError) -> Response:
        if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request failed: %s", error, exc_info=error)
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _validation(error.errors())

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        body = document(error.status_code, str(error.detail))
        return ProblemResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return of_unforeseen(error)
