"""A small dataset with plausible rows, written through DatasetWriter over clips made by PyAV."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa

from stpe.dataset import DatasetWriter
from stpe.rle import encode_mask
from stpe.signals import schema

WIDTH, HEIGHT, RATE, FRAMES, STEP = 160, 96, 12, 36, 3


def picture(number: int, seed: int) -> np.ndarray:
    """A still ground with a square that moves right and one that stands."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 190, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    image = np.kron(small, np.ones((16, 16, 1), np.uint8))
    image[20:44, 10 + 2 * number : 34 + 2 * number] = (230, 40, 40)
    image[60:84, 100:140] = (30, 60, 220)
    return image


def make_clip(path: Path, seed: int, codec: str = "libx264", **options: str) -> Path:
    """A clip whose presentation times start at half a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1200)
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(number, seed), format="rgb24")
            frame.pts = 600 + number * 100
            frame.time_base = Fraction(1, 1200)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def unit(rng: np.random.Generator, size: int) -> list[float]:
    vector = rng.normal(size=size)
    return (vector / np.linalg.norm(vector)).astype(np.float32).tolist()


def rows_of(clip: Path, sha256: str, seed: int) -> dict[str, list[dict]]:
    rng = np.random.default_rng(seed)
    tables: dict[str, list[dict]] = {name: [] for name in ("frames", "objects", "motion")}
    for number in range(0, FRAMES, STEP):
        pts = 0.5 + number / RATE
        tables["frames"].append(
            {
                "frame_index": number,
                "pts": pts,
                "shot_id": 0 if number < FRAMES // 2 else 1,
                "embedding": unit(rng, 8),
                "dense": rng.normal(size=3 * 5 * 4).astype(np.float16).tolist(),
                "dense_shape": [3, 5, 4],
                "depth": np.linspace(1, 4, 15).astype(np.float16).tolist(),
                "depth_shape": [3, 5],
                "depth_unit": "metres",
                "trajectory_id": 0 if number < FRAMES // 2 else 1,
                "geometric_unit": "metres",
                "camera_to_world": [1, 0, 0, 0.1 * number, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
                "camera_motion": "static" if number else None,
                "camera_rotation_deg": [0.0, 0.1, 0.0] if number else None,
                "caption_brief": f"A red square at {pts:.2f} s.",
                "caption_normal": f"A red square moves right while a blue one stands ({number}).",
                "state": '{"speed": 3}' if number == 6 else None,
            }
        )
        for object_id, box in enumerate(((10 + 2 * number, 20, 34 + 2 * number, 44),
                                         (100, 60, 140, 84))):  # fmt: skip
            if object_id and number == 9:
                continue
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[box[1] : box[3], box[0] : box[2]] = True
            tables["objects"].append(
                {
                    "frame_index": number,
                    "object_id": object_id,
                    "pts": pts,
                    "label": ("person", "chair")[object_id],
                    "confidence": 0.9 - 0.1 * object_id,
                    "origin": "detector",
                    "box_xyxy": [float(v) for v in box],
                    "mask_rle": encode_mask(mask),
                    "area_px": float(mask.sum()),
                    "embedding": unit(rng, 8),
                    "track_id": object_id + 1,
                    "velocity_px_s": [24.0 * (1 - object_id), 0.0] if number else None,
                    "object_velocity_px_s": [24.0 * (1 - object_id), 0.0] if number else None,
                    "motion": ("moving", "static")[object_id] if number else "unknown",
                    "keypoints": np.tile([box[0] + 5.0, 30.0, 0.8], 17).tolist()
                    if object_id == 0
                    else None,
                }
            )
        if number:
            tables["motion"].append(
                {
                    "frame_index": number,
                    "pts": pts,
                    "previous_frame_index": number - STEP,
                    "interval_s": STEP / RATE,
                    "flow": rng.normal(size=2 * 3 * 2).astype(np.float16).tolist(),
                    "flow_shape": [2, 3, 2],
                }
            )
    end = 0.5 + FRAMES / RATE
    tables["videos"] = [
        {"uri": str(clip), "sha256": sha256, "kind": "file", "codec": "h264", "width": WIDTH,
         "height": HEIGHT, "fps": float(RATE), "start_pts": 0.5, "duration_s": FRAMES / RATE,
         "frame_count": FRAMES, "warnings": [], "summary": "A square moves.",
         "clip_embedding": unit(rng, 8)}
    ]  # fmt: skip
    tables["shots"] = [
        {"shot_id": 0, "start_frame": 0, "end_frame": 18, "start_pts": 0.5, "end_pts": 2.0,
         "transition": "start", "confidence": 1.0, "caption_brief": "A square begins to move."},
        {"shot_id": 1, "start_frame": 18, "end_frame": FRAMES, "start_pts": 2.0, "end_pts": end,
         "transition": "cut", "confidence": 0.9, "caption_brief": "A square goes on."},
    ]  # fmt: skip
    tables["tracks"] = [
        {"track_id": 1, "label": "person", "confidence": 0.9, "first_pts": 0.5, "last_pts": 3.25,
         "first_frame": 0, "last_frame": 33, "n_frames": 12, "embedding": unit(rng, 8),
         "motion_summary": "moderate", "direction": "right", "mean_speed_px_s": 24.0},
        {"track_id": 2, "label": "chair", "confidence": 0.8, "first_pts": 0.5, "last_pts": 3.25,
         "first_frame": 0, "last_frame": 33, "n_frames": 11, "motion_summary": "static"},
    ]  # fmt: skip
    tables["events"] = [
        {"event_id": 0, "pts": 0.5, "end_pts": None, "frame_index": 0, "kind": "appears",
         "track_ids": [1], "description": "person #1 appears", "confidence": 0.9},
        {"event_id": 1, "pts": 1.0, "end_pts": 2.0, "frame_index": 6, "kind": "starts",
         "track_ids": [1], "description": "person #1 starts to move", "confidence": 0.8},
    ]  # fmt: skip
    tables["artifacts"] = [
        {"stage": "objects", "chunk": 0, "version": "1", "key": "ab" * 32, "seconds": 1.5,
         "models": [{"role": "detector", "model": "m", "sha256": "00", "licence": "MIT",
                     "precision": "f32"}], "rows": 23, "reason": None},
        {"stage": "depth", "chunk": None, "version": "1", "key": None, "seconds": None,
         "models": [], "rows": None, "reason": "no depth model is in the profile"},
    ]  # fmt: skip
    return tables


def batches(table: str, rows: list[dict], size: int = 5) -> Iterator[pa.RecordBatch]:
    columns = [name for name in schema(table).names if any(name in row for row in rows)]
    for start in range(0, len(rows), size):
        part = [{name: row.get(name) for name in columns} for row in rows[start : start + size]]
        yield pa.RecordBatch.from_pylist(part, schema=schema(table, columns))


def add(writer: DatasetWriter, clip: Path, seed: int, plan: str = "plan") -> str:
    """Commit one clip; gives its video_id."""
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    writer.add_media(sha256, clip)
    tables = rows_of(clip, sha256, seed)
    writer.commit(sha256[:16], plan, {name: batches(name, r) for name, r in tables.items()})
    return sha256[:16]
