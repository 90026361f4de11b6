"""A hand over a table: it takes an object with its fingers, lifts, carries and puts it down.

The palm follows a script; the fingers are actuated and hold by friction, so a grip can slip.
"""

from __future__ import annotations

import math
import random
from typing import Any

from stpe.simulate.physics_world import FREE, TIMESTEP_S, Scene, material, number, sized, world
from stpe.simulate.physics_world import SHAPES as _SHAPES

TABLE_M = 0.7
_LINKS_M = (0.045, 0.035, 0.025)
_THICK_M = 0.009
_PALM_M = (0.05, 0.045, 0.014)
#: Joint angles of a finger from the palm out, radians: open, and where the motors pull to.
_OPEN = (-0.55, 0.25, 0.2)
_CLOSED = (0.75, 0.45, 0.4)
_OVER_M = 0.3  # palm over the table when it travels
_GRIP_M = 0.115  # palm over the table when it grips
#: What the hand does, in order, and for how many seconds.
_PHASES = (
    ("reaching", 1.0),
    ("lowering", 1.0),
    ("closing", 0.7),
    ("lifting", 0.8),
    ("carrying", 1.5),
    ("placing", 0.9),
    ("opening", 0.5),
    ("leaving", 0.8),
)
_PALM_JOINTS = ("x", "y", "z", "yaw")
Pose = tuple[float, float, float, float]


class Hand(Scene):
    """One hand and what lies on the table; it takes the objects in turn."""

    focus = (0.0, 0.0, TABLE_M + 0.08)
    distance = 0.62

    def __init__(self, xml: str, name: str, things: list[str], rng: random.Random) -> None:
        self.xml, self._name, self._things, self._rng = xml, name, things, rng
        self._turn = -1
        self._phase, self._begun = len(_PHASES) - 1, -math.inf
        self._from: Pose = (-0.12, 0.1, _OVER_M, 0.0)
        self._to: Pose = self._from
        self._last: Pose | None = None

    def drive(self, model: Any, data: Any, time_s: float) -> str | None:
        """Move the palm and tell the fingers what to pull to."""
        if time_s >= self._begun + _PHASES[self._phase][1]:
            self._next(data, time_s)
        phase, seconds = _PHASES[self._phase]
        share = min(1.0, (time_s - self._begun) / seconds)
        smooth = share * share * (3 - 2 * share)
        pose = [a + smooth * (b - a) for a, b in zip(self._from, self._to, strict=True)]
        before = self._last or (pose[0], pose[1], pose[2], pose[3])
        for joint, value, was in zip(_PALM_JOINTS, pose, before, strict=True):
            entry = data.joint(f"{self._name}/{joint}")
            entry.qpos[0], entry.qvel[0] = value, (value - was) / TIMESTEP_S
        self._last = (pose[0], pose[1], pose[2], pose[3])
        grips = phase in ("closing", "lifting", "carrying", "placing")
        for finger in range(5):
            for link, angle in enumerate(_CLOSED if grips else _OPEN):
                data.actuator(f"{self._name}/{finger}_{link}").ctrl[0] = angle
        return phase

    def _next(self, data: Any, time_s: float) -> None:
        self._from = self._to
        self._phase = (self._phase + 1) % len(_PHASES)
        self._begun = time_s
        x, y, z, yaw = self._from
        phase = _PHASES[self._phase][0]
        if phase == "reaching":
            self._turn = (self._turn + 1) % len(self._things)
            there = data.joint(self._things[self._turn]).qpos
            x, y = float(there[0]), float(there[1])
            yaw = self._rng.uniform(-0.6, 0.6)
        elif phase in ("lowering", "placing"):
            z = _GRIP_M + (0.005 if phase == "placing" else 0.0)
        elif phase in ("lifting", "leaving"):
            z = _OVER_M if phase == "leaving" else _GRIP_M + self._rng.uniform(0.08, 0.15)
        elif phase == "carrying":
            x, y = self._rng.uniform(-0.15, 0.15), self._rng.uniform(-0.12, 0.12)
            yaw += self._rng.choice((-1, 1)) * self._rng.uniform(0.5, 1.3)
        self._to = (x, y, z, yaw)


def hand(rng: random.Random) -> Scene:
    """A table with three things to take."""
    name = "hand_1"
    assets = material(rng, name, 1, "cube") + material(rng, "table", rng.uniform(2, 4))
    scenery = (
        f'<geom type="box" pos="{number(0, 0, TABLE_M / 2)}" size="0.45 0.4 {TABLE_M / 2:.4g}" '
        'material="table" friction="0.9 0.01 0.002" contype="1" conaffinity="1"/>'
    )
    bodies, things = _hand(name), []
    for item, (x, y) in enumerate(((0.1, -0.08), (-0.12, -0.02), (0.02, 0.12))):
        shape = rng.choice(("box", "ball", "cylinder"))
        thing = f"{shape}_{item + 2}"
        radius = rng.uniform(0.026, 0.032)
        place = (x + rng.uniform(-0.02, 0.02), y + rng.uniform(-0.02, 0.02), TABLE_M + 0.04)
        bodies += (
            f'<body name="{thing}" pos="{number(*place)}"><freejoint name="{thing}"/>'
            f'<geom type="{_SHAPES[shape]}" size="{number(*sized(rng, shape, radius))}" '
            f'material="{thing}" density="400" friction="1.6 0.02 0.003" condim="6" {FREE}/></body>'
        )
        assets += material(rng, thing, 2, "cube")
        things.append(thing)
    motors = "".join(
        f'<position name="{name}/{finger}_{link}" joint="{name}/{finger}_{link}" kp="{kp}" '
        f'forcerange="-{most} {most}"/>'
        for finger in range(5)
        for link, (kp, most) in enumerate(((1.2, 0.35), (0.8, 0.22), (0.5, 0.12)))
    )
    rest = f"<actuator>{motors}</actuator>"
    fovy = rng.uniform(42, 52)
    return Hand(world(rng, scenery, bodies, assets, rest, fovy), name, things, rng)


def _hand(name: str) -> str:
    slides = "".join(
        f'<joint name="{name}/{n}" type="slide" axis="{axis}"/>'
        for n, axis in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
    fingers = ""
    for finger in range(4):
        place = (_PALM_M[0] - 0.008, -0.036 + 0.024 * finger, -0.008)
        fingers += _finger(name, finger, place, "0 1 0")
    fingers += _finger(name, 4, (-_PALM_M[0] + 0.008, 0.0, -0.008), "0 -1 0")
    return (
        f'<body name="{name}" pos="{number(0, 0, TABLE_M)}" gravcomp="1">{slides}'
        f'<joint name="{name}/yaw" type="hinge" axis="0 0 1"/>'
        f'<geom type="box" size="{number(*_PALM_M)}" material="{name}" mass="0.4" {FREE}/>'
        f'<geom type="capsule" fromto="0 0 0.01 0 0 0.2" size="0.028" material="{name}" mass="0.4" '
        f"{FREE}/>{fingers}</body>"
    )


def _finger(name: str, finger: int, place: tuple[float, float, float], axis: str) -> str:
    xml = ""
    for link in reversed(range(len(_LINKS_M))):
        at = place if link == 0 else (0.0, 0.0, -_LINKS_M[link - 1])
        limit = "-1.2 1.6" if link == 0 else "-0.1 1.7"
        xml = (
            f'<body name="{name}/{finger}_{link}" pos="{number(*at)}" gravcomp="1">'
            f'<joint name="{name}/{finger}_{link}" type="hinge" axis="{axis}" damping="0.02" '
            f'armature="0.0005" range="{limit}" limited="true"/>'
            f'<geom type="capsule" fromto="{number(0, 0, 0, 0, 0, -_LINKS_M[link])}" '
            f'size="{_THICK_M}" material="{name}" mass="0.02" friction="1.8 0.02 0.003" '
            f'condim="6" {FREE}/>{xml}</body>'
        )
    return xml
