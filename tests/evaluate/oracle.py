"""Datasets made from the truth itself, and spoilt in known ways."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stpe.dataset.writer import DatasetWriter
from stpe.evaluate.truth import Truth
from stpe.geometry.rotation import vector_of
from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.signals import schema

STEP = 5  # video frames from one analysis frame to the next
CELLS = (12, 16)


def write(
    path: Path,
    video: Path,
    truth: Truth,
    objects: list[dict[str, Any]] | None = None,
    motion: list[dict[str, Any]] | None = None,
    frames: list[dict[str, Any]] | None = None,
    shots: list[dict[str, Any]] | None = None,
    alignment: dict[str, Any] | None = None,
    ran: tuple[str, ...] = (),
    border: int | None = None,
) -> str:
    """A sealed dataset of one video; the video_id."""
    sha256 = hashlib.sha256(video.read_bytes()).hexdigest()
    count = truth.frame_count or len(truth.frames)
    facts = {
        "uri": str(video),
        "sha256": sha256,
        "kind": "file",
        "width": truth.width,
        "height": truth.height,
        "fps": 35.0,
        "start_pts": 0.0,
        "duration_s": count / 35.0,
        "frame_count": count,
        "warnings": [],
        "alignment": None if alignment is None else json.dumps(alignment),
    }
    rows = {
        "videos": [facts],
        "frames": frames or [{"frame_index": i, "pts": i / 35} for i in analysed(truth)],
        "objects": objects,
        "motion": motion,
        "shots": shots,
        "artifacts": [{"stage": stage, "chunk": 0, "key": "0" * 64} for stage in ran],
    }
    if border is not None:
        rows["artifacts"] += [
            {"stage": "tracklets", "chunk": chunk, "key": f"{chunk:064d}"} for chunk in (0, 1)
        ]
    tables = {
        name: pa.Table.from_pylist(found, schema=schema(name)).to_batches()
        for name, found in rows.items()
        if found
    }
    with DatasetWriter(path) as writer:
        writer.add_media(sha256, video)
        writer.commit(sha256[:16], "oracle", tables)
    if border is not None:
        store = ArtifactStore(path / "artifacts")
        for chunk, first in enumerate((0, border)):
            part = pa.table({"frame_index": [first, first + STEP]})
            store.write(f"{chunk:064d}", Artifact({"objects": part}))
    return sha256[:16]


def analysed(truth: Truth) -> range:
    """Decoder indices of the analysis frames."""
    return range(0, truth.frame_count or len(truth.frames), STEP)


def true_objects(truth: Truth) -> list[dict[str, Any]]:
    """`objects` rows that say exactly what is true."""
    rows = []
    for index in analysed(truth):
        for number, item in enumerate(t for t in truth.objects[index] if not t.ignored):
            rows.append(
                {
                    "frame_index": index,
                    "object_id": number,
                    "pts": index / 35,
                    "label": "object",
                    "confidence": 0.9,
                    "box_xyxy": list(item.box_xyxy),
                    "mask_rle": item.mask_rle,
                    "mask_confidence": 1.0,
                    "track_id": item.identity,
                    "track_confidence": 0.9,
                    "velocity_px_s": [0.0, 0.0],
                    "object_velocity_px_s": [0.0, 0.0],
                    "motion": {True: "moving", False: "static", None: "unknown"}[item.moving],
                    "motion_confidence": 0.9,
                }
            )
    return rows


def true_motion(truth: Truth, size: tuple[int, int]) -> list[dict[str, Any]]:
    """`motion` rows with the true flow (0 where unknown) and the true camera."""
    h, w = CELLS
    x, y = (np.arange(w) + 0.5) * size[0] / w, (np.arange(h) + 0.5) * size[1] / h
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    rows = []
    for index in analysed(truth)[1:]:
        flow, known = truth.flow(index - STEP, index, points)
        step = truth.camera_step(index - STEP, index)
        move = step[:3, 3]
        rows.append(
            {
                "frame_index": index,
                "pts": index / 35,
                "previous_frame_index": index - STEP,
                "interval_s": STEP / 35,
                "flow": np.where(known[:, None], flow, 0).ravel().astype(np.float16),
                "flow_shape": [h, w, 2],
                "flow_confidence": np.full(h * w, 1.0, np.float16),
                "camera_rotation_deg": np.degrees(vector_of(step[:3, :3])),
                "camera_translation": move / max(np.linalg.norm(move), 1e-9),
                "camera_confidence": 0.9,
            }
        )
    return rows


def true_depth(truth: Truth, unit: str) -> list[dict[str, Any]]:
    """`frames` rows with the true depth, in metres or in an arbitrary scale and shift."""
    rows = []
    for index in analysed(truth):
        depth, known = truth.depth(index)
        h, w = CELLS[0] * 2, CELLS[1] * 2
        line = ((np.arange(h) + 0.5) * depth.shape[0] / h).astype(int)
        column = ((np.arange(w) + 0.5) * depth.shape[1] / w).astype(int)
        small = np.where(known, depth, np.nan)[np.ix_(line, column)]
        small = small if unit == "metres" else 0.05 * small + 0.2
        rows.append(
            {
                "frame_index": index,
                "pts": index / 35,
                "depth": small.ravel().astype(np.float16),
                "depth_shape": [h, w],
                "depth_unit": unit,
                "depth_confidence": 0.8,
            }
        )
    return rows


def true_geometry(truth: Truth, scale: float | None) -> list[dict[str, Any]]:
    """`frames` rows with the true camera path and depth in the state log's unit, whose length in
    trajectory units is `scale`; in an unknown unit without it. Every third cell is unknown."""
    per_metre = truth.log_units_per_metre
    rows = []
    first = truth.frames[0].camera_to_world_44
    for index, row in zip(analysed(truth), true_depth(truth, "metres"), strict=True):
        pose = np.linalg.inv(first) @ truth.frames[index].camera_to_world_44
        pose[:3, 3] *= per_metre
        depth = per_metre * row["depth"].astype(np.float64) / (scale or 77.0)
        depth[::3] = np.nan
        rows.append(
            {
                "frame_index": index,
                "pts": index / 35,
                "trajectory_id": 0,
                "camera_to_world": pose.ravel(),
                "geometric_depth": depth.astype(np.float16),
                "geometric_depth_shape": row["depth_shape"],
                "geometric_depth_confidence": np.full(depth.size, 0.9, np.float16),
                "geometric_scale": scale,
                "geometric_unit": "relative" if scale is None else "units of the log",
            }
        )
    return rows
