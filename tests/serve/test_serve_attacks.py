"""Hostile requests: each is its own 4xx, and the server lives on (its fixture checks that)."""

import asyncio
import base64
import http.server
import json
import os
import socket
import struct
import subprocess
import threading
import time
import zlib
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from live_server import COMMAND, NONE, live_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from stpe.client import Client, RequestFailedError
from stpe.engine import Engine
from stpe.errors import ModelError, SourceError, UsageError
from stpe.rle import encode_mask
from stpe.serve.failures import ForbiddenError, InvalidInputError, NotFoundError, TooLargeError
from stpe.serve.fetch import fetch, is_public
from stpe.serve.metrics import Metrics
from stpe.serve.paths import inside
from stpe.serve.payload import decode_base64
from stpe.serve.roles import Roles
from stpe.serve.routes import health
from stpe.serve.settings import Settings
from stpe.serve.video.masks import read_mask

KEY = "correct horse"


def refused(call, *arguments, **options):
    with pytest.raises(RequestFailedError) as failed:
        call(*arguments, **options)
    problem = failed.value.problem
    assert problem["status"] == failed.value.status
    assert "Traceback" not in json.dumps(problem)
    return failed.value


def raw(client, request, wait_s=5.0):
    """The status of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=wait_s) as connection:
        connection.sendall(request)
        return int(connection.recv(4096).split(b" ")[1])


def png_bomb(width=60_000, height=60_000):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def jpeg_bomb():
    frame = struct.pack(">BHHB", 8, 65_000, 65_000, 3) + bytes((1, 17, 0, 2, 17, 0, 3, 17, 0))
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def webp_bomb():
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (16_383).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.weights
@pytest.mark.parametrize(
    ("bomb", "mime"),
    [(png_bomb(), "image/png"), (jpeg_bomb(), "image/jpeg"), (webp_bomb(), "image/webp")],
)
def test_a_picture_that_would_burst_is_refused_by_its_header(live, bomb, mime):
    begun = time.process_time()
    failed = refused(live.infer, "object-detection", bomb, mime)
    assert failed.status == 413
    assert "pixels" in str(failed)
    assert time.process_time() - begun < 5


@pytest.mark.weights
def test_a_broken_picture_is_refused(live, people):
    whole = next(iter(people)).read_bytes()
    assert (
        refused(live.infer, "object-detection", whole[: len(whole) // 2], "image/jpeg").status
        == 422
    )
    assert refused(live.infer, "object-detection", whole[:4], "image/jpeg").status == 422


@pytest.mark.weights
def test_a_video_that_is_none_is_refused(live):
    data = b"\0\0\0\x18ftypmp42" + os.urandom(4000)
    failed = refused(live.infer, "velocity-estimation", data, "video/mp4")
    assert failed.status == 422
    assert "/tmp" not in str(failed)


def test_ten_gigabytes_are_refused_before_they_are_sent(bare):
    head = b"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert raw(bare, head + b"Content-Length: 10000000000\r\n\r\n{") == 413


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server with a key that waits a second for the rest of a body, and takes no large one."""
    limits = {"STPE_SERVE_MAX_BODY_BYTES": "100000", "STPE_SERVE_IDLE_BODY_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("strict")
    with live_server(folder, key=KEY, STPE_SERVE_MODELS=NONE, **limits) as client:
        yield client


def test_a_body_of_unknown_length_is_counted(strict):
    blocks = (b"[" + b" " * 9999 for _ in range(50))
    headers = {"Content-Type": "application/json"}
    failed = refused(strict.call, "POST", "/infer", content=blocks, headers=headers)
    assert failed.status == 413
    head = f"POST /infer HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n".encode()
    head += b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    assert raw(strict, head) == 408


def test_base64_of_any_kind():
    data = bytes(range(256))
    standard = base64.b64encode(data).decode()
    for text in (
        standard,
        base64.encodebytes(data).decode(),
        base64.encodebytes(data).decode().replace("\n", "\r\n"),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
        f"data:application/octet-stream;base64,{standard}",
        f" data:;base64,\n{standard}",
    ):
        assert decode_base64(text, "it") == data
    for wrong in ("AAAAA", "AA=A", "AA*A", "data:text/plain,AAAA", "AAAA\u00e9"):
        with pytest.raises(InvalidInputError):
            decode_base64(wrong, "it")


@pytest.mark.parametrize(
    ("payload", "says"), [("%%%%", "base64"), ("AAAAA", "base64"), ("", "payloadBase64")]
)
@pytest.mark.weights
def test_malformed_base64(live, payload, says):
    body = {"task": "object-detection", "payloadBase64": payload, "mimeType": "image/png"}
    failed = refused(live.call, "POST", "/infer", json=body)
    assert failed.status == 422
    assert says in str(failed)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"0.3x"', "[]"])
def test_options_that_are_no_numbers(bare, number):
    body = (
        '{"task": "velocity-estimation", "payloadBase64": "AAAA", "mimeType": "video/mp4",'
        f' "options": {{"threshold": 0.5, "meter_per_pixel": {number}}}}}'
    )
    failed = refused(
        bare.call, "POST", "/infer", content=body, headers={"Content-Type": "application/json"}
    )
    assert failed.status == 422
    assert "meter_per_pixel" in str(failed)


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"task": "\\ud800"}', b"null", b"1" * 5000, b""]
)
def test_bodies_that_are_no_json(bare, body):
    failed = refused(
        bare.call, "POST", "/infer", content=body, headers={"Content-Type": "application/json"}
    )
    assert failed.status in (400, 422)


def test_unknown_paths_and_methods(bare):
    assert refused(bare.call, "GET", "/nothing").status == 404
    assert refused(bare.call, "DELETE", "/infer").status == 405
    assert refused(bare.call, "GET", "/../../etc/passwd").status == 404


def test_pages_of_other_sites_are_refused_without_a_key(bare):
    for headers in (
        {"Host": "rebound.example:80"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Host": "["},
        {"Origin": "http://["},
    ):
        assert refused(bare.call, "GET", "/health", headers=headers).status == 403
    bare.call("GET", "/health", headers={"Origin": bare.url})


def test_the_key_is_needed_and_enough(strict):
    assert strict.call("GET", "/", headers={"X-API-Key": KEY}).is_success
    for headers in ({}, {"X-API-Key": "correct horsf"}, {"Authorization": "Basic x"}):
        with Client(strict.url) as stranger:
            assert refused(stranger.call, "GET", "/", headers=headers).status == 401
            assert refused(stranger.call, "POST", "/infer", headers=headers).status == 401
            assert stranger.health()["status"] == "healthy"
    odd = {"X-API-Key": "caf\xe9".encode("latin-1")}
    assert refused(strict.call, "GET", "/", headers=odd).status == 401
    socket_url = f"ws://127.0.0.1:{strict.port}/api/v1/video/ws/propagate/none"
    with pytest.raises(InvalidStatus) as unauthorised, connect(socket_url):
        pass
    assert unauthorised.value.response.status_code == 403
    with connect(socket_url, additional_headers={"X-API-Key": KEY}):
        pass


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"STPE_SERVE_HOST": "0.0.0.0"}, "STPE_API_KEY"),
        ({"STPE_SERVE_HOST": "::"}, "STPE_API_KEY"),
        ({"STPE_API_KEY": "short"}, "STPE_API_KEY"),
        ({"STPE_SERVE_PROT": "1"}, "STPE_SERVE_PROT"),
        ({"STPE_SERVE_MAX_PIXELS": "many"}, "STPE_SERVE_MAX_PIXELS"),
    ],
)
def test_unsafe_or_wrong_settings_do_not_start(settings, says):
    done = subprocess.run(
        [*COMMAND, "serve"], env={**os.environ, **settings}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def pending(client, count):
    """Wait until so many requests are being answered."""
    deadline = time.monotonic() + 10
    while client.health()["pending_requests"] != count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_clients_that_leave_stop_the_work_they_asked_for(live, shared_data):
    clip = (shared_data / "plain_clips" / "sam2_02_cups.mp4").read_bytes()
    body = {
        "task": "velocity-estimation",
        "payloadBase64": base64.b64encode(clip).decode(),
        "mimeType": "video/mp4",
        "options": {"max_frames": 2000, "max_pairs": 2000},
    }
    with Client(live.url, timeout_s=1.0) as hasty, pytest.raises(UsageError):
        hasty.call("POST", "/infer", json=body)
    pending(live, 0)
    assert 'route="/infer",status="500"' not in live.call("GET", "/metrics").text


# models and figures that fail --------------------------------------------------------------


@pytest.mark.parametrize("error", [ModelError("its weights are damaged"), KeyError("w")])
def test_requests_for_a_model_that_failed_share_no_exception(monkeypatch, error):
    """One that all of them raised would hold on to all of their bodies."""
    engine = Engine("embedded")

    def load(role):
        raise error

    monkeypatch.setattr(engine, "role", load)
    roles = Roles(engine, wait_s=20)

    async def ask():
        return await asyncio.gather(*(roles.get("detector") for _ in range(3)),
                                    return_exceptions=True)  # fmt: skip

    failures = [*asyncio.run(ask()), *asyncio.run(ask())]
    assert len({id(failure) for failure in (error, *failures)}) == 7
    assert {type(failure) for failure in failures} == {ModelError}
    says = "damaged" if isinstance(error, ModelError) else "log says more"
    assert all(says in str(failure) for failure in failures)
    assert says in roles.states()["detector"].reason
    roles.close()


def test_a_figure_that_fails_is_no_number_and_keeps_nobody_waiting():
    metrics, threads = Metrics(), []
    metrics.gauge("stpe_fails", "Fails", lambda: 1 / 0)
    metrics.gauge("stpe_works", "Works", lambda: threads.append(threading.current_thread()) or 2)
    answer = asyncio.run(health.metrics(SimpleNamespace(metrics=metrics)))
    assert b"stpe_fails NaN" in answer.body
    assert b"stpe_works 2.0" in answer.body
    assert threading.main_thread() not in threads


def test_a_job_without_its_model_says_when_to_come_again(bare):
    body = {"input": {"operation": "embed_text", "data": {"text": "a dog"}}}
    failed = refused(bare.call, "POST", "/runsync", json=body)
    assert failed.status == 503
    assert failed.retry_after_s >= 1


# masks -------------------------------------------------------------------------------------


def test_masks_are_read_as_they_were_written_and_never_at_a_length_no_mask_has():
    random = np.random.default_rng(0)
    stripes = np.repeat(np.arange(400) % 2, np.tile([1, 1, 17, 17], 100)).reshape(60, 60)
    for mask in [stripes == 1, *(random.random((37, 53)) < share for share in (0, 0.1, 0.5, 1))]:
        size, counts = mask.shape, encode_mask(mask)["counts"]
        assert (read_mask(size, counts, *size) == mask).all()
        for wrong in (counts[:-1], counts + "o", counts + "1", "0" * 5000, "oooooooo0", "\u00e9"):
            with pytest.raises(InvalidInputError):
                read_mask(size, wrong, *size)
    with pytest.raises(InvalidInputError, match="longer than a mask"):
        read_mask((480, 854), "0" * 50_000_000, 480, 854)


# paths and addresses ------------------------------------------------------------------------


def test_paths_stay_below_their_roots(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-beside"
    (root / "in").mkdir(parents=True)
    outside.mkdir()
    (root / "in" / "a.mp4").write_bytes(b"a")
    (outside / "b.mp4").write_bytes(b"b")
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "fine").symlink_to(root / "in")
    assert inside("in/a.mp4", [root]) == root / "in" / "a.mp4"
    assert inside(str(root / "fine" / "a.mp4"), [root]) == root / "in" / "a.mp4"
    for path in ("../root-beside/b.mp4", str(outside / "b.mp4"), "link/b.mp4", "/etc/passwd",
                 "in/../../root-beside/b.mp4", "link/nothing"):  # fmt: skip
        with pytest.raises(ForbiddenError):
            inside(path, [root])
    for path in ("in/none.mp4", "loop", "in/\0", "x" * 5000):
        with pytest.raises((NotFoundError, ForbiddenError)):
            inside(path, [root])
    with pytest.raises(ForbiddenError):
        inside("in/a.mp4", [])

    frames = root / "frames"
    (frames / "left").mkdir(parents=True)
    (frames / "left" / "0.png").symlink_to(root / "in" / "a.mp4")
    (frames / "elsewhere").symlink_to(outside)
    assert inside("frames", [root]) == frames
    (frames / "left" / "1.png").symlink_to(outside / "b.mp4")
    for path in ("frames", "frames/left"):
        with pytest.raises(ForbiddenError, match="links"):
            inside(path, [root])


class Handler(http.server.BaseHTTPRequestHandler):
    """Redirects `/to/URL`, never comes to an answer to `/endless`, answers anything else with
    100 kB."""

    def do_GET(self):
        if self.path == "/endless":  # a status of 102 again and again, and never an answer
            with suppress(OSError):
                while True:
                    self.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                    time.sleep(0.02)
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        self.send_response(200)
        if "unsized" not in self.path:
            self.send_header("Content-Length", "100000")
        self.end_headers()
        with suppress(OSError):
            for _ in range(100):
                self.wfile.write(b"x" * 1000)
                time.sleep(0.02 if "slow" in self.path else 0)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


LIMITS = {"max_bytes": 1 << 20, "total_s": 20.0}


def test_addresses_inside_are_refused_whatever_they_are_called(tmp_path, web):
    for host in (
        "127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1",
        "0x7f000001", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "[fc00::1]",
        "224.0.0.1", "100.64.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    ):  # fmt: skip
        with pytest.raises(ForbiddenError):
            fetch(f"http://{host}:{web}/a.mp4", tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")


def test_a_name_that_resolves_inside_and_one_that_changes_its_mind(tmp_path, web, monkeypatch):
    real = socket.getaddrinfo
    answers = ["127.0.0.1"]

    def resolve(host, *arguments, **options):
        if host == "changing.example":
            return real(answers.pop(0) if len(answers) > 1 else answers[0], *arguments, **options)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ForbiddenError):
        fetch(f"http://changing.example:{web}/a.mp4", tmp_path, **LIMITS)
    # Allowed at first, inside the second time: only the first answer may be connected to.
    answers[:] = ["127.0.0.1", "10.1.2.3"]
    path = fetch(
        f"http://changing.example:{web}/a.mp4", tmp_path, networks=["127.0.0.1/32"], **LIMITS
    )
    assert path.stat().st_size == 100_000
    assert answers == ["10.1.2.3"]


def test_redirects_are_checked_like_the_first_address(tmp_path, web):
    here = {"networks": ["127.0.0.1/32"], **LIMITS}
    assert fetch(f"http://127.0.0.1:{web}/to//b.mp4", tmp_path, **here).name == "fetched.mp4"
    for target in ("http://localhost:1/x", "http://[::1]:1/x", "http://169.254.169.254/latest"):
        with pytest.raises((ForbiddenError, SourceError)) as refusal:
            fetch(f"http://127.0.0.1:{web}/to/{target}", tmp_path, **here)
        if "localhost" not in target:
            assert isinstance(refusal.value, ForbiddenError)
    for target in ("file:///etc/passwd", "ftp://example.org/", "gopher://x/"):
        with pytest.raises(InvalidInputError):
            fetch(f"http://127.0.0.1:{web}/to/{target}", tmp_path, **here)
    loop = f"http://127.0.0.1:{web}/to/" * 8 + "/x"
    with pytest.raises(SourceError, match="redirects more"):
        fetch(loop, tmp_path, **here)


def test_downloads_are_limited_in_size_and_time(tmp_path, web):
    here = {"networks": ["127.0.0.1/32"]}
    for path in ("sized", "unsized"):
        with pytest.raises(TooLargeError):
            fetch(f"http://127.0.0.1:{web}/{path}", tmp_path, max_bytes=50_000, total_s=9, **here)
    with pytest.raises(SourceError, match="too long"):
        fetch(f"http://127.0.0.1:{web}/slow", tmp_path, max_bytes=1 << 20, total_s=0.2, **here)
    with pytest.raises(SourceError, match="too long"):
        fetch(f"http://127.0.0.1:{web}/endless", tmp_path, max_bytes=1, total_s=0.2, **here)
    for url in ("ftp://example.org/a", "file:///etc/passwd", "http://", "//x", "http://[", "x"):
        with pytest.raises(InvalidInputError):
            fetch(url, tmp_path, **LIMITS)


def test_loopback_needs_no_key():
    assert Settings(host="127.0.0.1").loopback
    assert Settings(host="::1").loopback
    with pytest.raises(ValueError, match="STPE_API_KEY"):
        Settings(host="192.168.0.7")
