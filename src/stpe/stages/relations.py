"""A sparse graph of relations a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco

from stpe import strict_json
from stpe.rle import with_bytes
from stpe.signals import schema
from stpe.stages.by_frame import rows_by_frame
from stpe.stages.pair_geometry import NEIGHBOURS, Body, Pair, Relation, measure, spatial
from stpe.stages.pair_motion import kinetic
from stpe.stages.stage import Output, Stage, Window

MOST_OBJECTS = 32
_COLUMNS = ("pts", "subject_track_id", "object_track_id", "confidence", "evidence")


class Relations(Stage):
    """`relations` rows: every object with its nearest neighbours.

    `left_of`, `above` and `in_front_of` are stored in this direction only; `near` and
    `overlapping` once, the lower object number first.
    """

    name = "relations"
    reads = ("objects.pts", "objects.box_xyxy", "objects.confidence")
    optional = (
        "objects.mask_rle",
        "objects.track_id",
        "objects.depth",
        "objects.depth_confidence",
        "objects.object_velocity_px_s",
        "objects.velocity_std_px_s",
        "objects.motion",
    )
    writes = tuple(f"relations.{column}" for column in _COLUMNS)
    length = None

    def process(self, window: Window) -> Output:
        """Relate the objects of every frame of the chunk."""
        rows: list[dict[str, Any]] = []
        for _, frame in rows_by_frame(window.rows["objects"]):
            rows += _rows(frame)
        return Output({"relations": pa.Table.from_pylist(rows, schema("relations", _COLUMNS))})


def _rows(frame: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = sorted(frame, key=lambda o: (-(o["confidence"] or 0.0), o["object_id"]))[:MOST_OBJECTS]
    kept.sort(key=lambda o: o["object_id"])
    found = [
        {
            "frame_index": frame[0]["frame_index"],
            "subject_object_id": relation.subject.object_id,
            "object_object_id": relation.object.object_id,
            "relation": relation.kind,
            "pts": frame[0]["pts"],
            "subject_track_id": relation.subject.track_id,
            "object_track_id": relation.object.track_id,
            "confidence": round(relation.confidence, 4),
            "evidence": strict_json.dumps(_rounded(relation.evidence), sort_keys=True),
        }
        for relation in relate([_body(o) for o in kept], [o.get("mask_rle") for o in kept])
    ]
    keys = ("subject_object_id", "object_object_id", "relation")
    return sorted(found, key=lambda row: tuple(row[key] for key in keys))


def relate(bodies: Sequence[Body], masks: Sequence[dict[str, Any] | None]) -> list[Relation]:
    """Relations of one frame's bodies; `masks` are their COCO RLEs or None."""
    pairs = _pairs(bodies, masks)
    nearest: set[int] = set()
    for body in bodies:
        own = [i for i, p in enumerate(pairs) if p.a is body or p.b is body]
        own.sort(key=lambda i: (pairs[i].gap_sizes, _distance(pairs[i]), i))
        nearest.update(own[:NEIGHBOURS])
    found: list[Relation] = []
    for i, pair in enumerate(pairs):
        if i in nearest:
            found += spatial(pair)
        found += kinetic(pair)
    return found


def _pairs(bodies: Sequence[Body], masks: Sequence[dict[str, Any] | None]) -> list[Pair]:
    have = [i for i, m in enumerate(masks) if m is not None]
    place = {i: n for n, i in enumerate(have)}
    rles = [with_bytes(m) for m in masks if m is not None]
    # With `iscrowd`, the library's "IoU" is intersection over the area of the first mask.
    share_NN = coco.iou(rles, rles, [1] * len(rles)) if rles else np.zeros((0, 0))
    pairs = []
    for i, a in enumerate(bodies):
        for j in range(i + 1, len(bodies)):
            covered = None
            if i in place and j in place:
                covered = (
                    float(share_NN[place[i], place[j]]),
                    float(share_NN[place[j], place[i]]),
                )
            pairs.append(measure(a, bodies[j], covered))
    return pairs


def _distance(pair: Pair) -> float:
    return float(np.linalg.norm(pair.a.centre - pair.b.centre))


def _body(row: dict[str, Any]) -> Body:
    velocity = row.get("object_velocity_px_s")
    std = row.get("velocity_std_px_s")
    x0, y0, x1, y1 = row["box_xyxy"]
    return Body(
        object_id=row["object_id"],
        box=(x0, y0, x1, y1),
        track_id=row.get("track_id"),
        depth=row.get("depth"),
        depth_confidence=row.get("depth_confidence") or 0.0,
        velocity=None if velocity is None else (velocity[0], velocity[1]),
        velocity_std=std if std and math.isfinite(std) else None,
        moving=row.get("motion") == "moving",
    )


def _rounded(evidence: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in evidence.items()}
