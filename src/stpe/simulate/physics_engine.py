"""The recording process: steps the physics, draws it and writes video, state log and truth.

Run as `python -m stpe.simulate.physics_engine OUT` with the settings as JSON on standard input and
MUJOCO_GL in the environment.
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.rle import encode_mask
from stpe.simulate.moving import Still
from stpe.simulate.physics import FPS
from stpe.simulate.physics_camera import KINDS, CameraPath
from stpe.simulate.physics_hand import hand
from stpe.simulate.physics_scenes import colliding, falling, rolling
from stpe.simulate.physics_walkers import walkers
from stpe.simulate.physics_world import TIMESTEP_S
from stpe.simulate.recording import Recorder
from stpe.simulate.truth_files import TruthWriter

I64 = NDArray[np.int64]

BUILDERS = {
    "rolling": rolling,
    "falling": falling,
    "colliding": colliding,
    "walkers": walkers,
    "hand": hand,
}
#: Millimetres in 16 bits; beyond 65 m there is no room.
DEPTH = {"step": 0.001, "offset": 0.0, "saturated": 65535}
#: Metres a second. Moving: of the centre of mass. Static: of the fastest part, whose turning
#: counts as the speed of its rim.
STILL = Still(static_below=0.02, moving_above=0.08)
_STEPS = round(1 / (FPS * TIMESTEP_S))


@dataclass(frozen=True)
class World:
    """A compiled scene and what its bodies are called.

    Attributes:
        model, data: the engine's.
        objects: object_id to body number. names: object_id to class.
        object_of_body, body_of_geom: lookups; object 0 is the scenery.
    """

    model: Any
    data: Any
    objects: dict[int, int]
    names: dict[int, str]
    object_of_body: I64
    body_of_geom: I64

    @classmethod
    def of(cls, xml: str) -> World:
        """Compile MJCF."""
        import mujoco

        model = mujoco.MjModel.from_xml_string(xml)
        objects, names = {}, {}
        object_of_body = np.zeros(model.nbody, np.int64)
        for body in range(1, model.nbody):
            if model.body_parentid[body] == 0:
                name, _, number = model.body(body).name.partition("_")
                if number:
                    objects[int(number)] = body
                    names[int(number)] = name
                    object_of_body[body] = int(number)
            else:
                object_of_body[body] = object_of_body[model.body_parentid[body]]
        return cls(
            model,
            mujoco.MjData(model),
            objects,
            names,
            object_of_body,
            np.asarray(model.geom_bodyid, np.int64),
        )

    def parts(self, identity: int) -> list[int]:
        """Bodies of an object."""
        return [int(body) for body in np.flatnonzero(self.object_of_body == identity)]

    def speed(self, identity: int) -> float:
        """Of the fastest part, m/s; a part's turning counts as the speed of its rim."""
        import mujoco

        fastest, found = 0.0, np.zeros(6)
        for body in self.parts(identity):
            mujoco.mj_objectVelocity(
                self.model, self.data, mujoco.mjtObj.mjOBJ_BODY, body, found, 0
            )
            rims = self.model.geom_rbound[self.body_of_geom == body]
            turning = float(np.linalg.norm(found[:3])) * float(rims.max(initial=0.0))
            fastest = max(fastest, float(np.linalg.norm(found[3:])), turning)
        return fastest


class Eye:
    """Draws colour, depth and bodies from a camera pose."""

    def __init__(self, world: World, width: int, height: int) -> None:
        import mujoco

        self._world = world
        world.model.vis.global_.offwidth, world.model.vis.global_.offheight = width, height
        self._renderer = mujoco.Renderer(world.model, height, width)
        fovy = math.radians(float(world.model.camera("eye").fovy[0]))
        self.focal = height / 2 / math.tan(fovy / 2)

    def place(self, pose: NDArray[np.float64]) -> None:
        """Put the camera there; seen after the next forward pass."""
        import mujoco

        turned = (pose[:3, :3] @ np.diag([1.0, -1.0, -1.0])).ravel()
        mocap = int(self._world.model.body("eye").mocapid[0])
        self._world.data.mocap_pos[mocap] = pose[:3, 3]
        mujoco.mju_mat2Quat(self._world.data.mocap_quat[mocap], turned)

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16], I64]:
        """(image_HW3, depth_HW in steps, body_HW; 0 is scenery)."""
        draw, data = self._renderer, self._world.data
        draw.update_scene(data, "eye")
        image = draw.render().copy()
        draw.enable_depth_rendering()
        depth = draw.render().copy()
        draw.disable_depth_rendering()
        draw.enable_segmentation_rendering()
        geoms = draw.render()[..., 0].copy()
        draw.disable_segmentation_rendering()
        steps = np.minimum(np.round(depth / DEPTH["step"]), DEPTH["saturated"]).astype(np.uint16)
        bodies = np.where(geoms >= 0, self._world.body_of_geom[np.maximum(geoms, 0)], 0)
        return image, steps, bodies

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()


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
                frame = _frame(world, index, pose, activity)
                contacts = _contacts(world, index)
                truth.write(
                    frame,
                    depth,
                    _log(world, frame, contacts, scenario),
                    objects=_objects(world, index, bodies, pose),
                    contacts=contacts,
                    parts=_parts(world, index, bodies),
                )
                for step in range(_STEPS):
                    if step:
                        scene.drive(world.model, world.data, time_s + step * TIMESTEP_S)
                    mujoco.mj_step(world.model, world.data)
    finally:
        eye.close()


def _frame(
    world: World, index: int, pose: NDArray[np.float64], activity: str | None
) -> dict[str, Any]:
    joints = []
    for number in range(world.model.njnt):
        joint = world.model.joint(number)
        if joint.qposadr[0] + 1 == _next_address(world.model, number):
            here = world.data.joint(number)
            joints.append(
                {
                    "name": joint.name,
                    "position": float(here.qpos[0]),
                    "velocity": float(here.qvel[0]),
                }
            )
    return {
        "frame_index": index,
        "pts": index / FPS,
        "episode": 0,
        "tic": index * _STEPS,
        "activity": activity,
        "joints": joints,
        "camera_to_world": pose.ravel().tolist(),
    }


def _next_address(model: Any, joint: int) -> int:
    """Where the positions of the joint after this one begin."""
    following = joint + 1
    return int(model.jnt_qposadr[following]) if following < model.njnt else int(model.nq)


def _objects(
    world: World, index: int, bodies_HW: I64, pose: NDArray[np.float64]
) -> list[dict[str, Any]]:
    seen_HW = world.object_of_body[bodies_HW]
    rows = []
    for identity, body in world.objects.items():
        mask_HW = seen_HW == identity
        columns, lines = np.flatnonzero(mask_HW.any(0)), np.flatnonzero(mask_HW.any(1))
        if not len(columns):
            continue
        place = world.data.subtree_com[body]
        rows.append(
            {
                "frame_index": index,
                "object_id": identity,
                "episode": 0,
                "label": world.names[identity],
                "category": "figure" if len(world.parts(identity)) > 1 else "body",
                "box_xyxy": [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1],
                "area_px": int(mask_HW.sum()),
                "mask_rle": encode_mask(mask_HW),
                "position": place.tolist(),
                "velocity": world.data.subtree_linvel[body].tolist(),
                "moving": STILL.judge(
                    float(np.linalg.norm(world.data.subtree_linvel[body])), world.speed(identity)
                ),
                "distance_units": float((place - pose[:3, 3]) @ pose[:3, 2]),
            }
        )
    return rows


def _parts(world: World, index: int, bodies_HW: I64) -> list[dict[str, Any]]:
    rows = []
    for body in np.unique(bodies_HW):
        if world.object_of_body[body]:
            pose = np.eye(4)
            pose[:3, :3] = world.data.xmat[body].reshape(3, 3)
            pose[:3, 3] = world.data.xpos[body]
            rows.append(
                {
                    "frame_index": index,
                    "object_id": int(world.object_of_body[body]),
                    "part": world.model.body(int(body)).name,
                    "mask_rle": encode_mask(bodies_HW == body),
                    "part_to_world": pose.ravel().tolist(),
                }
            )
    return rows


def _contacts(world: World, index: int) -> list[dict[str, Any]]:
    """Touching pairs of different objects, or of an object and the scenery."""
    import mujoco

    found: dict[tuple[int, int], tuple[float, float, list[float]]] = {}
    force = np.zeros(6)
    for number in range(world.data.ncon):
        contact = world.data.contact[number]
        pair = sorted(int(world.object_of_body[world.body_of_geom[g]]) for g in contact.geom)
        if pair[0] == pair[1]:
            continue
        mujoco.mj_contactForce(world.model, world.data, number, force)
        key = pair[0], pair[1]
        total, most, place = found.get(key, (0.0, -1.0, []))
        if force[0] > most:
            most, place = float(force[0]), contact.pos.tolist()
        found[key] = total + float(force[0]), most, place
    return [
        {"frame_index": index, "object_a": a, "object_b": b, "position": place, "force_n": total}
        for (a, b), (total, _, place) in sorted(found.items())
        if total > 0
    ]


def _log(
    world: World,
    frame: dict[str, Any],
    contacts: list[dict[str, Any]],
    scenario: str,
) -> dict[str, Any]:
    """The row a simulator would log: bodies, joints and camera, nothing of the picture."""
    bodies = {}
    for identity, body in world.objects.items():
        place = world.data.subtree_com[body]
        if place[2] > 20:  # not in the scene yet
            continue
        velocity = world.data.subtree_linvel[body]
        bodies[f"{world.names[identity]}_{identity}"] = {
            "position": [round(float(v), 5) for v in place],
            "velocity": [round(float(v), 5) for v in velocity],
            "speed": round(float(np.linalg.norm(velocity)), 5),
        }
    names = {identity: f"{name}_{identity}" for identity, name in world.names.items()}
    row: dict[str, Any] = {
        "game": "physics",
        "time": frame["pts"],
        "frame": frame["frame_index"],
        "scenario": scenario,
        "camera": {"camera_to_world": frame["camera_to_world"]},
        "bodies": bodies,
        "joints": {j["name"]: round(j["position"], 5) for j in frame["joints"]},
        "contacts": [
            [names[c["object_a"]], names[c["object_b"]]] for c in contacts if c["object_a"]
        ],
    }
    if frame["activity"]:
        row["activity"] = frame["activity"]
    return row


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
