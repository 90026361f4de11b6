"""Stopping at any moment loses nothing and doubles nothing: real processes, real signals."""

import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import toys

from stpe.dataset.reader import open_dataset

TOYS = Path(toys.__file__)


def start(clip, out, pause_s=0.0, *more, environment=None):
    command = [sys.executable, str(TOYS), "process", str(clip), "--out", str(out), "--json", *more]
    return subprocess.Popen(
        [*command, "--profile", "embedded"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOY_PAUSE_S": str(pause_s), **(environment or {})},
        start_new_session=True,
    )


def rows(folder):
    found = open_dataset(folder)
    tables = {name: found.arrow(name) for name in found.tables}
    tables["artifacts"] = tables["artifacts"].drop_columns(["seconds"])
    return tables


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return toys.write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 30)


@pytest.fixture(scope="module")
def whole(clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "ds"
    assert start(clip, out).wait(60) == 0
    return rows(out)


def assert_same(folder, whole):
    got = rows(folder)
    assert got.keys() == whole.keys()
    for name in whole:
        assert got[name].equals(whole[name]), name


def test_killed_at_random_moments_the_next_run_continues(clip, whole, tmp_path):
    chance = random.Random(1)
    out = tmp_path / "ds"
    begun = time.monotonic()
    assert start(clip, tmp_path / "timed", 0.01).wait(60) == 0
    lasts_s = time.monotonic() - begun
    kills = 0
    for _ in range(9):
        process = start(clip, out, 0.01)
        try:
            process.wait(chance.uniform(0.4, 0.95) * lasts_s)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
            process.communicate()
            if (out / "dataset.json").exists() and open_dataset(out).videos:
                assert_same(out, whole)  # killed after the commit: what is there is whole
        if kills == 3:
            break
    assert kills
    assert start(clip, out).wait(60) == 0
    assert_same(out, whole)


def test_ctrl_c_stops_soon_and_resumes(clip, whole, tmp_path):
    out = tmp_path / "ds"
    process = start(clip, out, 0.03)
    while not list(out.glob("artifacts/*/*.arrow")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.strip().splitlines()[-1].startswith("stpe: error: interrupted")
    assert "interrupted" in json.loads(stdout)["error"]
    process = start(clip, out)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert any(stage["reused"] for stage in json.loads(stdout)["videos"][0]["stages"])
    assert_same(out, whole)


class _Trickling(http.server.BaseHTTPRequestHandler):
    """Sends the begin of a file and then nothing more."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        self.wfile.write(b"x" * 1000)
        self.wfile.flush()
        self.server.let_go.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Trickling)
    server.let_go = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/long.mp4"
    server.let_go.set()
    server.shutdown()


def downloading(address, out, scratch):
    process = start(address, out, environment={"TMPDIR": str(scratch)})
    while not list(scratch.glob("stpe-*/download*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def test_what_ends_a_run_leaves_no_download(address, clip, tmp_path):
    scratch, out = tmp_path / "scratch", tmp_path / "new" / "ds"
    scratch.mkdir()
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = downloading(address, out, scratch)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == code
        assert stderr.splitlines()[-1].startswith("stpe: error: interrupted")
        assert "Traceback" not in stderr
        assert not list(scratch.iterdir())
        assert not out.parent.exists()
    process = downloading(address, out, scratch)
    process.kill()
    process.communicate()
    other = downloading(address, tmp_path / "other", scratch)
    assert len(list(scratch.glob("stpe-*/download*"))) == 1  # the killed one's is swept
    process = start(clip, out, environment={"TMPDIR": str(scratch)})
    assert process.wait(60) == 0
    assert len(list(scratch.glob("stpe-*/download*"))) == 1  # one at work keeps its own
    other.kill()
    other.communicate()


def test_a_failed_call_leaves_no_folder(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    for out in (tmp_path / "a" / "b", tmp_path / "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        assert start(bad, out).wait(60) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"bad.mp4", "there"}
    assert not list((tmp_path / "there").iterdir())
