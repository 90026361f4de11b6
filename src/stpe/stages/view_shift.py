"""How the view moves from each frame to the next, for matching a state log in time."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stpe.geometry.glance import Glancer
from stpe.signals import schema
from stpe.stages.stage import Output, Stage, Window
from stpe.video.frame import Grid

#: Every decoded frame, as small as a turn can be measured on.
GLANCES = Grid("glances", fps=None, long_side=96)
_COLUMNS = ("view_shift",)


class ViewShift(Stage):
    """`transitions.view_shift`; only where there is a log to match."""

    name = "view_shift"
    writes = ("transitions.view_shift",)
    needs = ("state",)
    grid = GLANCES
    length = None
    margin = (1, 0)

    def process(self, window: Window) -> Output:
        """One row a frame."""
        glancer = Glancer()
        rows: list[dict[str, Any]] = []
        before = window.frames[window.before - 1] if window.before else None
        for frame in window.core_frames:
            shift = None if before is None else glancer.shift(before.image, frame.image)
            shown = None if shift is None else shift.tolist()
            rows.append({"frame_index": frame.index, "pts": frame.pts, "view_shift": shown})
            before = frame
        table = pa.Table.from_pylist(rows, schema=schema("transitions", _COLUMNS))
        return Output({"transitions": table})
