"""Records a seeded scene of simulated bodies with ground truth, headless."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
from pathlib import Path

from stpe.errors import MissingExtraError, UsageError
from stpe.simulate import episode
from stpe.simulate.episode import Recording

SCENARIOS = ("rolling", "falling", "colliding", "walkers", "hand")
FPS = 30
#: Name of the library that draws, and the value of MUJOCO_GL for it; the first found is used.
_RENDERERS = {"EGL": "egl", "OSMesa": "osmesa"}
_SIDES = (64, 1920)


def renderer() -> str | None:
    """The off-screen renderer of this machine, as MUJOCO_GL names it; None if there is none."""
    for library, name in _RENDERERS.items():
        if ctypes.util.find_library(library):
            return name
    return None


def record(
    out: Path | str,
    seconds: float = 10.0,
    seed: int = 0,
    scenario: str = "colliding",
    resolution: tuple[int, int] = (640, 480),
) -> Recording:
    """Record an episode into the folder `out`, at 30 frames a second.

    The same arguments on the same machine give the same episode. The engine runs in a process of
    its own.

    MUJOCO_GL in the environment chooses the renderer (`egl`, `osmesa`) where the first one found
    does not work.

    Args:
        out: folder to make; if it is there it must be empty.
        seconds: length of the video.
        seed: decides bodies, textures, lights, and how the camera moves.
        scenario: one of SCENARIOS.
        resolution: width and height, even numbers from 64 to 1920.

    Raises:
        MissingExtraError: the engine is not installed, or the machine has no library to draw with.
        UsageError: an argument is out of range, or `out` is not empty.
        StpeError: the engine failed.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise MissingExtraError("the physics engine is not installed: pip install 'stpe[sim]'")
    frames = episode.check(seconds, FPS, seed, scenario=(scenario, SCENARIOS))
    if not all(_SIDES[0] <= side <= _SIDES[1] and side % 2 == 0 for side in resolution):
        raise UsageError(
            "resolution is {}x{}: give even numbers from {} to {}".format(*resolution, *_SIDES)
        )
    chosen = os.environ.get("MUJOCO_GL") or renderer()
    if chosen is None:
        raise MissingExtraError(
            "neither EGL nor OSMesa is installed to draw with: apt-get install libosmesa6"
        )
    settings = {
        "frames": frames,
        "seed": seed,
        "scenario": scenario,
        "resolution": list(resolution),
    }
    pixels = resolution[0] * resolution[1]
    return episode.record(
        "stpe.simulate.physics_engine",
        out,
        settings,
        frames,
        environment={"MUJOCO_GL": chosen},
        s_per_frame=1.0 + pixels * 1e-5,
    )
