"""Records a seeded game episode with ground truth, headless."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stpe.errors import MissingExtraError
from stpe.simulate import episode
from stpe.simulate.episode import Recording

__all__ = ["FPS", "POLICIES", "RESOLUTIONS", "SCENARIOS", "Recording", "record"]

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
#: Who plays: `scripted` explores and fights, `random` presses whatever it likes.
POLICIES = ("scripted", "random")
FPS = 35


def record(
    out: Path | str,
    seconds: float = 20.0,
    seed: int = 0,
    scenario: str = "deathmatch",
    resolution: tuple[int, int] = (640, 480),
    policy: str = "scripted",
) -> Recording:
    """Record an episode into the folder `out`, at the engine's 35 frames a second.

    The same arguments give the same episode. The engine runs in a process of its own.

    Args:
        out: folder to make; if it is there it must be empty.
        seconds: length of the video; an episode that ends early is followed by another.
        seed: decides the game's and the player's random numbers.
        scenario: one of SCENARIOS.
        resolution: one of RESOLUTIONS (all 4:3).
        policy: one of POLICIES.

    Raises:
        MissingExtraError: the game engine is not installed.
        UsageError: an argument is out of range, or `out` is not empty.
        StpeError: the engine failed.
    """
    if importlib.util.find_spec("vizdoom") is None:
        raise MissingExtraError("the game engine is not installed: pip install 'stpe[sim]'")
    sizes = [f"{w}x{h}" for w, h in RESOLUTIONS]
    frames = episode.check(
        seconds,
        FPS,
        seed,
        scenario=(scenario, SCENARIOS),
        resolution=("{}x{}".format(*resolution), sizes),
        policy=(policy, POLICIES),
    )
    settings = {
        "frames": frames,
        "seed": seed,
        "scenario": scenario,
        "resolution": list(resolution),
        "policy": policy,
    }
    return episode.record(
        "stpe.simulate.doom_engine",
        out,
        settings,
        frames,
        environment={"SDL_VIDEODRIVER": "dummy"},
        s_per_frame=0.12,
    )
