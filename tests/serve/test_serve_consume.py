"""`stpe consume` on real streams, and what it does when they or the server fail it."""

import http.server
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path

import av
import pytest
from live_server import COMMAND

from stpe.client import Client
from stpe.consume import Consumer
from stpe.errors import UsageError

pytestmark = pytest.mark.weights
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def juggler(shared_data):
    return shared_data / "plain_clips" / "sam2_05_default_juggle.mp4"


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def send(clip, port, seconds):
    url = f"udp://127.0.0.1:{port}"
    script = str(HERE / "send_stream.py")
    return subprocess.Popen([sys.executable, script, str(clip), url, str(seconds)])


@contextmanager
def consumer(url, server):
    """Lines of a running `stpe consume`, as they come; after it, its summary."""
    process = subprocess.Popen(
        [*COMMAND, "consume", url],
        env={**os.environ, "VJEPA_SERVICE_URL": f"{server}/api/v1/infer"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        thread.join(5)
    assert process.returncode == 130


def wait_for(lines, pattern, seconds=40):
    deadline = time.monotonic() + seconds
    seen = []
    while time.monotonic() < deadline:
        try:
            seen.append(lines.get(timeout=0.2))
        except queue.Empty:
            continue
        if re.search(pattern, seen[-1]):
            return seen[-1]
    raise AssertionError(f"no {pattern!r} in {seen}")


def summary(lines):
    counts = re.findall(r"(\d+) (\w+)", wait_for(lines, "connects,", 1))
    return {name: int(number) for number, name in counts}


def test_udp_stream_that_dies_and_returns(live, juggler):
    port = free_port(socket.SOCK_DGRAM)
    with consumer(f"udp://127.0.0.1:{port}", live.url) as lines:
        time.sleep(1)
        first = send(juggler, port, 30)
        wait_for(lines, "juggling")
        first.kill()
        first.wait()
        wait_for(lines, "opening it again")
        second = send(juggler, port, 30)
        wait_for(lines, "reading h264")
        wait_for(lines, "juggling")
        second.kill()
        second.wait()
    counts = summary(lines)
    assert counts["connects"] >= 2
    assert counts["classified"] >= 2
    assert counts["failed"] == 0
    assert counts["classified"] + counts["dropped"] <= counts["clips"]
    # No clip spans a reconnection: each leaves less than a clip's frames unused.
    most = counts["frames"] // 16
    assert most - counts["connects"] <= counts["clips"] <= most


def test_rtsp_server_that_dies_and_returns(live, juggler, tmp_path):
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    script = str(HERE / "rtsp_server.py")
    if subprocess.run([python, script], capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not on this machine")
    clip = tmp_path / "clip.mp4"
    encode(juggler, clip, 90)
    port = str(free_port(socket.SOCK_STREAM))

    def start():
        server = subprocess.Popen(
            [python, script, str(clip), port], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout.readline() == "serving\n"
        return server

    server = start()
    try:
        with consumer(f"rtsp://127.0.0.1:{port}/clip", live.url) as lines:
            wait_for(lines, "reading h264")
            wait_for(lines, "juggling")
            server.kill()
            server.wait()
            wait_for(lines, "(refused|reset|i/o|ended).*opening it again")
            server = start()
            wait_for(lines, "reading h264")
            wait_for(lines, "juggling")
    finally:
        server.kill()
        server.wait()
    assert summary(lines)["connects"] >= 2


def encode(clip, path, count):
    """The first frames of a clip as H.264 without B-frames."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        stream = out.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number == count:
                break
            picture = frame.reformat(320, 180, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers 200 with what `answers` yields next, after `takes_s`."""

    takes_s = 0.0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.takes_s)
        body = next(self.answers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


#: What the first prototype answers: without `model` and `processing_time_ms`.
OLD = json.dumps(
    {"predictions": [{"label": "waiting", "confidence": 1.0}], "clip_id": "1"}
).encode()  # fmt: skip


@contextmanager
def consuming(clip, answers, takes_s=0.0):
    """A consumer of a stream of the clip, and the best classes that it reported."""
    handler = type("Handler", (Answering,), {"answers": iter(answers), "takes_s": takes_s})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port(socket.SOCK_DGRAM)
    labels = []
    with Client(f"http://127.0.0.1:{server.server_address[1]}") as client:
        found = Consumer(f"udp://127.0.0.1:{port}", client, lambda best, _: labels.append(best))
        thread = threading.Thread(target=found.run)
        thread.start()
        stream = send(clip, port, 60)
        try:
            yield found, labels
        finally:
            found.stop()
            thread.join(20)
            stream.kill()
            stream.wait()
            server.shutdown()
            server.server_close()


def wait_until(true, counts):
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline, counts
        time.sleep(0.05)


def test_a_slow_server_costs_clips_and_never_frames(juggler):
    with consuming(juggler, repeat(OLD), takes_s=1.5) as (slow, _):
        counts = slow.counts
        # As the stream went on while the server was busy.
        wait_until(lambda: counts.dropped >= 3, counts)
    assert counts.clips == counts.frames // 16
    assert counts.classified >= 1
    assert counts.classified + counts.dropped + 3 >= counts.clips


def test_answers_that_cannot_be_read_are_failures_and_the_next_is_read(juggler):
    page = b"<html>502</html>"
    with consuming(juggler, chain([page, b"{}", b"[]"], repeat(OLD))) as (found, labels):
        wait_until(lambda: labels, found.counts)
    assert found.counts.failed == 3
    assert labels[0].label == "waiting"


def test_only_streams_are_consumed():
    with Client() as client, pytest.raises(UsageError, match="rtsp"):
        Consumer("file:///etc/passwd", client, print)
