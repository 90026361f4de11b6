"""The recording process: steps the physics, draws it and writes video, state log and truth.

Run as `python -m stpe.simulate.physics_engine OUT` with the settings as JSON on standard input and
MUJOCO_GL in the environment.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from stpe.simulate.physics import FPS
from stpe.simulate.physics_camera import KINDS, CameraPath
from stpe.simulate.physics_hand import hand
from stpe.simulate.physics_rows import (
    STEPS,
    STILL,
    contact_rows,
    frame_row,
    log_row,
    object_rows,
    part_rows,
)
from stpe.simulate.physics_scenes import colliding, falling, rolling
from stpe.simulate.physics_view import DEPTH, Eye, World
from stpe.simulate.physics_walkers import walkers
from stpe.simulate.physics_world import TIMESTEP_S
from stpe.simulate.recording import Recorder
from stpe.simulate.truth_files import TruthWriter

BUILDERS = {
    "rolling": rolling,
    "falling": falling,
    "colliding": colliding,
    "walkers": walkers,
    "hand": hand,
}


def main(out: Path, settings: dict[str, Any]) -> None:
    """Record one video and its truth into the existing folder `out`."""
    import mujoco

    width, height = settings["resolution"]
    seed, scenario = settings["seed"], settings["scenario"]
    rng = random.Random(f"{scenario} {seed}")
    scene = BUILDERS[scenario](rng)
    path = CameraPath.drawn(rng, KINDS[seed % len(KINDS)], scene.focus, scene.distance)
    world = World.of(scene.xml)
    eye = Eye(world, width, height)
    facts = _facts(settings, path.kind, eye.focal)
    tables = ("frames", "objects", "contacts", "parts")
    try:
        with (
            Recorder(out / "episode.mp4", (width, height), FPS) as video,
            TruthWriter(out, facts, tables) as truth,
        ):
            for index in range(settings["frames"]):
                time_s = index / FPS
                pose = path.pose(time_s)
                eye.place(pose)
                activity = scene.drive(world.model, world.data, time_s)
                mujoco.mj_forward(world.model, world.data)
                mujoco.mj_subtreeVel(world.model, world.data)
                image, depth, bodies = eye.draw()
                video.write(image)
                frame = frame_row(world, index, pose, activity)
                contacts = contact_rows(world, index)
                truth.write(
                    frame,
                    depth,
                    log_row(world, frame, contacts, scenario),
                    objects=object_rows(world, index, bodies, pose),
                    contacts=contacts,
                    parts=part_rows(world, index, bodies),
                )
                for step in range(STEPS):
                    if step:
                        scene.drive(world.model, world.data, time_s + step * TIMESTEP_S)
                    mujoco.mj_step(world.model, world.data)
    finally:
        eye.close()


def _facts(settings: dict[str, Any], camera: str, focal: float) -> dict[str, Any]:
    import mujoco

    width, height = settings["resolution"]
    return {
        "engine": f"mujoco {mujoco.__version__}",
        "scenario": settings["scenario"],
        "seed": settings["seed"],
        "fps": FPS,
        "width": width,
        "height": height,
        "units_per_metre": 1.0,
        "intrinsics": {"fx": focal, "fy": focal, "cx": width / 2, "cy": height / 2},
        "depth": DEPTH,
        "camera": camera,
        "moving": {
            "static_below": STILL.static_below,
            "moving_above": STILL.moving_above,
            "window_s": 0.0,
        },
        "conventions": "see stpe.simulate.truth_files",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
