"""What stands before every API: slow, silent and many connections; tickets; the page of the API."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from live_server import NONE, live_server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from stpe.client import Client, RequestFailedError
from stpe.serve import tickets
from stpe.serve.admission import Admission
from stpe.serve.body import Body
from stpe.serve.failures import BusyError, TooLargeError, TooManyRequestsError
from stpe.serve.protocol import Connections
from stpe.serve.services import BodyRule
from stpe.serve.settings import Settings

KEY = "correct horse"
ADDRESS_CONNECTIONS = 8
WORDS = {
    "STPE_SERVE_MODELS": NONE,
    "STPE_SERVE_HEAD_SECONDS": "1",
    "STPE_SERVE_IDLE_BODY_SECONDS": "5",
    "STPE_SERVE_BODY_SECONDS": "6",
    "STPE_SERVE_MAX_ADDRESS_CONNECTIONS": str(ADDRESS_CONNECTIONS),
    "STPE_SERVE_MEMORY_BYTES": "2000000",
    "STPE_SERVE_CORS_ORIGINS": "https://studio.example",
}
STREAM = "/api/v1/video/ws/propagate/0"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    with live_server(folder, key=KEY, **WORDS) as client:
        client.log = folder / "server.log"
        yield client


@contextlib.contextmanager
def sent(client, data=b"", wait_s=30):
    """A connection that has sent this much."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=wait_s) as connection:
        connection.sendall(data)
        yield connection


def answer(connection):
    """All that comes until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            data += piece
    return data


def head(size, path="/infer"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def test_a_connection_that_says_nothing_or_too_little_is_closed(guarded):
    for begun in (b"", b"GET /health HTTP/1.1\r\nHost: local", b"GET /health HTTP/1.1\r\nX: "):
        with sent(guarded, begun) as connection:
            assert answer(connection).startswith(b"HTTP/1.1 408")
    with sent(guarded, b"GET /health HTTP/1.1\r\nHost: localhost\r\n") as connection:
        with contextlib.suppress(OSError):
            for i in range(100):  # a line now and then, for ever
                connection.sendall(f"X-{i}: 1\r\n".encode())
                time.sleep(0.1)
        assert i < 99


def test_a_head_that_never_ends_is_refused(guarded):
    with sent(guarded, b"GET / HTTP/1.1\r\nHost: localhost\r\n") as connection:
        with contextlib.suppress(OSError):
            for i in range(2000):
                connection.sendall(f"X-{i}: {'x' * 1000}\r\n".encode())
        assert i < 1999 or b"431" in answer(connection)


def test_a_second_request_on_a_connection_has_a_time_too(guarded):
    whole = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with sent(guarded, whole + b"GET /health/li") as connection:
        told = answer(connection)
    assert told.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in told


def test_who_goes_on_sending_after_the_answer_is_not_listened_to(guarded):
    begun = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx"
    with sent(guarded, begun) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_a_body_that_trickles_is_refused_though_it_is_never_idle(guarded):
    with sent(guarded, head(100)) as connection:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 30:
                connection.sendall(b" ")
                time.sleep(0.3)
        assert time.monotonic() - begun < 29


def test_what_is_only_announced_takes_no_memory_and_no_place(guarded):
    """Five bodies of 600 kB are announced, which would be nine megabytes where two may be held."""
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(sent(guarded, head(600_000) + b"{"))
        with pytest.raises(RequestFailedError) as failed:
            guarded.call("POST", "/infer", content=b"[" + b" " * 300_000)
        assert failed.value.status in (400, 422)
        health = guarded.health()
        assert health["pending_requests"] == 0


def test_what_has_arrived_takes_memory_until_it_is_answered():
    """Bodies through the guard's own counting, where 1000 bytes may be held."""
    admission = Admission(4, 1_000)
    settings = Settings(host="127.0.0.1")

    def body(*pieces):
        waiting = [
            {"type": "http.request", "body": bytes(size), "more_body": i < len(pieces) - 1}
            for i, size in enumerate(pieces)
        ]

        async def receive():
            return waiting.pop(0)

        return receive

    async def whole(receive, held):
        await Body(receive, BodyRule("", 10_000, held=2.0), held, settings).gather()
        return held.size

    with admission.memory(0) as first:
        assert asyncio.run(whole(body(100, 100), first)) == 400
        with admission.memory(0) as second, pytest.raises(BusyError):
            asyncio.run(whole(body(200, 50, 100), second))
        assert admission.held_bytes == 400
        admission.check(600)
        with pytest.raises(BusyError):
            admission.check(601)
    with admission.memory(0) as one, pytest.raises(TooLargeError):
        asyncio.run(whole(body(400, 101), one))
    assert admission.held_bytes == 0
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(admission.request())
        with pytest.raises(TooManyRequestsError):
            admission.check(0)
    admission.check(0)


def test_an_address_has_so_many_connections_and_then_is_told_why(guarded):
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(sent(guarded, head(100) + b"{")) for _ in range(ADDRESS_CONNECTIONS)
        ]
        with sent(guarded) as one_more:
            told = answer(one_more)
        assert told.startswith(b"HTTP/1.1 503")
        assert b"your address has 8 connections" in told
        assert b"retry-after" in told.lower()
        del held
    assert eventually(lambda: guarded.health()["status"] == "healthy")


def eventually(holds, within_s=30):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if holds():
                return True
        time.sleep(0.1)
    return False


def test_connections_are_counted_by_network_and_in_all():
    class One:
        closed = False

        def is_closing(self):
            return self.closed

    open_ones = Connections(4, 2, 1.0)
    first, second = One(), One()
    assert open_ones.add(first, "10.0.0.1") is None
    assert open_ones.add(second, "10.0.0.1") is None
    assert "your address" in open_ones.add(One(), "10.0.0.1")
    second.closed = True
    assert open_ones.add(One(), "10.0.0.1") is None
    assert open_ones.add(One(), "2001:db8::1") is None
    assert open_ones.add(One(), "2001:db8::2") is None
    assert "4 connections" in open_ones.add(One(), "10.0.0.2")
    assert len(open_ones) == 4


# tickets ------------------------------------------------------------------------------------


def ticket(client, path, **more):
    return client.call("POST", "/api/v1/tickets", json={"path": path, **more}).json()["ticket"]


def opened(client, path, **options):
    return connect(f"ws://127.0.0.1:{client.port}{path}", **options)


def test_a_ticket_opens_a_socket_and_a_stream_and_nothing_else(guarded):
    one = ticket(guarded, STREAM)
    with opened(guarded, f"{STREAM}?ticket={one}") as stream:
        stream.send("{}")
        assert "no session by that id" in stream.recv(timeout=20)
    events = ticket(guarded, "/jobs/none/events")
    with Client(guarded.url) as stranger:
        for method, path, status in (
            ("GET", f"/jobs/none/events?ticket={events}", 404),
            ("GET", f"/jobs/none/events?ticket={one}", 401),
            ("GET", f"/jobs/none/events?ticket={events}x", 401),
            ("GET", "/jobs/none/events?ticket=", 401),
            ("GET", "/jobs/none/events?ticket=.", 401),
            ("GET", "/jobs/none/events?ticket=%C3%A9.%00", 401),
            ("GET", f"/jobs/other/events?ticket={events}", 401),
            ("POST", f"/jobs/none/events?ticket={events}", 401),
            ("POST", f"/api/v1/tickets?ticket={ticket(guarded, '/api/v1/tickets')}", 401),
        ):
            with pytest.raises(RequestFailedError) as failed:
                stranger.call(method, path)
            assert failed.value.status == status, path
    for path in (STREAM, f"{STREAM}?ticket={events}", f"{STREAM}x?ticket={one}"):
        with pytest.raises(InvalidStatus), opened(guarded, path):
            pass
    assert eventually(lambda: "ticket=..." in guarded.log.read_text())
    assert one not in guarded.log.read_text()


def test_a_ticket_ends_and_cannot_be_made_without_the_key():
    body, ends = tickets.issue(KEY, "/a", 60)
    assert 50 < ends - time.time() <= 60
    assert tickets.accepts(KEY, "/a", f"x=1&ticket={body}".encode())
    assert not tickets.accepts("another key", "/a", f"ticket={body}".encode())
    over, _ = tickets.issue(KEY, "/a", -1)
    assert not tickets.accepts(KEY, "/a", f"ticket={over}".encode())
    for odd in (b"", b"ticket", b"ticket=a.b", b"ticket=\xff.\xff", b"ticket=" + b"A" * 9999):
        assert not tickets.accepts(KEY, "/a", odd)


def test_pages_of_other_sites_open_no_socket_even_with_a_ticket(guarded):
    address = f"{STREAM}?ticket={ticket(guarded, STREAM)}"
    for origin in ("https://elsewhere.example", "null"):
        with pytest.raises(InvalidStatus), opened(guarded, address, origin=origin):
            pass
    for origin in ("https://studio.example", guarded.url):
        with opened(guarded, address, origin=origin) as stream:
            stream.send("{}")
            assert stream.recv(timeout=20)


def test_a_socket_that_says_nothing_is_closed(guarded):
    headers = {"X-API-Key": KEY}
    with (
        opened(guarded, STREAM, additional_headers=headers) as stream,
        pytest.raises(ConnectionClosed),
    ):
        stream.recv(timeout=20)


# the page -----------------------------------------------------------------------------------


def test_the_page_of_the_api_asks_nobody_else_and_holds_nothing(guarded):
    with Client(guarded.url) as browser:
        page = browser.call("GET", "/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(parts) == 3
        for part in parts:
            found = browser.call("GET", f"/{part}")
            assert len(found.content) > 500
            assert found.headers["x-content-type-options"] == "nosniff"
        assert "http" not in page.text
        for path, status in (("/openapi.json", 401), ("/docs/favicon.png", 401)):
            with pytest.raises(RequestFailedError) as failed:
                browser.call("GET", path)
            assert failed.value.status == status
    assert "/api/v1/tickets" in guarded.call("GET", "/openapi.json").json()["paths"]


# the supervisor -----------------------------------------------------------------------------


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_that_dies_is_started_again_and_both_end_together(tmp_path):
    with live_server(tmp_path, STPE_SERVE_MODELS=NONE) as client:
        (first,) = children(client.pid)
        os.kill(first, signal.SIGSEGV)
        assert eventually(lambda: children(client.pid) not in ([], [first]), 60)
        client.wait_ready(120)
        (second,) = children(client.pid)
    assert not Path(f"/proc/{second}").exists()
    log = (tmp_path / "server.log").read_text()
    assert "the server process died (SIGSEGV); it starts again in 1 s" in log
    assert "Fatal Python error: Segmentation fault" in log
