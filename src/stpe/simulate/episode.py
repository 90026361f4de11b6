"""What every recorder shares: checked arguments, a process of its own, all or nothing on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stpe.errors import StpeError, UsageError

_PATIENCE_S = 180.0
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Paths of a recorded episode; `stpe.simulate.truth_files` says what is in them."""

    video: Path
    state_log: Path
    truth: Path
    frames: int


def size(text: str) -> tuple[int, int]:
    """Width and height from `640x480`.

    Raises:
        UsageError: it is not two whole numbers.
    """
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise UsageError(f"resolution is {text!r}: give it as 640x480") from None


def check(seconds: float, fps: int, seed: int, **chosen: tuple[object, Sequence[object]]) -> int:
    """The number of frames to record, if the arguments are in range.

    Args:
        seconds, fps, seed: as asked for.
        chosen: name of an argument to (what was asked for, what there is).

    Raises:
        UsageError: an argument is out of range.
    """
    if not 1 / fps <= seconds <= _LONGEST_S:
        raise UsageError(f"seconds is {seconds}: give from 0.1 to {_LONGEST_S:.0f}")
    if not 0 <= seed < 2**31:
        raise UsageError(f"seed is {seed}: give a whole number from 0 to {2**31 - 1}")
    for name, (value, there) in chosen.items():
        if value not in there:
            raise UsageError(f"no {name} {value!r}: choose from {', '.join(map(str, there))}")
    return round(seconds * fps)


def record(
    module: str,
    out: Path | str,
    settings: Mapping[str, Any],
    frames: int,
    *,
    environment: Mapping[str, str],
    s_per_frame: float,
) -> Recording:
    """Run `python -m module FOLDER` with the settings on its input; keep what it made as `out`.

    Args:
        module: writes `episode.mp4`, `state.jsonl` and `truth/` into FOLDER.
        out: folder to make; if it is there it must be empty.
        settings: for the recorder, as JSON.
        frames: how many it will record.
        environment: variables that the recorder needs beside ours.
        s_per_frame: the recorder is stopped when a frame takes longer on average.

    Raises:
        UsageError: `out` is not an empty folder.
        StpeError: the recorder failed or hung; nothing is left behind.
    """
    folder = Path(out).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{out} is not an empty folder: choose another --out or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        _run(module, whole, settings, environment, _PATIENCE_S + frames * s_per_frame)
        if folder.exists():
            folder.rmdir()
        shutil.move(whole, folder)
    return Recording(folder / "episode.mp4", folder / "state.jsonl", folder / "truth", frames)


def _run(
    module: str,
    whole: Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
    timeout_s: float,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(whole)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,  # so that an engine that the recorder started ends with it
    )
    try:
        out, said = process.communicate(json.dumps(settings, allow_nan=False), timeout=timeout_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        message = f"the simulator did not finish in {timeout_s:.0f} s: try again"
        raise StpeError(message) from error
    if process.returncode:
        lines = (said or out).strip().splitlines()
        raise StpeError(f"the simulator failed: {lines[-1] if lines else 'it said nothing'}")
