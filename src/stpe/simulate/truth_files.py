"""The files of a simulator's ground truth, and the one place that says what is in them.

    DIR/
      episode.mp4            constant rate; frame i has pts i / fps
      state.jsonl            one JSON object a frame: what a game would log (no ground truth of
                             the picture in it)
      truth/
        truth.json           `version`, `engine`, `scenario`, `seed`, `fps`, `width`, `height`,
                             `frames`, `units_per_metre`, `intrinsics` {fx, fy, cx, cy},
                             `depth` {step, offset, saturated}, `moving` {static_below,
                             moving_above, window_s} in units/s, `conventions`, and what else the
                             engine has to say (`policy`, `camera`)
        frames.parquet       one row a frame, FRAMES below
        objects.parquet      one row a visible object a frame, OBJECTS below
        depth/000000.png     depth steps of frame 0 (8 or 16 bits), and so on
        contacts.parquet     one row a touching pair a frame, CONTACTS below; physics only
        parts.parquet        one row a visible rigid part a frame, PARTS below; physics only

Coordinates. The world is right-handed, in the engine's units, z up. `camera_to_world` is a
row-major 4x4 matrix from the OpenCV camera frame (x right, y down, z forward) to the world.
Pixels are continuous: pixel column i covers i to i + 1. Depth is along the optical axis:
`depth = step * value + offset` units where `value < saturated`, and at least that elsewhere.
Columns that an engine has nothing for are null in every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stpe import strict_json
from stpe.signals import RLE

#: Readers of version 1 read these files too: columns were added and none changed.
VERSION = 1

_XYZ = pa.list_(pa.float64())
JOINTS = pa.list_(
    pa.struct([("name", pa.string()), ("position", pa.float64()), ("velocity", pa.float64())])
)
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
        ("activity", pa.string()),  # the player's or the figure's state: see the engine's recorder
        ("joints", JOINTS),  # hinges in rad and rad/s, slides in units and units/s
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
        ("velocity", _XYZ),  # units/s, mean over `moving.window_s`; null as above
        ("moving", pa.bool_()),  # by speed; null between the two bounds, or if only a part moves
        ("distance_units", pa.float64()),  # along the optical axis; null as above
    ]
)
CONTACTS = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("object_a", pa.int64()),  # the smaller object_id; 0 is the immovable scene
        ("object_b", pa.int64()),
        ("position", _XYZ),  # where the force is largest, units
        ("force_n", pa.float64()),  # normal force, all contact points together
    ]
)
PARTS = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("object_id", pa.int64()),
        ("part", pa.string()),
        ("mask_rle", RLE),  # visible pixels
        ("part_to_world", pa.list_(pa.float64())),  # 4x4 row-major
    ]
)
TABLES = {"frames": FRAMES, "objects": OBJECTS, "contacts": CONTACTS, "parts": PARTS}


class TruthWriter:
    """Writes `DIR/state.jsonl` and `DIR/truth/` frame by frame. Use as a context manager.

    Args:
        out: `DIR`.
        facts: of truth.json.
        tables: which of TABLES this engine fills.
    """

    def __init__(
        self, out: Path, facts: Mapping[str, Any], tables: Sequence[str] = ("frames", "objects")
    ) -> None:
        self._folder = out / "truth"
        (self._folder / "depth").mkdir(parents=True)
        self._facts = dict(facts)
        self._log = (out / "state.jsonl").open("w", encoding="utf-8")
        self._files = {
            name: pq.ParquetWriter(self._folder / f"{name}.parquet", TABLES[name])
            for name in tables
        }
        self._pending: dict[str, list[dict[str, Any]]] = {name: [] for name in tables}
        self._count = 0

    def write(
        self,
        frame: dict[str, Any],
        depth_HW: NDArray[np.uint8] | NDArray[np.uint16],
        state: Mapping[str, Any],
        **rows: list[dict[str, Any]],
    ) -> None:
        """Append one frame's truth; `rows` are those of the other tables, by name."""
        self._log.write(strict_json.dumps(state, separators=(",", ":")) + "\n")
        cv2.imwrite(str(self._folder / "depth" / f"{self._count:06d}.png"), depth_HW)
        self._pending["frames"].append(frame)
        for name, found in rows.items():
            self._pending[name].extend(found)
        self._count += 1
        if len(self._pending["frames"]) >= 256:
            self._flush()

    def _flush(self) -> None:
        for name, rows in self._pending.items():
            if rows:
                table = pa.Table.from_pylist(rows, schema=TABLES[name])
                self._files[name].write_table(table)
            rows.clear()

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        for file in (*self._files.values(), self._log):
            file.close()
        if error is None:
            facts = {"version": VERSION, **self._facts, "frames": self._count}
            text = strict_json.dumps(facts, indent=2, sort_keys=True)
            (self._folder / "truth.json").write_text(text + "\n", encoding="utf-8")
