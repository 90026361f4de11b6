"""Rigid parts of moving figures, from a simulator that knows them: their pixels and their paths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.rle import decode_mask

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    mask_rle: Mapping[str, Any]
    part_to_world_44: F64


class Parts:
    """Rows of parts.parquet: frame_index, object_id, part, mask_rle, part_to_world.

    Args:
        rows: every visible part of every frame.
        scale: metres a unit.
    """

    def __init__(self, rows: list[dict[str, Any]], scale: float) -> None:
        self._frames: dict[int, dict[tuple[int, str], _Part]] = defaultdict(dict)
        for row in rows:
            pose = np.array(row["part_to_world"], np.float64).reshape(4, 4)
            pose[:3, 3] *= scale
            key = row["object_id"], row["part"]
            self._frames[row["frame_index"]][key] = _Part(row["mask_rle"], pose)
        self._mask = lru_cache(maxsize=256)(self._decoded)

    def _decoded(self, frame: int, key: tuple[int, str]) -> NDArray[np.bool_]:
        return np.asarray(decode_mask(self._frames[frame][key].mask_rle), np.bool_)

    def steps(
        self, first: int, second: int, points_N2: F64, first_44: F64, second_44: F64
    ) -> Iterator[tuple[NDArray[np.bool_], F64 | None]]:
        """(points on a part, pose of the second camera in the first one's frame as that part sees
        it) of every part in the first frame; None where the part is not seen in the second.

        Args:
            first_44, second_44: camera-to-world.
        """
        x, y = np.floor(points_N2).astype(np.int64).T
        later = self._frames.get(second, {})
        for key, part in self._frames.get(first, {}).items():
            inside = self._mask(first, key)[y, x]
            if not inside.any():
                continue
            if key not in later:
                yield inside, None
                continue
            moved = part.part_to_world_44 @ np.linalg.inv(later[key].part_to_world_44)
            yield inside, np.asarray(np.linalg.inv(first_44) @ moved @ second_44)
