"""Free bodies: rolling, falling, colliding."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from stpe.simulate.physics_world import SHAPES, Scene, free_body, material, number, world


@dataclass(frozen=True, slots=True)
class _Launch:
    """A body waits above the room until its time, then starts from a place with a velocity."""

    body: str
    time_s: float
    place: tuple[float, float, float]
    velocity: tuple[float, float, float]
    spin: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Launched(Scene):
    """A room of free bodies, some of which enter later."""

    def __init__(self, xml: str, launches: list[_Launch]) -> None:
        self.xml = xml
        self._waiting = sorted(launches, key=lambda launch: launch.time_s)

    def drive(self, model: Any, data: Any, time_s: float) -> str | None:
        """Hold back what waits and let go of what is due."""
        for number_, launch in enumerate(list(self._waiting)):
            joint = data.joint(launch.body)
            if time_s < launch.time_s:
                joint.qpos[:] = (2.0 * number_, 0, 40, 1, 0, 0, 0)
                joint.qvel[:] = 0
                continue
            joint.qpos[:3], joint.qpos[3:] = launch.place, (1, 0, 0, 0)
            joint.qvel[:3], joint.qvel[3:] = launch.velocity, launch.spin
            self._waiting.remove(launch)
        return None


def rolling(rng: random.Random) -> Scene:
    """Balls and a cylinder roll across the floor and off a ramp, past things that stand."""
    bodies, assets = standing(rng, rng.randint(2, 3))
    launches = []
    tilt, turn = rng.uniform(0.2, 0.35), rng.uniform(0, 2 * math.pi)
    run, top = 0.8 * math.cos(tilt), 0.8 * math.sin(tilt)
    x, y = -1.7 * math.cos(turn), -1.7 * math.sin(turn)
    scenery = (
        f'<geom type="box" pos="{number(x, y, top + 0.02)}" size="0.8 0.45 0.04" '
        f'euler="{number(turn, tilt, 0)}" material="ramp" friction="0.8 0.01 0.004"/>'
    )
    for item in range(rng.randint(4, 6)):
        name = f"ball_{item + 10}" if rng.random() < 0.75 else f"egg_{item + 10}"
        radius = rng.uniform(0.16, 0.3)
        body, wear = free_body(rng, name, (0, 0, 40 + item), radius)
        bodies, assets = bodies + body, assets + wear
        start = 1.1 * item + rng.uniform(0.1, 0.6)
        if item % 3 == 0:
            back = -0.9 * run
            place = (x + back * math.cos(turn), y + back * math.sin(turn), 2 * top + radius + 0.1)
            speed = (0.0, 0.0, 0.0)
            spin = (0.0, 0.0, 0.0)
        else:
            angle = rng.uniform(0, 2 * math.pi)
            fast = rng.uniform(0.9, 2.2)
            aim = angle + math.pi + rng.uniform(-0.35, 0.35)
            place = (2.6 * math.cos(angle), 2.6 * math.sin(angle), radius + 0.02)
            speed = (fast * math.cos(aim), fast * math.sin(aim), 0.0)
            spin = (-speed[1] / radius, speed[0] / radius, 0.0)
        launches.append(_Launch(name, start, place, speed, spin))
    return Launched(world(rng, scenery, bodies, assets + material(rng, "ramp", 2)), launches)


def falling(rng: random.Random) -> Scene:
    """Bodies of all shapes drop onto each other and onto things that stand."""
    bodies, assets = standing(rng, 2)
    launches = []
    for item in range(rng.randint(7, 10)):
        name = f"{rng.choice(list(SHAPES))}_{item + 10}"
        body, wear = free_body(rng, name, (0, 0, 40 + item), rng.uniform(0.16, 0.32))
        bodies, assets = bodies + body, assets + wear
        place = (rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7), rng.uniform(2.4, 3.6))
        spin = tuple(rng.uniform(-3, 3) for _ in range(3))
        push = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 0.0)
        start = 0.8 * item + rng.uniform(0.0, 0.5)
        launches.append(_Launch(name, start, place, push, (spin[0], spin[1], spin[2])))
    return Launched(world(rng, "", bodies, assets), launches)


def colliding(rng: random.Random) -> Scene:
    """A pile of boxes is hit by what is thrown and rolled at it."""
    bodies, assets = standing(rng, 1)
    launches = []
    side = rng.uniform(0.2, 0.26)
    item = 10
    for layer, wide in enumerate((3, 2, 1)):
        for column in range(wide):
            x = (column - (wide - 1) / 2) * 2.15 * side
            place = (x, 0.0, side * (2 * layer + 1) + 0.002 * layer)
            body = (
                f'<body name="box_{item}" pos="{number(*place)}"><freejoint name="box_{item}"/>'
                f'<geom type="box" size="{number(side, side, side)}" material="box_{item}" '
                'density="150" contype="1" conaffinity="3"/></body>'
            )
            bodies, assets = bodies + body, assets + material(rng, f"box_{item}", 2, "cube")
            item += 1
    for shot in range(rng.randint(4, 6)):
        name = f"{rng.choice(('ball', 'ball', 'cylinder', 'egg'))}_{item}"
        radius = rng.uniform(0.16, 0.28)
        body, wear = free_body(rng, name, (0, 0, 40 + shot), radius)
        bodies, assets, item = bodies + body, assets + wear, item + 1
        angle = rng.uniform(0, 2 * math.pi)
        fast = rng.uniform(2.0, 4.5)
        aim = angle + math.pi + rng.uniform(-0.15, 0.15)
        place = (2.8 * math.cos(angle), 2.8 * math.sin(angle), radius + rng.uniform(0.02, 0.6))
        speed = (fast * math.cos(aim), fast * math.sin(aim), rng.uniform(0.0, 1.5))
        launches.append(_Launch(name, 0.8 + 1.6 * shot + rng.uniform(0, 0.6), place, speed))
    return Launched(world(rng, "", bodies, assets), launches)


def standing(rng: random.Random, count: int) -> tuple[str, str]:
    """Things that stand on the floor from the beginning: (bodies, their materials)."""
    bodies = assets = ""
    for item in range(count):
        name = f"{rng.choice(('box', 'cylinder'))}_{item + 1}"
        angle = 2 * math.pi * (item + rng.uniform(0.1, 0.9)) / max(count, 1)
        away, radius = rng.uniform(1.1, 1.9), rng.uniform(0.22, 0.36)
        place = (away * math.cos(angle), away * math.sin(angle), 1.2 * radius)
        body, wear = free_body(rng, name, place, radius)
        bodies, assets = bodies + body, assets + wear
    return bodies, assets
