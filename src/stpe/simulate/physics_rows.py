"""Rows of the truth and of the log, read from a scene at one moment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.rle import encode_mask
from stpe.simulate.moving import Still
from stpe.simulate.physics import FPS
from stpe.simulate.physics_view import I64, World
from stpe.simulate.physics_world import TIMESTEP_S

#: Metres a second. Moving: of the centre of mass. Static: of the fastest part, whose turning
#: counts as the speed of its rim.
STILL = Still(static_below=0.02, moving_above=0.08)
#: Physics steps a frame.
STEPS = round(1 / (FPS * TIMESTEP_S))


def frame_row(
    world: World, index: int, pose: NDArray[np.float64], activity: str | None
) -> dict[str, Any]:
    """The row of `frames`, with the joints that turn or slide."""
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
        "tic": index * STEPS,
        "activity": activity,
        "joints": joints,
        "camera_to_world": pose.ravel().tolist(),
    }


def _next_address(model: Any, joint: int) -> int:
    """Where the positions of the joint after this one begin."""
    following = joint + 1
    return int(model.jnt_qposadr[following]) if following < model.njnt else int(model.nq)


def object_rows(
    world: World, index: int, bodies_HW: I64, pose: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The rows of `objects` that are seen, from the body at each pixel."""
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


def part_rows(world: World, index: int, bodies_HW: I64) -> list[dict[str, Any]]:
    """The rows of `parts` that are seen: each rigid body of an object and its pose."""
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


def contact_rows(world: World, index: int) -> list[dict[str, Any]]:
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


def log_row(
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
