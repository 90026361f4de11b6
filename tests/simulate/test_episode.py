import os
import time
from pathlib import Path

import pytest

from stpe.errors import StpeError, UsageError
from stpe.simulate import episode

_HANGS = """
import subprocess, sys, pathlib
engine = subprocess.Popen(["sleep", "60"])
pathlib.Path(sys.argv[1]).parents[1].joinpath("pid").write_text(str(engine.pid))
engine.wait()
"""
_FAILS = "raise SystemExit('no room')"


def _record(folder, name, code):
    (folder / f"{name}.py").write_text(code)
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    episode.record(name, folder / "out", {}, 1, environment={"PYTHONPATH": paths}, s_per_frame=0.0)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_recorder_that_hangs_ends_with_its_engine_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(episode, "_PATIENCE_S", 3.0)
    with pytest.raises(StpeError, match="did not finish"):
        _record(tmp_path, "hangs", _HANGS)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out-*"))


def test_a_recorder_that_fails_is_told_in_its_own_words(tmp_path):
    with pytest.raises(StpeError, match="no room"):
        _record(tmp_path, "fails", _FAILS)
    assert not (tmp_path / "out").exists()


def test_sizes():
    assert episode.size("640x480") == (640, 480)
    with pytest.raises(UsageError, match="640x480"):
        episode.size("large")
