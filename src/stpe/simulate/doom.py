"""Records a seeded game episode with ground truth, headless."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stpe.errors import MissingExtraError, StpeError, UsageError

#: Scenarios whose maps and figures come with the engine and are free.
SCENARIOS = (
    "deathmatch",
    "defend_the_center",
    "defend_the_line",
    "deadly_corridor",
    "health_gathering_supreme",
    "my_way_home",
)
RESOLUTIONS = ((320, 240), (640, 480), (800, 600), (1024, 768))
FPS = 35
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Paths of a recorded episode; `stpe.simulate.truth_files` says what is in them."""

    video: Path
    state_log: Path
    truth: Path
    frames: int


def record(
    out: Path | str,
    seconds: float = 20.0,
    seed: int = 0,
    scenario: str = "deathmatch",
    resolution: tuple[int, int] = (640, 480),
) -> Recording:
    """Record an episode into the folder `out`, at the engine's 35 frames a second.

    The same arguments give the same episode. The engine runs in a process of its own.

    Args:
        out: folder to make; if it is there it must be empty.
        seconds: length of the video; an episode that ends early is followed by another.
        seed: decides the game's and the player's random numbers.
        scenario: one of SCENARIOS.
        resolution: one of RESOLUTIONS (all 4:3).

    Raises:
        MissingExtraError: the game engine is not installed.
        UsageError: an argument is out of range, or `out` is not empty.
        StpeError: the engine failed.
    """
    if importlib.util.find_spec("vizdoom") is None:
        raise MissingExtraError("the game engine is not installed: pip install 'stpe[sim]'")
    frames = round(seconds * FPS)
    if not 1 <= frames <= 3600 * FPS:
        raise UsageError(f"seconds is {seconds}: give from 0.1 to 3600")
    if not 0 <= seed < 2**31:
        raise UsageError(f"seed is {seed}: give a whole number from 0 to {2**31 - 1}")
    if scenario not in SCENARIOS:
        raise UsageError(f"no scenario {scenario!r}: choose from {', '.join(SCENARIOS)}")
    if tuple(resolution) not in RESOLUTIONS:
        sizes = ", ".join(f"{w}x{h}" for w, h in RESOLUTIONS)
        raise UsageError(f"resolution is {resolution}: choose from {sizes}")
    folder = Path(out).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{out} is not an empty folder: choose another --out or empty it")
    settings = {
        "frames": frames,
        "seed": seed,
        "scenario": scenario,
        "resolution": list(resolution),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        _run(Path(scratch), settings, timeout_s=_PATIENCE_S + 4 * seconds)
        if folder.exists():
            folder.rmdir()
        whole = Path(scratch) / "whole"
        shutil.move(whole, folder)
    return Recording(folder / "episode.mp4", folder / "state.jsonl", folder / "truth", frames)


def _run(scratch: Path, settings: dict[str, object], timeout_s: float) -> None:
    (scratch / "whole").mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stpe.simulate.doom_engine", str(scratch / "whole")],
            input=json.dumps(settings),
            text=True,
            capture_output=True,
            timeout=timeout_s,
            env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
        )
    except subprocess.TimeoutExpired as error:
        raise StpeError(
            f"the game engine did not finish in {timeout_s:.0f} s: try again"
        ) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise StpeError(f"the game engine failed: {lines[-1] if lines else 'it said nothing'}")
