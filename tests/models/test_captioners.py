"""Answers of every shape are read; an endpoint is asked through a real local server."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from stpe.errors import ModelError, UsageError
from stpe.models import loader
from stpe.models.backends.http import openai_chat
from stpe.models.captioning import parse

FULL = {"brief": "A dog runs.", "normal": "A dog runs left.", "detailed": "A dog. It runs left."}
IMAGE = np.full((600, 1200, 3), (200, 30, 40), np.uint8)


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(FULL),
        "Sure! Here it is:\n```json\n" + json.dumps(FULL, indent=2) + "\n```\nAnything else?",
        json.dumps({key.title(): value for key, value in FULL.items()}),
        "Brief: A dog runs.\nNormal: A dog runs left.\nDetailed: A dog. It runs left.",
        "**Brief:** A dog runs.\n\n**Normal:** A dog runs left.\n\n"
        "**Detailed:** A dog. It runs left.",
        json.dumps(FULL)[:-2],  # cut off at the last word
    ],
)
def test_every_form_of_answer_is_read(answer: str) -> None:
    assert parse(answer) == FULL


def test_what_is_missing_is_made_of_the_rest() -> None:
    assert parse("A dog runs. It is brown. It barks.") == {
        "brief": "A dog runs.",
        "normal": "A dog runs. It is brown.",
        "detailed": "A dog runs. It is brown. It barks.",
    }
    assert parse('{"brief": "A dog."}') == dict.fromkeys(("brief", "normal", "detailed"), "A dog.")
    with pytest.raises(ModelError, match="empty"):
        parse("  \n")


class _Endpoint(ThreadingHTTPServer):
    """What an OpenAI-compatible server does with two routes, failing when told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.answer: Any = {"choices": [{"message": {"content": json.dumps(FULL)}}]}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: _Endpoint

    def do_GET(self) -> None:
        self._reply({"data": [{"id": "tiny-vl"}]} if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        self._reply(self.server.answer if self.path == "/v1/chat/completions" else None)

    def _reply(self, answer: Any) -> None:
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        data = json.dumps(answer).encode()
        self.send_response(status if answer is not None else 404)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/stolen")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[_Endpoint]:
    with _Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_address_is_a_captioner(endpoint: _Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(openai_chat.KEY, "sesame")
    model = loader.resolve("embedded", {"captioner": endpoint.url}).models["captioner"]
    captioner = loader.load(model)
    told = captioner.caption([IMAGE, IMAGE], "One dog, moving left.", "At the beach", "A cat sits.")
    assert told == FULL
    path, headers, body = endpoint.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sesame"
    assert body["model"] == "tiny-vl"
    assert body["temperature"] == 0
    *pictures, text = body["messages"][1]["content"]
    assert len(pictures) == 2
    jpeg = base64.b64decode(pictures[0]["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (384, 768, 3)
    assert np.abs(seen[0, 0].astype(int) - (40, 30, 200)).max() < 8
    for words in ("One dog, moving left.", "At the beach", "A cat sits."):
        assert words in text["text"]


def test_a_busy_endpoint_is_asked_again(
    endpoint: _Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_chat.time, "sleep", lambda _: None)
    captioner = openai_chat.load({}, {"url": endpoint.url + "#named"})
    endpoint.statuses = [503, 429]
    assert captioner.caption([IMAGE], "A dog.") == FULL
    assert endpoint.asked[-1][2]["model"] == "named"
    for statuses, reason in (
        ([500] * 3, "answered 500"),
        ([401], openai_chat.KEY),
        ([302], "answered 302"),
    ):
        endpoint.statuses = list(statuses)
        with pytest.raises(ModelError, match=reason):
            captioner.caption([IMAGE], "A dog.")
    endpoint.answer = {"error": "no such model"}
    with pytest.raises(ModelError, match="no chat completion"):
        captioner.caption([IMAGE], "A dog.")


def test_wrong_addresses_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_chat.time, "sleep", lambda _: None)
    with pytest.raises(UsageError, match="only a captioner"):
        loader.resolve("embedded", {"detector": "http://127.0.0.1:9/v1"})
    with pytest.raises(UsageError, match=openai_chat.KEY):
        openai_chat.load({}, {"url": "http://me:secret@127.0.0.1/v1"})
    with pytest.raises(UsageError, match="captioner=http"):
        openai_chat.load({}, {})
    with pytest.raises(ModelError, match="cannot be reached"):
        openai_chat.load({}, {"url": "http://127.0.0.1:9/v1#x"}).caption([IMAGE], "A dog.")
    with pytest.raises(UsageError, match="at least one image"):
        openai_chat.load({}, {"url": "http://127.0.0.1:9/v1#x"}).caption([], "A dog.")
