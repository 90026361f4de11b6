"""Static pixels of one frame placed into another by depth and camera alone."""

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco


@dataclass
class Reprojected:
    """`at`, `to`: pixels (rows, columns) in either frame; `gap`: depth found minus expected."""

    at: tuple
    to: tuple
    gap: np.ndarray


def depth_of(truth, facts, index):
    """(depth in units, known) of a frame."""
    raw = cv2.imread(str(truth / "depth" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
    encoding = facts["depth"]
    return encoding["step"] * raw + encoding["offset"], raw < encoding["saturated"]


def reproject(truth, facts, poses, objects, first, second):
    """Every pixel of `first` that no object covers, where it lies in `second`."""
    k = facts["intrinsics"]
    depth, known = depth_of(truth, facts, first)
    there, known_there = depth_of(truth, facts, second)
    free = {first: known, second: known_there}
    for row in objects:
        if row["frame_index"] in free:
            mask = coco.decode({**row["mask_rle"], "counts": row["mask_rle"]["counts"].encode()})
            free[row["frame_index"]] &= cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
    height, width = depth.shape
    rows, columns = np.nonzero(free[first])
    z = depth[rows, columns]
    rays = np.stack(
        [(columns + 0.5 - k["cx"]) / k["fx"], (rows + 0.5 - k["cy"]) / k["fy"], np.ones(len(z))]
    )
    step = np.linalg.inv(poses[second]) @ poses[first]
    x, y, far = step[:3, :3] @ (rays * z) + step[:3, 3:]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = k["fx"] * x / far + k["cx"], k["fy"] * y / far + k["cy"]
        inside = (far > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = u[inside].astype(int), v[inside].astype(int)
    seen = free[second][v, u]
    at = rows[inside][seen], columns[inside][seen]
    to = v[seen], u[seen]
    return Reprojected(at, to, there[to] - far[inside][seen])
