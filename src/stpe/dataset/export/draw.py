"""Drawing signals on a frame: masks, boxes, names, motion, the camera's arrow, the caption."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from stpe.dataset.export.scene import SceneFrame
from stpe.rle import decode_mask
from stpe.video.frame import ImageHW3

Color = tuple[int, int, int]
_INK: Color = (245, 245, 245)
_DIM: Color = (160, 165, 175)
_PAPER: Color = (22, 24, 28)
_LEAST_LINES, _MOST_LINES = 2, 6
_NAME_WEIGHT = 600
_GOLDEN = (math.sqrt(5) - 1) / 2
#: Joints of the COCO skeleton that are joined by a line.
_BONES = (
    (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16), (0, 5), (0, 6),
)  # fmt: skip
_POINTING = {
    "pan_left": (-1.0, 0.0),
    "pan_right": (1.0, 0.0),
    "tilt_up": (0.0, -1.0),
    "tilt_down": (0.0, 1.0),
}


def color_of(identity: int) -> Color:
    """A vivid RGB colour, far from those of neighbouring numbers."""
    hue = (identity * _GOLDEN) % 1.0
    value = 1.0 if identity % 2 else 0.85
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def annotated(image_HW3: ImageHW3, frame: SceneFrame, stored: tuple[int, int]) -> ImageHW3:
    """A copy of the image with everything known of the frame but its caption.

    Args:
        image_HW3: RGB at any size.
        frame: its rows, in pixels of the stored size.
        stored: (width, height) of the stored size.
    """
    height, width = image_HW3.shape[:2]
    scale = np.array([width / stored[0], height / stored[1]])
    canvas = image_HW3.copy()
    # Large things first, so that small ones stay visible on top of them.
    objects = sorted(frame.objects, key=lambda o: -(o["area_px"] or 0.0))
    _fill_masks(canvas, objects, stored)
    for item in objects:
        _draw_object(canvas, item, scale)
    placed: list[tuple[int, int, int, int]] = []
    # The smallest claim their place for a name first: the rest have more room to move.
    for item in reversed(objects):
        _name(canvas, item, scale, placed)
    _camera(canvas, frame.row)
    return canvas


def lines_of(captions: Iterable[str], width: int) -> int:
    """Lines that the longest of the captions takes below an image so wide; from two to six."""
    size = _caption_size(width)
    taken = [len(wrapped(text, width - size, size, _MOST_LINES)) for text in captions]
    return max([_LEAST_LINES, *taken])


def captioned(image_HW3: ImageHW3, header: str, caption: str, lines: int) -> ImageHW3:
    """The image above a dark band with a header line and a caption of so many lines."""
    width = image_HW3.shape[1]
    size = _caption_size(width)
    step = round(size * 1.45)
    band = np.full(((lines + 1) * step + size, width, 3), _PAPER, np.uint8)
    write(band, header, (size // 2, size + size // 3), size * 4 // 5, _DIM)
    for number, line in enumerate(wrapped(caption, width - size, size, lines)):
        write(band, line, (size // 2, size // 3 + size + (number + 1) * step), size, _INK)
    return np.ascontiguousarray(np.vstack([image_HW3, band]))


def _caption_size(width: int) -> int:
    return max(12, round(width / 48))


def header_of(frame: SceneFrame, analysed: bool = True) -> str:
    """The line above the caption: time, shot, number of objects, how the camera moves, and whether
    boxes are interpolated."""
    parts = [f"{frame.pts:.2f} s"]
    if frame.row["shot_id"] is not None:
        parts.append(f"shot {frame.row['shot_id']}")
    parts.append(f"{len(frame.objects)} object" + "s" * (len(frame.objects) != 1))
    if frame.row["camera_motion"]:
        parts.append(f"camera {frame.row['camera_motion'].replace('_', ' ')}")
    if not analysed:
        parts.append("between analysed frames")
    return "   ".join(parts)


def _label_of(item: dict[str, Any]) -> str:
    """The name that its whole track supports; for a lone look, what the detector said."""
    track = "" if item["track_id"] is None else f"#{item['track_id']} "
    told = item.get("track") or item
    confidence = "" if told["confidence"] is None else f" {told['confidence']:.2f}"
    return f"{track}{told['label']}{confidence}"


def _identity(item: dict[str, Any]) -> int:
    return int(item["object_id"] if item["track_id"] is None else item["track_id"])


def _fill_masks(
    canvas: ImageHW3, objects: Sequence[dict[str, Any]], stored: tuple[int, int]
) -> None:
    height, width = canvas.shape[:2]
    for item in objects:
        if item.get("shape") is not None:
            _fill_shape(canvas, item, stored)
        if item["mask_rle"] is None:
            continue
        mask = decode_mask(item["mask_rle"]).astype(np.uint8)
        if mask.shape != (height, width):
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        inside = mask.astype(bool)
        color = np.array(color_of(_identity(item)), np.float32)
        canvas[inside] = (canvas[inside] * 0.6 + color * 0.4).astype(np.uint8)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        thickness = max(1, round(width / 640))
        cv2.drawContours(canvas, outline, -1, color_of(_identity(item)), thickness, cv2.LINE_AA)


def _fill_shape(canvas: ImageHW3, item: dict[str, Any], stored: tuple[int, int]) -> None:
    """The mask between two that were measured: without an outline."""
    scale = np.tile([canvas.shape[1] / stored[0], canvas.shape[0] / stored[1]], 2)
    x0, y0, x1, y1 = (item["shape"].box_xyxy * scale).round().astype(int).tolist()
    part = canvas[y0:y1, x0:x1]
    if not part.size:
        return
    inside = cv2.resize(item["shape"].inside_HW.astype(np.uint8), part.shape[1::-1]).astype(bool)
    color = np.array(color_of(_identity(item)), np.float32)
    part[inside] = (part[inside] * 0.6 + color * 0.4).astype(np.uint8)


def _draw_object(canvas: ImageHW3, item: dict[str, Any], scale: Any) -> None:
    color = color_of(_identity(item))
    thickness = max(1, round(canvas.shape[1] / 640))
    box = np.asarray(item["box_xyxy"], float).reshape(2, 2) * scale
    corners: list[list[int]] = box.round().astype(int).tolist()
    if item.get("interpolated"):
        if item["shape"] is None:
            _dashed(canvas, corners, color, thickness)
    elif item["mask_rle"] is None:
        cv2.rectangle(canvas, corners[0], corners[1], color, thickness, cv2.LINE_AA)
    if item["keypoints"] is not None:
        _draw_pose(canvas, np.asarray(item["keypoints"], float).reshape(-1, 3), scale, color)
    goes_along = item.get("track") and item["track"]["motion_summary"] is None
    if item["motion"] == "moving" and not goes_along:
        velocity = item["object_velocity_px_s"] or item["velocity_px_s"]
        if velocity is not None:
            # Half a second of travel.
            start = box.mean(axis=0)
            end = start + np.asarray(velocity, float) * scale * 0.5
            arrow(canvas, start, end, _INK, thickness + 1)


def _dashed(canvas: ImageHW3, corners: list[list[int]], color: Color, thickness: int) -> None:
    (x0, y0), (x1, y1) = corners
    dash = max(4, round(canvas.shape[1] / 160))
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            cv2.line(canvas, (x, y), (min(x + dash, x1), y), color, thickness)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            cv2.line(canvas, (x, y), (x, min(y + dash, y1)), color, thickness)


def _draw_pose(canvas: ImageHW3, joints_J3: Any, scale: Any, color: Color) -> None:
    thickness = max(1, round(canvas.shape[1] / 640))
    points = (joints_J3[:, :2] * scale).round().astype(int).tolist()
    seen = joints_J3[:, 2] >= 0.3
    for a, b in _BONES:
        if seen[a] and seen[b]:
            cv2.line(canvas, points[a], points[b], _INK, thickness, cv2.LINE_AA)
    for point, visible in zip(points, seen, strict=True):
        if visible:
            cv2.circle(canvas, point, thickness + 1, color, -1, cv2.LINE_AA)


def _name(
    canvas: ImageHW3, item: dict[str, Any], scale: Any, placed: list[tuple[int, int, int, int]]
) -> None:
    height, width = canvas.shape[:2]
    size = max(10, round(width / 64))
    text = _label_of(item)
    wide, tall = text_width(text, size, _NAME_WEIGHT) + size // 2, round(size * 1.35)
    x0, y0, x1, y1 = (np.asarray(item["box_xyxy"], float) * np.tile(scale, 2)).tolist()
    spots = [(x0, y0 - tall), (x0, y0), (x1 - wide, y0), (x0, y1 - tall), (x0, y1)]
    spots += [(x0, y0 + tall * n) for n in range(1, 6)]
    for x, y in spots:
        left = int(min(max(x, 0), max(width - wide, 0)))
        top = int(min(max(y, 0), max(height - tall, 0)))
        chip = (left, top, left + wide, top + tall)
        if not any(_overlap(chip, other) for other in placed):
            break
    else:
        return  # No room: the colour still tells who it is.
    placed.append(chip)
    color = color_of(_identity(item))
    cv2.rectangle(canvas, chip[:2], chip[2:], color, -1)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    spot = (chip[0] + size // 4, chip[1] + size)
    write(canvas, text, spot, size, (15, 15, 15) if bright else _INK, _NAME_WEIGHT)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _camera(canvas: ImageHW3, row: dict[str, Any]) -> None:
    """A small dial at the top right: where the camera turns or goes."""
    motion = row["camera_motion"]
    if not motion:
        return
    width = canvas.shape[1]
    radius = max(12, width // 32)
    center = (width - radius - radius // 2, radius + radius // 2)
    dial = canvas.copy()
    cv2.circle(dial, center, radius, _PAPER, -1, cv2.LINE_AA)
    cv2.addWeighted(dial, 0.6, canvas, 0.4, 0, dst=canvas)
    cv2.circle(canvas, center, radius, _INK, 1, cv2.LINE_AA)
    thickness = max(1, radius // 10)
    middle = np.array(center, float)
    towards = _heading(row)
    if motion in ("zoom_in", "zoom_out"):
        inner, outer = (0.3, 0.8) if motion == "zoom_out" else (0.8, 0.3)
        for side in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            corner = np.array(side, float) * radius * 0.7
            arrow(canvas, middle + corner * inner, middle + corner * outer, _INK, thickness, 0.5)
    elif motion in ("roll_cw", "roll_ccw"):
        inside = (round(radius * 0.55),) * 2
        begin, end = (-60, 210) if motion == "roll_cw" else (240, -30)
        cv2.ellipse(canvas, center, inside, 0, begin, end, _INK, thickness, cv2.LINE_AA)
        tip = middle + radius * 0.55 * np.array(
            [math.cos(math.radians(end)), math.sin(math.radians(end))]
        )
        cv2.circle(canvas, tuple(tip.round().astype(int).tolist()), thickness * 2, _INK, -1)
    elif towards is not None:
        reach = np.array(towards) * radius * 0.75
        arrow(canvas, middle - reach, middle + reach, _INK, thickness + 1, 0.4)
    else:
        cv2.circle(canvas, center, max(2, radius // 6), _INK, -1, cv2.LINE_AA)


def _heading(row: dict[str, Any]) -> tuple[float, float] | None:
    """Unit direction on the screen that the camera turns to or moves in; None if neither."""
    if row["camera_motion"] in _POINTING:
        return _POINTING[row["camera_motion"]]
    if row["camera_motion"] not in ("mixed", "translate"):
        return None
    if row["camera_rotation_deg"] is not None and row["camera_motion"] == "mixed":
        # Turning about +y (down) looks right; about +x (right) looks up.
        x, y = row["camera_rotation_deg"][1], -row["camera_rotation_deg"][0]
    elif row["camera_translation"] is not None:
        x, y = row["camera_translation"][:2]
    else:
        return None
    length = math.hypot(x, y)
    return None if length == 0 else (x / length, y / length)


def arrow(
    canvas: ImageHW3, start: Any, end: Any, color: Color, thickness: int, tip: float = 0.3
) -> None:
    """An arrow with a dark rim, so that it shows on any ground."""
    a = tuple(np.asarray(start).round().astype(int).tolist())
    b = tuple(np.asarray(end).round().astype(int).tolist())
    cv2.arrowedLine(canvas, a, b, (0, 0, 0), thickness + 2, cv2.LINE_AA, tipLength=tip)
    cv2.arrowedLine(canvas, a, b, color, thickness, cv2.LINE_AA, tipLength=tip)


@cache
def _font() -> Any:
    return cv2.FontFace("sans")


def write(
    canvas: ImageHW3, text: str, at: tuple[int, int], size: int, color: Color, weight: int = 400
) -> None:
    """Write one line with its baseline's left end at `at`; any script."""
    cv2.putText(canvas, text, at, color, _font(), size, weight, wrap=(0, 1 << 20))


def text_width(text: str, size: int, weight: int = 400) -> int:
    """Pixels that one line of this weight takes."""
    return int(cv2.getTextSize((0, 0), text, (0, 0), _font(), size, weight, wrap=(0, 1 << 20))[2])


def wrapped(text: str, width: int, size: int, lines: int) -> list[str]:
    """Text broken at spaces into at most so many lines that fit; the last may end in an ellipsis.

    >>> wrapped("one two", 1000, 16, 2)
    ['one two']
    """
    out: list[str] = []
    for word in text.split():
        if out and text_width(f"{out[-1]} {word}", size) <= width:
            out[-1] += f" {word}"
        elif len(out) < lines:
            out.append(word)
        else:
            while out[-1] and text_width(f"{out[-1]}…", size) > width:
                out[-1] = out[-1][:-1]
            out[-1] += "…"
            break
    return out
