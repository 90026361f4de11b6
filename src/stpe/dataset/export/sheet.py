"""Contact sheet: a grid of annotated frames with captions, as one PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import evenly, names, scene
from stpe.dataset.export.video import caption_lines, drawn
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.video.frame import ImageHW3

SUFFIX = ".png"
_GAP = 8


def write(dataset: Dataset, out: Path, part: Part = WHOLE) -> None:
    """`<name>.png` for every video."""
    for video_id, name in names(dataset, part).items():
        write_one(dataset, video_id, out / f"{name}{SUFFIX}", part)


def write_one(dataset: Dataset, video_id: str, out: Path, part: Part = WHOLE) -> None:
    """One sheet as a PNG file."""
    sheet = contact_sheet(dataset, video_id, part=part)
    written, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not written:
        raise DatasetError(f"cannot encode a sheet of {sheet.shape[1]}x{sheet.shape[0]} pixels")
    out.write_bytes(data.tobytes())


def contact_sheet(
    dataset: Dataset,
    video_id: str,
    columns: int = 3,
    rows: int = 3,
    width: int = 640,
    part: Part = WHOLE,
) -> ImageHW3:
    """RGB grid of frames spread evenly over a video, each annotated and captioned.

    Args:
        dataset: from `open_dataset`.
        video_id: one of `dataset.videos`.
        columns, rows: shape of the grid; fewer frames make fewer rows.
        width: pixels of the longer side of each frame.
        part: from when to when.
    """
    shown = scene(dataset, video_id, part)
    frames = evenly(shown.frames, columns * rows)
    if not frames:
        raise DatasetError(f"video {video_id} has no analysed frame to show")
    images = shown.images(frames, long_side=width)
    lines = caption_lines(frames, shown.size, width)
    cells = [drawn(shown, f, i, width, lines) for f, i in zip(frames, images, strict=True)]
    height, wide = cells[0].shape[:2]
    down = -(-len(cells) // columns)
    across = min(columns, len(cells))
    sheet = np.full((down * (height + _GAP) + _GAP, across * (wide + _GAP) + _GAP, 3), 12, np.uint8)
    for number, cell in enumerate(cells):
        y = _GAP + number // columns * (height + _GAP)
        x = _GAP + number % columns * (wide + _GAP)
        sheet[y : y + height, x : x + wide] = cell
    return sheet
