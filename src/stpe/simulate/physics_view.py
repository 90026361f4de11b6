"""A compiled scene and a camera in it: what the engine's numbers are called, and the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

#: Millimetres in 16 bits; beyond 65 m there is no room.
DEPTH = {"step": 0.001, "offset": 0.0, "saturated": 65535}


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
