"""What a V-JEPA 2 classifier is to be shown of a video: the rate and size it was trained on.

The checkpoint's own settings decide where they say it. They never say the rate so far, which is in
the recipes of the probes: github.com/facebookresearch/vjepa2, configs/inference/vitl and vitg-384,
ssv2.yaml and diving48.yaml (`frames_per_clip`, `frame_step`, `resolution`); pretraining took 4
frames a second (configs/train, `fps`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from stpe.models.catalog import Model

#: Classes of a probe to the rate of its videos: Something-Something v2, Diving48.
_VIDEOS_FPS = {174: 12.0, 48: 30.0}
#: (classes, frames of a clip) to every how manieth frame of a video it takes; else every second.
_STEP = {(174, 16): 4}
_PRETRAINING_FPS = 4.0
#: The shorter side is resized to this many times the crop, as in training.
_MARGIN = 256 / 224


class ClipInput(NamedTuple):
    """So many frames at most, so many a second, their shorter side so many pixels."""

    frames: int
    fps: float
    short_side: int


def clip_count(frames: int, length: int, resamples: bool) -> int:
    """Into how many clips a piece of video is cut for a classifier of `length` frames.

    >>> clip_count(96, 64, False), clip_count(96, 64, True), clip_count(20, 64, False)
    (2, 2, 1)
    """
    clips = round(frames / length) if resamples else math.ceil(frames / length)
    return max(1, clips)


def clip_input(model: Model) -> ClipInput | None:
    """What the model is to be shown; None for one that is shown the stage's own clips. By its
    weights where they are here, else by the catalog."""
    from stpe.models.weights import cached

    if model.clip is None:
        return None
    told = ClipInput(model.clip.frames, model.clip.fps, model.clip.short_side)
    for file in model.files:
        folder = cached(file)
        if folder is not None and folder.is_dir():
            return _of_folder(folder) or told
    return told


def trained_on(config: Mapping[str, Any], settings: Mapping[str, Any]) -> ClipInput:
    """The clips a checkpoint was trained on.

    Args:
        config: of its config.json.
        settings: of its video processor: `fps` where it says so, `crop_size`, `size`.
    """
    frames = int(config["frames_per_clip"])
    crop = crop_of(config, settings)
    size = settings.get("size")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
    side = int(edge) if edge and int(edge) >= crop else int(crop * _MARGIN)
    return ClipInput(frames, _fps(config, settings, frames), side)


def crop_of(config: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Side of the square that the network sees."""
    crop = settings.get("crop_size") or config["crop_size"]
    return int(crop["height"] if isinstance(crop, Mapping) else crop)


def _fps(config: Mapping[str, Any], settings: Mapping[str, Any], frames: int) -> float:
    told = settings.get("fps")
    if told:
        return float(told)
    classes = len(config.get("id2label") or ())
    if classes not in _VIDEOS_FPS:
        return _PRETRAINING_FPS
    return _VIDEOS_FPS[classes] / _STEP.get((classes, frames), 2)


def _of_folder(folder: Path) -> ClipInput | None:
    """None where the settings cannot be read; loading the model will say so."""
    try:
        config = json.loads((folder / "config.json").read_text())
        own = folder / "video_preprocessor_config.json"
        if own.is_file():
            settings = json.loads(own.read_text())
        else:
            settings = json.loads((folder / "processor_config.json").read_text())["video_processor"]
        return trained_on(config, settings)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
