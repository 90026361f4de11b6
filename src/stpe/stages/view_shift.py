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
_COLUMNS = ("view_shift", "view_growth")


class ViewShift(Stage):
    """`transitions.view_shift` and `view_growth`; only where there is a log to match."""

    name = "view_shift"
    version = "2"
    writes = ("transitions.view_shift", "transitions.view_growth")
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
            glance = None if before is None else glancer.look(before.image, frame.image)
            shift = None if glance is None else glance.shift_2.tolist()
            growth = None if glance is None else glance.growth
            row = {"frame_index": frame.index, "pts": frame.pts}
            rows.append({**row, "view_shift": shift, "view_growth": growth})
            before = frame
        table = pa.Table.from_pylist(rows, schema=schema("transitions", _COLUMNS))
        return Output({"transitions": table})
