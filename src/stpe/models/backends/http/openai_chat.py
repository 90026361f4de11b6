"""Captions from any endpoint that speaks OpenAI's chat protocol: vLLM, SGLang, hosted models.

`--model captioner=http://host:8000/v1` uses the first model that the endpoint offers, and
`http://host:8000/v1#name` the one called so. The key, where one is needed, is read from the
environment variable STPE_CAPTIONER_KEY when a request is made; it is stored nowhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import cv2

from stpe.errors import ModelError, UsageError
from stpe.models.captioning import SYSTEM, Level, parse, prompt
from stpe.video.frame import ImageHW3

KEY = "STPE_CAPTIONER_KEY"
_ATTEMPTS = 3
_LARGEST_ANSWER = 4 << 20  # bytes


class OpenAIChat:
    """Role Captioner.

    Args:
        url: the endpoint's base, such as `http://host:8000/v1`; a fragment names the model.
        timeout_s: of one request.
        side: images are shrunk to a long side of at most this many pixels.
        tokens: words of an answer, at most.
    """

    def __init__(self, url: str, timeout_s: float, side: int, tokens: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is not an http address of a captioner")
        if parts.username or parts.password:
            raise UsageError(
                f"put the key into the environment variable {KEY}, not into the address"
            )
        path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
        self._base = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._model = parts.fragment
        self._timeout_s = timeout_s
        self._side = side
        self._tokens = tokens
        # A redirect would carry the key to another host.
        self._opener = urllib.request.build_opener(_NoRedirect)

    def caption(
        self, images: Sequence[ImageHW3], facts: str, context: str = "", previous: str = ""
    ) -> dict[Level, str]:
        """Three granularities from one request.

        Raises:
            UsageError: there is no image.
            ModelError: the endpoint cannot be reached, refuses, or answers with nothing.
        """
        if not images:
            raise UsageError("a caption needs at least one image")
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": self._picture(image)}} for image in images
        ]
        content.append({"type": "text", "text": prompt(facts, context, previous)})
        body = {
            "model": self._name(),
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": content},
            ],
            "max_tokens": self._tokens,
            "temperature": 0,
        }
        answer = self._request("/chat/completions", body)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ModelError(f"{self._base} gave no chat completion: {str(answer)[:200]}")
        return parse(text)

    def _name(self) -> str:
        if not self._model:
            offered = self._request("/models")
            try:
                self._model = str(offered["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                raise ModelError(
                    f"{self._base} lists no model; name one: captioner={self._base}#name"
                ) from None
        return self._model

    def _picture(self, image: ImageHW3) -> str:
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()

    def _request(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer; a busy or failing endpoint is asked again, a little later each time."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(KEY)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(self._base + path, data, headers)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._opener.open(request, timeout=self._timeout_s) as reply:
                    return json.loads(reply.read(_LARGEST_ANSWER))
            except urllib.error.HTTPError as error:
                with error:
                    detail = error.read(300).decode("utf-8", "replace").strip()
                again = error.code == 429 or error.code >= 500
                problem = f"answered {error.code}: {detail}"
                if error.code in (401, 403):
                    problem = f"refused the key (status {error.code}); set {KEY}"
            except (OSError, http.client.HTTPException) as error:
                again, problem = True, f"cannot be reached: {error}"
            except ValueError:
                again, problem = False, "answered something that is not JSON"
            if not again or attempt == _ATTEMPTS:
                break
            time.sleep(0.5 * 2**attempt)
        raise ModelError(f"the captioner at {self._base} {problem}")

    def close(self) -> None:
        """Nothing is held."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> OpenAIChat:
    """Options: `url` (required), `timeout_s` (default 120), `side` (default 768), `tokens`
    (default 512).

    Raises:
        UsageError: there is no address, or it is none.
    """
    if "url" not in options:
        raise UsageError("say where the captioner is: --model captioner=http://host:8000/v1")
    return OpenAIChat(
        options["url"],
        options.get("timeout_s", 120.0),
        options.get("side", 768),
        options.get("tokens", 512),
    )
