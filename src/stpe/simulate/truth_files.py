"""The files of a simulator's ground truth, and the one place that says what is in them.

    DIR/
      episode.mp4            constant rate; frame i has pts i / fps
      state.jsonl            one JSON object a frame: what a game would log (no ground truth of
                             the picture in it)
      truth/
        truth.json           `version`, `engine`, `scenario`, `seed`, `fps`, `width`, `height`,
                             `frames`, `units_per_metre`, `intrinsics` {fx, fy, cx, cy},
                             `depth` {step, offset, saturated}, `conventions`
        frames.parquet       one row a frame, FRAMES below
        objects.parquet      one row a visible object a frame, OBJECTS below
        depth/000000.png     8-bit depth steps of frame 0, and so on

Coordinates. The world is right-handed, in the engine's units, z up. `camera_to_world` is a
row-major 4x4 matrix from the OpenCV camera frame (x right, y down, z forward) to the world.
Pixels are continuous: pixel column i covers i to i + 1. Depth is along the optical axis:
`depth = step * value + offset` units where `value < saturated`, and at least that elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stpe.signals import RLE

VERSION = 1

_XYZ = pa.list_(pa.float64())
FRAMES = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("pts", pa.float64()),  # s
        ("episode", pa.int32()),  # counts up when the game starts over: a cut in the video
        ("tic", pa.int64()),  # the engine's clock
        ("buttons", pa.list_(pa.string())),  # held from this frame to the next
        ("turn_deg", pa.float64()),  # commanded from this frame to the next, right positive
        ("position", _XYZ),  # the player's, units
        ("velocity", _XYZ),  # units/s
        ("angle_deg", pa.float64()),  # anticlockwise from world x
        ("pitch_deg", pa.float64()),
        ("health", pa.float64()),
        ("armor", pa.float64()),
        ("ammo", pa.float64()),
        ("kills", pa.int64()),
        ("camera_to_world", pa.list_(pa.float64())),
    ]
)
OBJECTS = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("object_id", pa.int64()),  # identity over one episode
        ("episode", pa.int32()),
        ("label", pa.string()),  # the engine's class name
        ("category", pa.string()),  # the engine's category; `Self` is the player's own weapon
        ("box_xyxy", pa.list_(pa.float32())),  # px, tight around the visible pixels
        ("area_px", pa.int64()),  # visible pixels
        ("mask_rle", RLE),  # visible pixels, COCO compressed RLE
        ("position", _XYZ),  # units; null for the player's weapon, which has no place
        ("velocity", _XYZ),  # units/s
        ("distance_units", pa.float64()),  # along the optical axis; null as above
    ]
)


class TruthWriter:
    """Writes `DIR/state.jsonl` and `DIR/truth/` frame by frame. Use as a context manager."""

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        self._folder = out / "truth"
        (self._folder / "depth").mkdir(parents=True)
        self._facts = dict(facts)
        self._log = (out / "state.jsonl").open("w", encoding="utf-8")
        self._frames = pq.ParquetWriter(self._folder / "frames.parquet", FRAMES)
        self._objects = pq.ParquetWriter(self._folder / "objects.parquet", OBJECTS)
        self._pending: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        self._count = 0

    def write(
        self,
        frame: dict[str, Any],
        objects: list[dict[str, Any]],
        depth_HW: NDArray[np.uint8],
        state: Mapping[str, Any],
    ) -> None:
        """Append one frame's truth."""
        self._log.write(json.dumps(state, separators=(",", ":")) + "\n")
        cv2.imwrite(str(self._folder / "depth" / f"{self._count:06d}.png"), depth_HW)
        self._pending[0].append(frame)
        self._pending[1].extend(objects)
        self._count += 1
        if len(self._pending[0]) >= 256:
            self._flush()

    def _flush(self) -> None:
        frames, objects = self._pending
        if frames:
            self._frames.write_table(pa.Table.from_pylist(frames, schema=FRAMES))
        if objects:
            self._objects.write_table(pa.Table.from_pylist(objects, schema=OBJECTS))
        self._pending = ([], [])

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        for file in (self._frames, self._objects, self._log):
            file.close()
        if error is None:
            facts = {"version": VERSION, **self._facts, "frames": self._count}
            text = json.dumps(facts, indent=2, sort_keys=True)
            (self._folder / "truth.json").write_text(text + "\n", encoding="utf-8")
