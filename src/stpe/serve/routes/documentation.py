"""`/docs`, or `/redoc`: the API in Swagger UI, without any address but this server's.

The page itself holds nothing of the server and needs no key; it asks for one where the server does,
keeps it in the page's memory, and sends it as a header like any other client.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from stpe.serve.failures import NotFoundError
from stpe.serve.services import Feature

router = APIRouter(include_in_schema=False)

#: Paths of the page, which are answered without a key.
PATHS = (
    "/docs",
    "/redoc",
    "/docs/start.js",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
)
#: Scripts of this server only; Swagger UI sets styles of its own and draws its icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>STPE: the API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<form id="ask" hidden>
<label>API key <input id="key" type="password" autocomplete="off" required></label>
<button>Show the API</button>
<p id="wrong" hidden>The server does not know this key.</p>
</form>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """"use strict";
let key = "";

async function show() {
  const headers = key ? {Authorization: `Bearer ${key}`} : {};
  const answer = await fetch("openapi.json", {headers});
  const ask = document.getElementById("ask");
  ask.hidden = answer.status !== 401;
  document.getElementById("wrong").hidden = !key || answer.ok;
  if (!answer.ok) return;
  SwaggerUIBundle({
    dom_id: "#ui",
    spec: await answer.json(),
    deepLinking: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (key) request.headers.Authorization = `Bearer ${key}`;
      return request;
    },
  });
}

document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  key = document.getElementById("key").value;
  show();
});
show();
"""


@cache
def _files() -> Path | None:
    """Where the package with Swagger UI keeps it; None without the package."""
    found = find_spec("fastapi_offline")
    places = [] if found is None else list(found.submodule_search_locations or [])
    return Path(places[0], "static") if places else None


@router.get("/docs")
@router.get("/redoc")
async def page() -> Response:
    """The page, also where the prototypes had theirs."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/{name}")
async def part(name: str) -> Response:
    """What the page loads."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_HEADERS)
    folder = _files()
    if folder is None or f"/docs/{name}" not in PATHS:
        raise NotFoundError("the page has no such part; pip install 'stpe[serve]' brings all")
    return FileResponse(folder / name, headers=_HEADERS)


FEATURE = Feature(router)
