"""What every request of a server has: an id, a deadline, a key's quota, a span; the document that
describes them; and the client's retries. In this process, without models."""

import asyncio
import json
import logging
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from live_server import NONE

from stpe.client import AsyncClient, Client, RequestFailedError, Retry
from stpe.errors import UsageError
from stpe.serve import keys, tracing
from stpe.serve.app import create_app
from stpe.serve.failures import TooManyRequestsError
from stpe.serve.keys import ApiKey, Quotas

TestClient = pytest.importorskip("starlette.testclient").TestClient


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Starts a server in this process with some variables; a client of it."""
    running = []

    def start(**variables):
        settings = {
            "STPE_SERVE_MODELS": NONE,
            "STPE_SERVE_PROFILE": "embedded",
            "STPE_JOBS_URL": f"sqlite:///{tmp_path}/jobs.sqlite3",
            "STPE_JOBS_DATASET": str(tmp_path / "dataset"),
        }
        for name, value in {**settings, **variables}.items():
            monkeypatch.setenv(name, value)
        client = TestClient(
            create_app(), base_url="http://localhost", raise_server_exceptions=False
        )
        running.append(client.__enter__())
        return client

    yield start
    for client in running:
        client.__exit__(None, None, None)


def test_every_answer_has_an_id_that_is_in_the_log_and_in_problems(app, monkeypatch, caplog):
    client = app()
    given = {"X-Request-ID": "client-7"}
    assert client.get("/health", headers=given).headers["X-Request-ID"] == "client-7"
    failed = client.get("/status/none", headers=given)
    assert failed.json()["request_id"] == failed.headers["X-Request-ID"] == "client-7"
    unasked = client.get("/health", headers={"X-Request-ID": "two words"})
    assert re.fullmatch("[0-9a-f]{32}", unasked.headers["X-Request-ID"])

    def broken(self):
        raise RuntimeError("a bug")

    from stpe.serve.request import WithRequestId
    from stpe.serve.roles import Roles

    monkeypatch.setattr(Roles, "states", broken)
    caplog.handler.addFilter(WithRequestId())
    caplog.handler.setFormatter(logging.Formatter("%(message)s%(request)s"))
    bug = client.get("/health", headers=given)
    assert bug.status_code == 500
    assert bug.json()["request_id"] == bug.headers["X-Request-ID"] == "client-7"
    assert "unexpectedly [client-7]" in caplog.text


def test_a_request_past_its_deadline_is_a_504(app):
    body = {"input": {"operation": "list_videos"}}
    client = app(STPE_SERVE_REQUEST_SECONDS="30")
    jobs = client.app.state.jobs

    async def forever(*arguments):
        await asyncio.sleep(60)

    jobs.call = forever
    begun = time.monotonic()
    late = client.post("/run", json=body, headers={"X-Request-Timeout": "0.3"})
    assert time.monotonic() - begun < 20
    assert late.status_code == 504
    assert late.json()["type"] == "urn:stpe:error:deadline"
    assert late.headers["X-Request-ID"]
    wrong = client.post("/run", json=body, headers={"X-Request-Timeout": "soon"})
    assert wrong.status_code == 422
    del jobs.call


def test_keys_have_names_and_quotas(app, tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text('[carol]\nkey = "carol-key"\nconcurrent_jobs = 1\n')
    client = app(
        STPE_API_KEY="the-servers-own",
        STPE_API_KEYS="alice:alice-key:3,bob:bob-key-0",
        STPE_API_KEYS_FILE=str(file),
    )

    def ask(key, **more):
        return client.get("/sessions/none", headers={"X-API-Key": key}, **more).status_code

    assert [ask("alice-key") for _ in range(5)] == [404, 404, 404, 429, 429]
    refused = client.get("/x", headers={"Authorization": "Bearer alice-key"})
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    assert [ask("bob-key-0") for _ in range(5)] == [404] * 5
    assert ask("the-servers-own") == 404
    assert ask("alice-kez") == 401

    store = client.app.state.jobs.runner.store
    store.submit("process_video", "elsewhere", {}, None, "carol")
    body = {"input": {"operation": "list_videos"}}
    more = client.post("/run", json=body, headers={"X-API-Key": "carol-key"})
    assert more.status_code == 429
    assert "carol has 1 jobs" in more.json()["detail"]
    assert int(more.headers["Retry-After"]) >= 1
    assert client.post("/run", json=body, headers={"X-API-Key": "bob-key-0"}).status_code == 200
    purged = client.post("/v2/e/purge-queue", headers={"X-API-Key": "bob-key-0"}).json()
    assert purged["removed"] in (0, 1)  # its own, where it still waits; never carol's
    assert store.counts()[0]["IN_QUEUE"] == 1


def test_quotas_are_shared_and_slide(tmp_path):
    one, two = (Quotas(tmp_path / "quotas.sqlite3") for _ in range(2))
    key = ApiKey(name="a", key="12345678", requests_per_minute=10)
    for n in range(10):
        (one, two)[n % 2].take(key, 30.0)
    for quotas in (one, two):
        with pytest.raises(TooManyRequestsError) as full:
            quotas.take(key, 31.0)
        assert full.value.retry_after_s == pytest.approx(29)
    with pytest.raises(TooManyRequestsError):  # nine tenths of them are within the last minute
        one.take(key, 60.0)
    two.take(key, 66.1)
    one.close()
    two.close()


def test_wrong_keys_are_one_line():
    for text, says in (
        ("alice", "key"),
        ("alice:short", "key"),
        ("a b:12345678", "name"),
        ("a:12345678:0", "requests_per_minute"),
        ("a:12345678,a:87654321", "once"),
    ):
        with pytest.raises(UsageError, match=says):
            keys.from_environment({"STPE_API_KEYS": text})
    with pytest.raises(UsageError, match="cannot be read"):
        keys.from_environment({"STPE_API_KEYS_FILE": "/none.toml"})
    variables = {"STPE_API_KEYS": "a:12345678"}
    keys.make_own_key(keys.from_environment(variables), variables)
    assert len(variables["STPE_API_KEY"]) > 20


def test_spans_of_a_request_belong_to_the_callers_trace(app, monkeypatch):
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing.trace, "get_tracer", provider.get_tracer)
    client = app()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"input": {"operation": "list_videos"}}
    client.post("/runsync", json=body, headers={"traceparent": parent}).raise_for_status()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    served = spans["POST /runsync"]
    assert f"{served.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert served.attributes["http.response.status_code"] == 200
    assert served.attributes["stpe.request_id"]
    assert "job list_videos" in spans


def test_every_answer_has_a_schema_and_every_body_an_example_that_is_taken(app):
    client = app()
    document = client.get("/openapi.json").json()
    there = document["components"]["schemas"]
    for ref in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert ref in there, ref
    bodies = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method} {path}"
            for status, answer in operation["responses"].items():
                if status.startswith("2") and status != "204":
                    assert answer.get("content"), f"{name} {status}"
                    for kind, content in answer["content"].items():
                        assert content.get("schema"), f"{name} {status} {kind}"
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                assert content.get("examples"), f"{name} {kind}"
                for example in content["examples"].values():
                    taken(client, method, path, kind, example["value"])
                    bodies += 1
    assert bodies > 15


def taken(client, method, path, kind, body):
    """The server understands the body, whatever becomes of it."""
    address = re.sub(r"\{.*?\}", "none", path)
    how = {"json": body} if kind == "application/json" else {"content": body.encode()}
    answer = client.request(method, address, **how)
    assert answer.status_code in (200, 403, 404, 409, 422, 503), (path, answer.text)
    if answer.status_code == 422:
        assert answer.json()["type"] != "urn:stpe:error:validation", (path, answer.text)


class Moody(BaseHTTPRequestHandler):
    """Refuses twice, then answers; breaks an event stream off, then goes on with it."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.headers.get("Last-Event-ID") or self.path)
        if self.path.startswith("/status"):
            said = {"id": "7", "status": "COMPLETED", "operation": "x", "output": {"n": 1}}
            return self.say(200, json.dumps(said))
        if self.path.endswith("/events"):
            goes_on = self.headers.get("Last-Event-ID") == "0"
            status = "COMPLETED" if goes_on else "IN_PROGRESS"
            event = json.dumps({"id": "7", "status": status, "progress": 0.5, "stage": None})
            self.send_response(200)
            self.send_header("Content-Length", "9999")  # more than comes
            self.end_headers()
            self.wfile.write(f"id: {int(goes_on)}\ndata: {event}\n\n".encode())
            return None
        if len(self.asked) < 3:
            return self.say(503, "{}", ("Retry-After", "0"))
        return self.say(200, '{"status": "healthy"}')

    def say(self, status, text, *headers):
        self.send_response(status)
        for header in (("Content-Length", str(len(text))), *headers):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def moody():
    kind = type("Fresh", (Moody,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind.asked
    server.shutdown()
    thread.join()
    server.server_close()


RETRY = Retry(times=3, first_s=0.01)


def test_the_client_tries_again_and_goes_on(moody):
    url, asked = moody
    with Client(url, retry=RETRY) as client:
        assert client.health() == {"status": "healthy"}
        assert len(asked) == 3
        assert [e.status for e in client.follow("7")] == ["IN_PROGRESS", "COMPLETED"]
        assert asked[-1] == "0"
        assert client.wait("7") == {"n": 1}
    asked.clear()
    with Client(url) as client, pytest.raises(RequestFailedError):
        client.health()
    assert len(asked) == 1


def test_its_twin_does_the_same(moody):
    url, _ = moody

    async def ask():
        async with AsyncClient(url, retry=RETRY) as client:
            assert await client.health() == {"status": "healthy"}
            events = [event.status async for event in client.follow("7")]
            assert events == ["IN_PROGRESS", "COMPLETED"]
            assert await client.wait("7") == {"n": 1}

    asyncio.run(ask())
    names = {n for n in vars(Client) if not n.startswith("_")}
    assert names == {n for n in vars(AsyncClient) if not n.startswith("_")}
