"""Walking through a sorted table one frame at a time, without making Python objects of it all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa


def rows_by_frame(table: pa.Table) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(frame index, its rows) of a table sorted by `frame_index`."""
    index = table["frame_index"].to_numpy()
    borders = np.flatnonzero(np.diff(index)) + 1
    ends = [*borders.tolist(), len(index)] if len(index) else []
    start = 0
    for end in ends:
        yield int(index[start]), table.slice(start, end - start).to_pylist()
        start = end
