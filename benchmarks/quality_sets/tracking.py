"""HOTA, IDF1 and MOTA by TrackEval's own metric classes, the same detections for every tracker.

Detections are the public ones beside the clips, and our default detector's persons. Each library
tracker is run over a grid of its thresholds, scored on this very truth, and the best value of each
metric over all of them is the baseline; ours runs once, as it is: the detections that it gave an
identity, and these with short gaps filled as the MOT export fills them. Needs `trackers`,
`supervision` and `trackeval` 1.3 (install without dependencies: they bring an OpenCV of their own).
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quality_sets.clip_motion import ALL, frames_of, motion_of, small, source_of
from stpe.models import loader
from stpe.signals import schema
from stpe.stages.colors import color_profile
from stpe.stages.instances import Evidence, Instance
from stpe.stages.stage import Request, Window
from stpe.stages.tracklets import Tracklets
from stpe.stages.tracks import Tracks
from stpe.tracking.path import filled
from stpe.video.frame import Frame, SourceInfo

CLIPS = {
    "mot15_pets09_s2l1": ("vtest.avi", 7.0),
    "mot15_tud_campus": ("TUD-Campus.mp4", 25.0),
}
SAMPLING = "every frame of both clips, detections and flow included"
METRICS = ("HOTA", "IDF1", "MOTA")
DETECTED = 0.3  # the objects stage's own threshold
Rows = np.ndarray  # n x 6: frame from 0, identity, x0, y0, x1, y1


def run(data: Path) -> list[dict[str, Any]]:
    """Three rows a clip and set of detections."""
    rows = []
    for clip, (video, fps) in CLIPS.items():
        truth = _mot(data / clip / "gt" / "gt.txt")
        truth = truth[truth[:, 6] != 0]
        public = _mot(data / clip / "peer" / "sort_det.txt")
        sets, motion, source, count = _prepare(data / clip / video, fps, public)
        for name, objects in sets.items():
            seen = _ours(objects, motion, source, count, fps)
            ours = score(truth, seen, count)
            full = score(truth, _filled(seen, count, fps), count)
            best = _library(truth, objects, count)
            rows += [
                {
                    "set": f"{clip}, {name} detections",
                    "metric": metric,
                    "ours": ours[metric],
                    "baseline": best[metric][1],
                    "baseline_value": best[metric][0],
                    "n": len(truth),
                    "note": f"gaps filled {full[metric]:.3f}",
                }
                for metric in METRICS
            ]
    return rows


def _mot(path: Path) -> np.ndarray:
    """MOTChallenge rows with frames and pixels from 0, and boxes as corners."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    rows[:, [0, 2, 3]] -= 1
    rows[:, 4:6] += rows[:, 2:4]
    return rows


def _prepare(
    video: Path, fps: float, public: np.ndarray
) -> tuple[dict[str, pa.Table], pa.Table, SourceInfo, int]:
    """Object rows of both sets of detections with embeddings, motion rows, source, frame count."""
    models = loader.resolve("embedded").models
    detector, embedder = (loader.load(models[role]) for role in ("detector", "image_embedder"))
    found: dict[str, list[dict[str, Any]]] = {"public": [], "our": []}
    shown = []
    for index, image in enumerate(frames_of(video)):
        shown.append(Frame(index, index / fps, small(image)))
        height, width = image.shape[:2]
        dense = embedder.embed([image])[0].dense_hwD.astype(np.float32)
        evidence = Evidence(dense / np.linalg.norm(dense, axis=-1, keepdims=True))
        detections = detector.detect([image], DETECTED)[0]
        person = [label == "person" for label in detections.labels]
        now = public[public[:, 0] == index]
        boxes = {
            "public": (now[:, 2:6], now[:, 6]),
            "our": (detections.boxes_N4[person], detections.scores_N[person]),
        }
        for name, (corners, scores) in boxes.items():
            for number, (box, confidence) in enumerate(zip(corners, scores, strict=True)):
                inside = np.clip(box, 0, [width - 1, height - 1, width, height])
                instance = Instance("person", float(confidence), "detector", inside)
                found[name].append(
                    {
                        "frame_index": index,
                        "object_id": number,
                        "pts": index / fps,
                        "label": "person",
                        "confidence": float(confidence),
                        "box_xyxy": box,
                        "area_px": float((box[2:] - box[:2]).prod()),
                        "embedding": evidence.embedding(instance, height, width),
                        "colors": color_profile(image, inside, None),
                    }
                )
    columns = ("pts", "label", "confidence", "box_xyxy", "area_px", "embedding", "colors")
    tables = {
        name: pa.Table.from_pylist(rows, schema("objects", columns)) for name, rows in found.items()
    }
    source = source_of(image, fps)
    return tables, motion_of(list(itertools.pairwise(shown)), source), source, len(shown)


def _ours(objects: pa.Table, motion: pa.Table, source: SourceInfo, count: int, fps: float) -> Rows:
    frames = pa.table({"frame_index": range(count), "pts": [i / fps for i in range(count)]})
    rows = {"frames": frames, "objects": objects, "motion": motion}
    made = Tracklets({}, Request()).process(Window(source, ALL, rows=rows)).tables["objects"]
    for name in ("tracklet_id", "tracklet_confidence"):
        objects = objects.append_column(name, made[name])
    made = Tracks({}, Request()).process(Window(source, ALL, rows=rows | {"objects": objects}))
    ids = made.tables["objects"]["track_id"].fill_null(0).to_numpy()
    boxes = np.array(objects["box_xyxy"].to_pylist(), np.float64)
    return np.c_[objects["frame_index"].to_numpy(), ids, boxes][ids > 0]


def _filled(rows: Rows, count: int, fps: float) -> Rows:
    parts = [rows]
    pts = np.arange(count) / fps
    for identity in np.unique(rows[:, 1]):
        seen = rows[rows[:, 1] == identity]
        frames, boxes = filled(pts, pts[seen[:, 0].astype(int)], seen[:, 2:6])
        parts.append(np.c_[frames, np.full(len(frames), identity), boxes])
    return np.concatenate(parts)


def _library(truth: np.ndarray, objects: pa.Table, count: int) -> dict[str, tuple[float, str]]:
    """Best value of each metric, and the tracker that reached it."""
    best = dict.fromkeys(METRICS, (-1.0, ""))
    index = objects["frame_index"].to_numpy()
    boxes = np.array(objects["box_xyxy"].to_pylist(), np.float32).reshape(-1, 4)
    scores = objects["confidence"].to_numpy().astype(np.float32)
    borders = np.searchsorted(index, np.arange(count + 1))
    parts = [np.s_[a:b] for a, b in itertools.pairwise(borders)]
    for name, tracker in _candidates():
        got = score(truth, _tracked(tracker, [(boxes[p], scores[p]) for p in parts]), count)
        for metric in METRICS:
            best[metric] = max(best[metric], (got[metric], name))
    return best


def _candidates() -> Iterator[tuple[str, Any]]:
    import trackers

    for lost, first, score_, overlap in itertools.product(
        (10, 30, 60), (1, 3), (0.6, 0.8), (0.1, 0.2, 0.3)
    ):
        both = {"lost_track_buffer": lost, "minimum_consecutive_frames": first}
        high = {"high_conf_det_threshold": score_}
        start = {"track_activation_threshold": min(score_ + 0.1, 0.9)}
        one = {"minimum_iou_threshold": overlap}
        yield "SORT", trackers.SORTTracker(**both, **one, track_activation_threshold=score_)
        yield "ByteTrack", trackers.ByteTrackTracker(**both, **one, **high, **start)
        yield "OC-SORT", trackers.OCSORTTracker(**both, **one, **high)
        yield (
            "BoT-SORT",
            trackers.BoTSORTTracker(
                **both,
                **high,
                **start,
                minimum_iou_threshold_first_assoc=overlap,
                enable_cmc=False,  # both cameras stand still
            ),
        )


def _tracked(tracker: Any, frames: list[tuple[np.ndarray, np.ndarray]]) -> Rows:
    import supervision

    rows = []
    for frame, (boxes, scores) in enumerate(frames):
        classes = np.zeros(len(boxes), int)
        given = supervision.Detections(xyxy=boxes, confidence=scores, class_id=classes)
        got = tracker.update(given)
        named = zip(got.xyxy, got.tracker_id, strict=True)
        rows += [(frame, identity, *box) for box, identity in named if identity >= 0]
    return np.array(rows, np.float64).reshape(-1, 6)


def score(truth: np.ndarray, found: Rows, count: int) -> dict[str, float]:
    """HOTA, IDF1 and MOTA of boxes with identities, as TrackEval computes them."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    true_ids, found_ids = (np.unique(rows[:, 1], return_inverse=True) for rows in (truth, found))
    data: dict[str, Any] = {
        "num_timesteps": count,
        "num_gt_ids": len(true_ids[0]),
        "num_tracker_ids": len(found_ids[0]),
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(found),
        "gt_ids": [],
        "tracker_ids": [],
        "similarity_scores": [],
    }
    for frame in range(count):
        a, b = truth[:, 0] == frame, found[:, 0] == frame
        data["gt_ids"].append(true_ids[1][a])
        data["tracker_ids"].append(found_ids[1][b])
        data["similarity_scores"].append(_overlap(truth[a, 2:6], found[b, 2:6]))
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            "HOTA": float(HOTA().eval_sequence(data)["HOTA"].mean()),
            "IDF1": float(Identity({"PRINT_CONFIG": False}).eval_sequence(data)["IDF1"]),
            "MOTA": float(CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)["MOTA"]),
        }


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
