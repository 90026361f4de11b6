"""A folder of mask images, one a frame (DAVIS): 0 is background, every other value an object.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016; Pont-Tuset et al., "The 2017 DAVIS Challenge", 2017 (indexed PNG).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stpe.errors import TruthError
from stpe.evaluate.labels.boxes import PEOPLE
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import numbered
from stpe.evaluate.truth import Truth, TruthObject
from stpe.rle import encode_mask

#: More distinct values in one image than this: a photograph, not a mask.
MOST_OBJECTS = 64
#: Of a black and white mask saved with soft edges, at most this share is between.
_SOFT_EDGE = 0.05
_VOID = 255  # of indexed masks with several objects: pixels nobody judged


def load_mask(path: Path) -> NDArray[np.uint8] | None:
    """HxW object numbers, 0 background; None where the image is no mask."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P"):
                return None
            grey = image.mode != "P"
            values = np.asarray(image.convert("L") if image.mode == "1" else image, np.uint8)
    except (OSError, UnidentifiedImageError):
        return None
    found = np.unique(values)
    inner = np.isin(values, (0, _VOID), invert=True).mean()
    if grey and len(found) > 2 and found[-1] == _VOID and inner < _SOFT_EDGE:
        return np.where(values > _VOID // 2, _VOID, 0).astype(np.uint8)
    return values if len(found) <= MOST_OBJECTS else None


def read_masks(path: Path, files: list[Path], context: Context) -> Truth:
    """Masks of one clip; a single value besides 0 is one foreground, else each is an instance.

    Raises:
        TruthError: an image is damaged or of another size, or nothing is labelled.
    """
    masks = {}
    for index, file in numbered(files, context).items():
        mask = load_mask(file)
        if mask is None:
            raise TruthError(f"{file} is not a mask: one channel, few values, 0 for background")
        masks[index] = mask
    if len({mask.shape for mask in masks.values()}) > 1:
        raise TruthError(f"{path}: masks of several sizes")
    values = sorted({int(v) for mask in masks.values() for v in np.unique(mask)} - {0})
    single = len(values) <= 1
    if not values:
        raise TruthError(f"{path}: every mask is empty")
    how = "one foreground" if single else "a value an object"
    void = "; 255 is void" if not single and _VOID in values else ""
    context.say(f"read as masks, {how}{void}")
    height, width = next(iter(masks.values())).shape
    objects = {
        index: tuple(
            item
            for value in values
            if (single or value != _VOID) and (item := _object(mask == value, value)) is not None
        )
        for index, mask in masks.items()
    }
    return Truth(
        "masks",
        path,
        width,
        height,
        objects=objects,
        labelled=frozenset(),
        instances=not single,
    )


def read_ids(path: Path, files: list[Path], context: Context, mots: bool = False) -> Truth:
    """Images of instance numbers, 8 or 16 bits, 0 for background.

    Args:
        mots: KITTI MOTS: numbers are class (1 car, 2 pedestrian) times 1000 plus instance, and
            10000 is ignored.

    Raises:
        TruthError: an image has several channels or is damaged, or sizes differ.
    """
    objects: dict[int, tuple[TruthObject, ...]] = {}
    shapes = set()
    for index, file in numbered(files, context).items():
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 2:
            raise TruthError(f"{file} is not an image of instance numbers: one channel")
        shapes.add(image.shape)
        found = []
        for value in map(int, np.unique(image[image > 0])):
            item = _object(image == value, value)
            assert item is not None
            if mots:
                label = {1: "car", 2: "person"}.get(value // 1000)
                item = replace(item, label=label or "ignored", ignored=label is None)
            found.append(item)
        objects[index] = tuple(found)
    if len(shapes) != 1 or not any(objects.values()):
        raise TruthError(f"{path}: images of several sizes, or nothing labelled")
    context.say("read as instance numbers" + (" of KITTI MOTS, class times 1000" if mots else ""))
    height, width = shapes.pop()
    labelled = frozenset(("car", *PEOPLE)) if mots else frozenset()
    return Truth("masks", path, width, height, objects=objects, labelled=labelled)


def _object(mask_HW: NDArray[np.bool_], value: int) -> TruthObject | None:
    columns, lines = np.flatnonzero(mask_HW.any(0)), np.flatnonzero(mask_HW.any(1))
    if not len(columns):
        return None
    box = (float(columns[0]), float(lines[0]), float(columns[-1] + 1), float(lines[-1] + 1))
    return TruthObject(value, "object", box, encode_mask(mask_HW))
