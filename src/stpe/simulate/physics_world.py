"""Rooms, textures, lights and bodies as MJCF, drawn from a seed.

Every body straight below the world whose name is `class_number` is an object of the ground truth;
what belongs to the world itself (floor, walls, tables) is scenery.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from typing import Any

TIMESTEP_S = 1 / 600
#: Collision groups: scenery and free bodies meet each other; puppets, whose joints are set by
#: a script, meet free bodies only.
FREE = 'contype="1" conaffinity="3"'
PUPPET = 'contype="2" conaffinity="0"'
ROOM_M = 6.0

_MARKS = ("none", "edge", "random")


class Scene(ABC):
    """What is in the room and how it is driven.

    Attributes:
        xml: MJCF of the whole model, with a mocap body `eye` that carries the camera.
        focus: where there is something to see, metres.
        distance: from where the camera looks at it, metres.
    """

    xml: str
    focus: tuple[float, float, float] = (0.0, 0.0, 0.4)
    distance: float = 4.2

    @abstractmethod
    def drive(self, model: Any, data: Any, time_s: float) -> str | None:
        """Set what a script decides at this moment; called once a step, in order.

        Returns:
            What the figure does, where there is one.
        """


def number(*values: float) -> str:
    """Numbers as MJCF writes them."""
    return " ".join(f"{value:.5g}" for value in values)


def colour(rng: random.Random, low: float = 0.15, high: float = 0.95) -> str:
    """A colour of three random channels."""
    return number(*(rng.uniform(low, high) for _ in range(3)))


def material(rng: random.Random, name: str, repeat: float, kind: str = "2d") -> str:
    """A procedural texture of two colours and a material that wears it."""
    builtin = rng.choice(("checker", "flat", "gradient") if kind == "cube" else ("checker", "flat"))
    mark = rng.choice(_MARKS[1:]) if builtin == "flat" else rng.choice(_MARKS)
    side = 128 if kind == "cube" else 256
    return (
        f'<texture name="{name}" type="{kind}" builtin="{builtin}" rgb1="{colour(rng)}" '
        f'rgb2="{colour(rng)}" mark="{mark}" markrgb="{colour(rng)}" random="0.05" '
        f'width="{side}" height="{side}"/>'
        f'<material name="{name}" texture="{name}" texrepeat="{number(repeat, repeat)}" '
        f'reflectance="{number(rng.choice((0, 0, 0.1)))}"/>'
    )


def geom(kind: str, size: tuple[float, ...], wear: str, extra: str = "") -> str:
    """A geom of a free body."""
    return (
        f'<geom type="{kind}" size="{number(*size)}" material="{wear}" density="300" '
        f'friction="0.7 0.01 0.004" condim="6" {FREE} {extra}/>'
    )


#: Class of a body to its geom's MJCF type.
SHAPES = {
    "ball": "sphere",
    "box": "box",
    "cylinder": "cylinder",
    "capsule": "capsule",
    "egg": "ellipsoid",
}


def sized(rng: random.Random, shape: str, radius: float) -> tuple[float, ...]:
    """Size of a geom of about this radius."""
    vary = [radius * rng.uniform(0.75, 1.15) for _ in range(3)]
    return {
        "ball": (radius,),
        "box": tuple(vary),
        "cylinder": (radius, vary[1]),
        "capsule": (0.6 * radius, 0.8 * radius),
        "egg": tuple(vary),
    }[shape]


def free_body(
    rng: random.Random, name: str, place: tuple[float, float, float], radius: float
) -> tuple[str, str]:
    """(body, its material); the class is the name up to the underscore."""
    shape = name.partition("_")[0]
    body = (
        f'<body name="{name}" pos="{number(*place)}"><freejoint name="{name}"/>'
        f"{geom(SHAPES[shape], sized(rng, shape, radius), name)}</body>"
    )
    return body, material(rng, name, 2, "cube")


def world(
    rng: random.Random, scenery: str, bodies: str, assets: str, rest: str = "", fovy: float = 50.0
) -> str:
    """A room with four walls, one or two lights, and an eye."""
    lights = []
    for lamp in range(rng.choice((1, 2))):
        angle, height = rng.uniform(0, 2 * math.pi), rng.uniform(3.5, 5)
        away = rng.uniform(0.5, 3.0)
        x, y = away * math.cos(angle), away * math.sin(angle)
        bright = rng.uniform(0.35, 0.7)
        lights.append(
            f'<light pos="{number(x, y, height)}" dir="{number(-x, -y, -height)}" '
            f'directional="true" diffuse="{number(bright, bright, rng.uniform(0.8, 1) * bright)}" '
            f'castshadow="{"true" if lamp == 0 else "false"}"/>'
        )
    half = ROOM_M
    walls = []
    for number_, (x, y) in enumerate(((half, 0), (-half, 0), (0, half), (0, -half))):
        size = (0.1, half, 2.5) if x else (half, 0.1, 2.5)
        walls.append(
            f'<geom type="box" pos="{number(x, y, 2.5)}" size="{number(*size)}" '
            f'material="wall{number_ % 2}"/>'
        )
    ambient = rng.uniform(0.25, 0.4)
    papers = "".join(material(rng, f"wall{i}", rng.uniform(1, 3)) for i in range(2))
    return f"""<mujoco>
<compiler angle="radian" eulerseq="zyx"/>
<option timestep="{TIMESTEP_S:.9f}" integrator="implicitfast"/>
<statistic extent="1" center="0 0 0"/>
<visual>
  <map znear="0.02" zfar="40"/>
  <quality shadowsize="1024" offsamples="4"/>
  <headlight ambient="{number(ambient, ambient, ambient)}" diffuse="0.2 0.2 0.2" specular="0 0 0"/>
</visual>
<asset>{material(rng, "floor", rng.uniform(4, 9))}{papers}{assets}</asset>
<worldbody>
{"".join(lights)}
<geom type="plane" size="{number(half, half, 0.1)}" material="floor" friction="0.8 0.01 0.004"
  contype="1" conaffinity="1"/>
{"".join(walls)}{scenery}{bodies}
<body name="eye" mocap="true"><camera name="eye" fovy="{number(fovy)}"/></body>
</worldbody>
{rest}
</mujoco>"""
