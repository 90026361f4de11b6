"""A biped and a quadruped that walk from place to place by scripted joint motion.

Their joints are set, not actuated: the lowest foot stands on the floor and the stride fits the
swing of the legs. What lies in their way is pushed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stpe.simulate.physics_scenes import standing
from stpe.simulate.physics_world import PUPPET, TIMESTEP_S, Scene, material, number, world

_ARENA_M = 1.6
_TURN_RAD_S = 1.1
_FOOT_M = 0.05


@dataclass(frozen=True, slots=True)
class Leg:
    """Names its joints `hip_NAME` and `knee_NAME`; `phase` of its swing in radians."""

    name: str
    phase: float
    upper: float
    lower: float


@dataclass
class Puppet:
    """A figure and its gait. `arms` swing against the leg of the same phase."""

    name: str
    legs: tuple[Leg, ...]
    swing_rad: float
    strides_hz: float
    rng: random.Random
    arms: tuple[tuple[str, float], ...] = ()
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    phase: float = 0.0
    stride: float = 0.0  # 0 standing, 1 full stride
    walks: bool = True
    until_s: float = 0.0
    goal: tuple[float, float] = (0.0, 0.0)
    last: dict[str, float] = field(default_factory=dict)

    def drive(self, data: Any, time_s: float) -> None:
        """Advance by one step and set every joint."""
        if time_s >= self.until_s:
            self.walks = not self.walks
            self.until_s = time_s + self.rng.uniform(*((1.8, 3.5) if self.walks else (1.0, 2.0)))
        self.stride += (float(self.walks) - self.stride) * min(1.0, 6 * TIMESTEP_S)
        if math.hypot(self.goal[0] - self.x, self.goal[1] - self.y) < 0.3:
            angle, away = self.rng.uniform(0, 2 * math.pi), _ARENA_M * self.rng.uniform(0.5, 1)
            self.goal = away * math.cos(angle), away * math.sin(angle)
        wish = math.atan2(self.goal[1] - self.y, self.goal[0] - self.x) - self.yaw
        wish = math.remainder(wish, 2 * math.pi)
        turn = max(-_TURN_RAD_S, min(_TURN_RAD_S, 3 * wish)) * self.stride
        length = self.legs[0].upper + self.legs[0].lower
        speed = 4 * length * math.sin(self.swing_rad * self.stride) * self.strides_hz * self.stride
        speed *= max(0.15, math.cos(wish))
        self.yaw += turn * TIMESTEP_S
        self.x += speed * math.cos(self.yaw) * TIMESTEP_S
        self.y += speed * math.sin(self.yaw) * TIMESTEP_S
        self.phase += 2 * math.pi * self.strides_hz * self.stride * TIMESTEP_S
        for joint, value in self._joints(time_s):
            entry = data.joint(f"{self.name}/{joint}")
            before = self.last.get(joint, value)
            entry.qpos[0], entry.qvel[0] = value, (value - before) / TIMESTEP_S
            self.last[joint] = value

    def _joints(self, time_s: float) -> Iterator[tuple[str, float]]:
        height = 0.0
        for leg in self.legs:
            angle = self.phase + leg.phase
            hip = self.swing_rad * self.stride * math.sin(angle)
            knee = 1.3 * self.swing_rad * self.stride * max(0.0, math.cos(angle)) + 0.06
            height = max(height, leg.upper * math.cos(hip) + leg.lower * math.cos(hip - knee))
            yield f"hip_{leg.name}", -hip
            yield f"knee_{leg.name}", knee
        for arm, phase in self.arms:
            yield (
                arm,
                0.8 * self.swing_rad * self.stride * math.sin(self.phase + phase)
                + 0.03 * math.sin(1.3 * time_s),
            )
        yield from (("x", self.x), ("y", self.y), ("z", height + _FOOT_M), ("yaw", self.yaw))


class Walkers(Scene):
    """Figures among a few free bodies."""

    distance = 4.4
    focus = (0.0, 0.0, 0.6)

    def __init__(self, xml: str, puppets: list[Puppet]) -> None:
        self.xml, self._puppets = xml, puppets

    def drive(self, model: Any, data: Any, time_s: float) -> str | None:
        """Move every figure; the first one's state is the scene's."""
        for puppet in self._puppets:
            puppet.drive(data, time_s)
        return "walking" if self._puppets[0].stride > 0.5 else "standing"


def walkers(rng: random.Random) -> Scene:
    """A biped and a quadruped."""
    bodies, assets = standing(rng, 2)
    puppets = []
    for name, build in (("biped_20", _biped), ("quadruped_21", _quadruped)):
        xml, puppet = build(name, rng)
        place = rng.uniform(0, 2 * math.pi)
        puppet.x, puppet.y = 1.2 * math.cos(place), 1.2 * math.sin(place)
        puppet.yaw = rng.uniform(-math.pi, math.pi)
        puppet.walks = name.startswith("quadruped")  # turned over at once: the biped goes first
        bodies += xml
        assets += material(rng, name, 2, "cube") + material(rng, f"{name}/limb", 2, "cube")
        puppets.append(puppet)
    return Walkers(world(rng, "", bodies, assets), puppets)


def _hinge(name: str, axis: str) -> str:
    return f'<joint name="{name}" type="hinge" axis="{axis}" armature="0.1"/>'


def _limb(wear: str, length: float, thick: float) -> str:
    ends = number(0, 0, 0, 0, 0, -length)
    return f'<geom type="capsule" fromto="{ends}" size="{thick:.4g}" material="{wear}" {PUPPET}/>'


def _root(name: str) -> str:
    slides = "".join(
        f'<joint name="{name}/{n}" type="slide" axis="{axis}"/>'
        for n, axis in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
    return slides + _hinge(f"{name}/yaw", "0 0 1")


def _leg(name: str, leg: Leg, place: tuple[float, float], thick: float) -> str:
    wear = f"{name}/limb"
    foot = f'<geom type="box" pos="0.04 0 {-leg.lower:.4g}" size="0.09 0.045 0.035" '
    foot += f'material="{wear}" {PUPPET}/>'
    return (
        f'<body name="{name}/thigh_{leg.name}" pos="{number(*place, 0)}">'
        f"{_hinge(f'{name}/hip_{leg.name}', '0 1 0')}{_limb(wear, leg.upper, thick)}"
        f'<body name="{name}/shin_{leg.name}" pos="{number(0, 0, -leg.upper)}">'
        f"{_hinge(f'{name}/knee_{leg.name}', '0 1 0')}{_limb(wear, leg.lower, 0.8 * thick)}{foot}"
        "</body></body>"
    )


def _biped(name: str, rng: random.Random) -> tuple[str, Puppet]:
    long = rng.uniform(0.38, 0.46)
    legs = (Leg("left", 0.0, long, long), Leg("right", math.pi, long, long))
    trunk = rng.uniform(0.5, 0.6)
    arms = "".join(
        f'<body name="{name}/arm_{side}" pos="{number(0, y, trunk)}">'
        f"{_hinge(f'{name}/shoulder_{side}', '0 1 0')}{_limb(f'{name}/limb', 0.55, 0.045)}</body>"
        for side, y in (("left", 0.24), ("right", -0.24))
    )
    xml = (
        f'<body name="{name}">{_root(name)}'
        f'<geom type="box" pos="{number(0, 0, trunk / 2 + 0.03)}" '
        f'size="{number(0.11, 0.18, trunk / 2)}" material="{name}" {PUPPET}/>'
        f'<geom type="sphere" pos="{number(0, 0, trunk + 0.2)}" size="0.13" '
        f'material="{name}/limb" {PUPPET}/>'
        f"{_leg(name, legs[0], (0, 0.11), 0.07)}{_leg(name, legs[1], (0, -0.11), 0.07)}"
        f"{arms}</body>"
    )
    swings = (("shoulder_left", 0.0), ("shoulder_right", math.pi))
    return xml, Puppet(name, legs, 0.5, rng.uniform(0.65, 0.85), rng, swings)


def _quadruped(name: str, rng: random.Random) -> tuple[str, Puppet]:
    long, half = rng.uniform(0.2, 0.26), rng.uniform(0.32, 0.4)
    places = {
        "front_left": (half, 0.13, 0.0),
        "front_right": (half, -0.13, math.pi),
        "back_left": (-half, 0.13, math.pi),
        "back_right": (-half, -0.13, 0.0),
    }
    legs = tuple(Leg(leg, phase, long, long) for leg, (_, _, phase) in places.items())
    limbs = "".join(_leg(name, leg, places[leg.name][:2], 0.05) for leg in legs)
    tail = (
        f'<body name="{name}/tail" pos="{number(-half - 0.05, 0, 0.1)}">'
        f"{_hinge(f'{name}/tail', '0 0 1')}"
        f'<geom type="capsule" fromto="0 0 0 -0.28 0 0.14" size="0.03" material="{name}/limb" '
        f"{PUPPET}/></body>"
    )
    xml = (
        f'<body name="{name}">{_root(name)}'
        f'<geom type="box" pos="0 0 0.06" size="{number(half + 0.06, 0.14, 0.13)}" '
        f'material="{name}" {PUPPET}/>'
        f'<geom type="ellipsoid" pos="{number(half + 0.2, 0, 0.22)}" size="0.17 0.1 0.11" '
        f'material="{name}/limb" {PUPPET}/>{limbs}{tail}</body>'
    )
    return xml, Puppet(name, legs, 0.45, rng.uniform(1.0, 1.4), rng, (("tail", 0.5),))
