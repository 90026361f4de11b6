"""Stopping at any moment loses nothing and doubles nothing: real processes, real signals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

from stpe.dataset.reader import open_dataset

TOYS = Path(toys.__file__)


def start(clip, out, pause_s=0.0, *more):
    command = [sys.executable, str(TOYS), "process", str(clip), "--out", str(out), "--json", *more]
    return subprocess.Popen(
        [*command, "--profile", "embedded"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOY_PAUSE_S": str(pause_s)},
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
