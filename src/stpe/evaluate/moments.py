"""The worst moments of a video, as small pictures with what is true and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stpe.dataset.reader import Dataset
from stpe.evaluate.scorecard import Curve
from stpe.evaluate.truth import Truth
from stpe.video.frame import ImageHW3

_SIDE = 300
_QUALITY = 72
_TRUE, _FOUND = (60, 200, 90), (255, 150, 30)
#: Moments of one signal lie at least this far apart.
_APART_S = 1.0


@dataclass(frozen=True)
class Moment:
    """One frame: its place in the curve, error, and a JPEG of it."""

    position: int
    frame: int
    pts: float
    error: float
    jpeg: bytes


def worst(curve: Curve, count: int) -> list[int]:
    """Positions of the largest errors, apart from each other, the worst first."""
    found: list[int] = []
    for i in sorted(range(len(curve.error)), key=lambda i: (-curve.error[i], i)):
        here = curve.pts[i]
        if len(found) == count or curve.error[i] <= 0:
            break
        if here is not None and all(abs(here - (curve.pts[j] or 0.0)) >= _APART_S for j in found):
            found.append(i)
    return found


def pictures(
    dataset: Dataset, video_id: str, truth: Truth, curves: Sequence[Curve], count: int
) -> dict[str, list[Moment]]:
    """The worst moments of every curve, by `signal metric`; every frame is decoded once."""
    chosen = {f"{c.signal} {c.metric}": (c, worst(c, count)) for c in curves}
    wanted = {c.frames[i]: c.pts[i] for c, places in chosen.values() for i in places}
    if not wanted:
        return {name: [] for name in chosen}
    frames = sorted(wanted)
    reader = dataset.frame_reader(video_id, _SIDE)
    try:
        images = reader.frames(frames, [float(wanted[i] or 0.0) for i in frames])
    finally:
        reader.close()
    by_frame = dict(zip(frames, images, strict=True))
    found = {}
    for name, (c, places) in chosen.items():
        boxed = c.signal.startswith("objects.")
        found[name] = [
            Moment(
                i,
                c.frames[i],
                float(c.pts[i] or 0.0),
                c.error[i],
                _jpeg(
                    _drawn(dataset, video_id, truth, by_frame[c.frames[i]], c.frames[i])
                    if boxed
                    else by_frame[c.frames[i]]
                ),
            )
            for i in places
        ]
    return found


def _drawn(
    dataset: Dataset, video_id: str, truth: Truth, image_HW3: ImageHW3, frame: int
) -> ImageHW3:
    """True boxes green, found ones orange."""
    image = np.ascontiguousarray(image_HW3).copy()
    (video,) = dataset.arrow("videos", video_id, ["width"]).to_pylist()
    scale = image.shape[1] / video["width"]
    columns = ["frame_index", "box_xyxy"]
    rows = dataset.arrow("objects", video_id, columns).to_pylist()
    boxes = [(r["box_xyxy"], _FOUND) for r in rows if r["frame_index"] == frame]
    there = (truth.objects or {}).get(frame, ())
    boxes += [(t.box_xyxy, _TRUE) for t in there if not t.ignored]
    for box, colour in boxes:
        x0, y0, x1, y1 = (round(scale * v) for v in box)
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    return image


def _jpeg(image_HW3: ImageHW3) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR), parameters)
    assert done
    return bytes(data)
