"""The tracker library on the dataset's own detections, and ours, by the same metrics.

Needs `trackers` and `supervision` (benchmarks/requirements*.txt).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from stpe.evaluate.matching import Scene, scenes
from stpe.evaluate.overlap import box_iou
from stpe.evaluate.tracking import FramePair, score_sums, tracking_parts
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

METRICS = ("HOTA", "IDF1", "MOTA")
Ids = dict[tuple[int, int], int]  # (frame, object_id) to identity


@dataclass
class LibraryTracks:
    """Metric values: ours, and of every candidate by name and settings."""

    ours: dict[str, float]
    library: dict[str, dict[str, float]]


def library_tracks(view: View, truth: Truth) -> LibraryTracks:
    """Score our tracks and every candidate's on one video."""
    seen = scenes(view, truth, boxes_only=True)
    ours = {
        (scene.frame, row["object_id"]): row["track_id"]
        for scene in seen
        for row in scene.found
        if row["track_id"] is not None
    }
    rows = view.rows("objects", ("frame_index", "object_id", "confidence", "box_xyxy"))
    images = _images(view, [scene.frame for scene in seen])
    found = {}
    for name, tracker in _candidates():
        found[name] = _score(seen, _tracked(tracker, view, rows, images))
    return LibraryTracks(_score(seen, ours), found)


def _score(seen: list[Scene], ids: Ids) -> dict[str, float]:
    sums = tracking_parts([_pair(scene, ids) for scene in seen]).table().sum(axis=0)
    got = score_sums(sums)
    return {"HOTA": got.hota, "IDF1": got.idf1, "MOTA": got.mota}


def _pair(scene: Scene, ids: Ids) -> FramePair:
    rows = [row for row in scene.found if (scene.frame, row["object_id"]) in ids]
    found = np.array([ids[scene.frame, row["object_id"]] for row in rows], np.int64)
    overlap = box_iou(
        np.array([t.box_xyxy for t in scene.truths]).reshape(-1, 4),
        np.array([row["box_xyxy"] for row in rows]).reshape(-1, 4),
    )
    keep = np.sort(np.unique(found, return_index=True)[1])  # one box an identity, the surer one
    true = np.array([t.identity for t in scene.truths], np.int64)
    return FramePair(true, found[keep], overlap[:, keep])


def _candidates() -> Iterator[tuple[str, Any]]:
    """Each tracker over thresholds that suit a few frames a second and unsure proposals."""
    import trackers

    for lost, high, overlap in itertools.product((10, 30), (0.3, 0.6), (0.1, 0.3)):
        both = {"lost_track_buffer": lost, "minimum_consecutive_frames": 1}
        start = {"track_activation_threshold": high}
        one = {"minimum_iou_threshold": overlap}
        split = {"high_conf_det_threshold": high}
        name = f"lost {lost}, high {high}, overlap {overlap}"
        yield f"SORT ({name})", trackers.SORTTracker(**both, **one, **start)
        yield f"ByteTrack ({name})", trackers.ByteTrackTracker(**both, **one, **split, **start)
        yield f"OC-SORT ({name})", trackers.OCSORTTracker(**both, **one, **split)
        yield (
            f"BoT-SORT ({name})",
            trackers.BoTSORTTracker(
                **both, **split, **start, minimum_iou_threshold_first_assoc=overlap
            ),
        )


def _tracked(
    tracker: Any, view: View, rows: list[dict[str, Any]], images: dict[int, np.ndarray]
) -> Ids:
    import supervision

    ids: Ids = {}
    for frame in map(int, view.analysed):
        now = [row for row in rows if row["frame_index"] == frame]
        boxes = np.array([row["box_xyxy"] for row in now], np.float32).reshape(-1, 4)
        given = supervision.Detections(
            xyxy=boxes,
            confidence=np.array([row["confidence"] or 0.0 for row in now], np.float32),
            class_id=np.zeros(len(now), int),
            data={"object_id": np.array([row["object_id"] for row in now], int)},
        )
        # Only BoT-SORT looks at the picture; the others would warn.
        seen = images.get(frame) if type(tracker).__name__.startswith("BoT") else None
        got = tracker.update(given, seen)
        for number, identity in zip(got.data.get("object_id", ()), got.tracker_id, strict=True):
            if identity is not None and identity >= 0:
                ids[frame, int(number)] = int(identity)
    return ids


def _images(view: View, frames: list[int]) -> dict[int, np.ndarray]:
    """The analysed pictures, which BoT-SORT compensates camera motion with."""
    wanted = set(frames)
    with av.open(view.video["uri"]) as container:
        return {
            index: frame.to_ndarray(format="bgr24")
            for index, frame in enumerate(container.decode(video=0))
            if index in wanted
        }
