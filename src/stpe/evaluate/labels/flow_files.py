"""Optical flow in `.flo` files: one for a pair of frames, or a folder of them for a clip.

Source: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from stpe.errors import TruthError
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import numbered
from stpe.evaluate.truth import F32, F64, MaskHW, Truth

MAGIC = b"PIEH"
_UNKNOWN = 1e9


def load_flo(path: Path) -> tuple[F32, MaskHW]:
    """flow_HW2 in px and where it is known. Raises TruthError where the file is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TruthError(f"{path} cannot be read ({error})") from None
    if data[:4] != MAGIC or len(data) < 12:
        raise TruthError(f"{path} is not a .flo file: it does not begin with PIEH")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, 4))
    if not 0 < width < 100_000 or not 0 < height < 100_000 or len(data) < 12 + 8 * width * height:
        raise TruthError(f"{path} ends early: {len(data)} bytes for {width}x{height}")
    flow = np.frombuffer(data, "<f4", 2 * width * height, 12).reshape(height, width, 2)
    known = np.asarray((np.abs(flow) < _UNKNOWN).all(axis=-1))
    return np.where(known[..., None], flow, 0).astype(np.float32), known


def read_flow(path: Path, files: list[Path], context: Context) -> Truth:
    """Flow from frame i to i + 1, of file i; one file alone is of the first two frames."""
    pairs = replace(
        context, frame_count=None if context.frame_count is None else context.frame_count - 1
    )
    by_frame: Mapping[int, Path] = numbered(files, pairs, whole=len(files) == 1)
    flow_HW2, _ = load_flo(next(iter(by_frame.values())))

    def read(first: int, second: int, points_N2: F64) -> tuple[F32, MaskHW] | None:
        if second != first + 1 or first not in by_frame:
            return None
        flow_HW2, known_HW = load_flo(by_frame[first])
        x, y = np.floor(points_N2).astype(np.int64).T
        return flow_HW2[y, x], known_HW[y, x]

    height, width = flow_HW2.shape[:2]
    return Truth(
        "flow", path, width, height, max(by_frame) + 2 if 0 in by_frame else None, flow=read
    )
