"""Object masks on DAVIS 2016: the default plan against what the detector and OpenCV give.

J is intersection over union with the clip's one labelled object, on every fifth frame. Two
questions: does any instance of a frame match it (the best of each frame), and does one track
match it over the whole clip (frames in which the track is absent count as zero).
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pycocotools import mask as coco

from stpe import Engine, open_dataset
from stpe.evaluate.masks import region_similarity

SAMPLING = "every fifth frame of six clips, through the default plan"
EVERY = 5
RATE = 30.0  # of a folder of images that carry no times
Truth = Mapping[int, np.ndarray]


def run(data: Path) -> list[dict[str, Any]]:
    """One row a clip and baseline, then the means."""
    rows = []
    with Engine(profile="embedded") as engine:
        for clip in sorted((data / "davis2016" / "JPEGImages" / "480p").iterdir()):
            rows += _clip(engine, clip)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["metric"], row["baseline"]].append(row)
    means = [
        {
            "set": "davis2016, mean of clips",
            "metric": metric,
            "ours": float(np.mean([r["ours"] for r in group])),
            "baseline": baseline,
            "baseline_value": float(np.mean([r["baseline_value"] for r in group])),
            "n": sum(r["n"] for r in group),
        }
        for (metric, baseline), group in groups.items()
    ]
    return rows + means


def _clip(engine: Engine, clip: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        engine.process(clip, out=folder, fps=RATE / EVERY, signals=["objects", "tracks"])
        objects = open_dataset(folder).arrow("objects")
        frames = sorted(set(open_dataset(folder).arrow("frames")["frame_index"].to_pylist()))
    pictures = sorted(clip.glob("*.jpg"))
    truth, baselines = {}, defaultdict(dict)
    for index in frames:
        picture = pictures[index]
        label = str(picture).replace("JPEGImages", "Annotations").replace(".jpg", ".png")
        truth[index] = cv2.imread(label, 0) > 0
        image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
        for name, value in _baselines(engine, image, truth[index]).items():
            baselines[name][index] = value
    scores = {
        "J best instance": best_instance(objects, truth),
        "J one track": one_track(objects, truth),
    }
    return [
        {
            "set": clip.name,
            "metric": metric,
            "ours": ours,
            "baseline": baseline,
            "baseline_value": float(np.mean(list(values.values()))),
            "n": len(frames),
        }
        for metric, ours in scores.items()
        if ours is not None
        for baseline, values in baselines.items()
    ]


def best_instance(objects: pa.Table, truth: Truth) -> float:
    """Mean over frames of the best J of any instance."""
    best = dict.fromkeys(truth, 0.0)
    for row in objects.to_pylist():
        if row["frame_index"] in truth and row["mask_rle"] is not None:
            j = _j(truth[row["frame_index"]], row)
            best[row["frame_index"]] = max(best[row["frame_index"]], j)
    return float(np.mean(list(best.values())))


def one_track(objects: pa.Table, truth: Truth) -> float | None:
    """Best over tracks of the mean J over all frames; None where nothing is tracked."""
    if "track_id" not in objects.column_names:
        return None
    sums: dict[int, float] = defaultdict(float)
    for row in objects.to_pylist():
        if row["track_id"] is not None and row["frame_index"] in truth and row["mask_rle"]:
            sums[row["track_id"]] += _j(truth[row["frame_index"]], row)
    return max(sums.values()) / len(truth) if sums else None


def _j(truth_HW: np.ndarray, row: dict[str, Any]) -> float:
    return region_similarity(truth_HW, coco.decode(row["mask_rle"]).astype(bool))


def _baselines(engine: Engine, image: np.ndarray, truth_HW: np.ndarray) -> dict[str, float]:
    """Best J in the frame of: the detector's boxes, GrabCut in each box, and GrabCut in the
    middle of the frame, which needs no detector."""
    boxes = engine.role("detector").detect([image], 0.3)[0].boxes_N4
    height, width = truth_HW.shape
    middle = np.array([[width / 6, height / 6, width * 5 / 6, height * 5 / 6]])
    found = {
        "detector box": [_filled(truth_HW.shape, box) for box in boxes],
        "GrabCut in detector box": [_grabcut(image, box) for box in boxes],
        "GrabCut in middle": [_grabcut(image, box) for box in middle],
    }
    return {
        name: max((region_similarity(truth_HW, mask) for mask in masks), default=0.0)
        for name, masks in found.items()
    }


def _filled(shape: tuple[int, ...], box_4: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape, bool)
    x0, y0, x1, y1 = np.round(box_4).astype(int)
    mask[y0:y1, x0:x1] = True
    return mask


def _grabcut(image: np.ndarray, box_4: np.ndarray) -> np.ndarray:
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (int(v) for v in np.round(box_4 / 2))
    labels = np.zeros(half.shape[:2], np.uint8)
    rect = (max(1, x0), max(1, y0), max(2, x1 - x0 - 1), max(2, y1 - y0 - 1))
    cv2.setRNGSeed(0)
    cv2.grabCut(half, labels, rect, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_RECT)
    chosen = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    size = (image.shape[1], image.shape[0])
    return cv2.resize(chosen, size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
