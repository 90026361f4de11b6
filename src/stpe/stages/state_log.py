"""Each analysis frame's state from a log that was given, and the certificate of the match."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import schema
from stpe.stages.stage import Output, Stage, Window
from stpe.state.align import align
from stpe.state.motion import VideoMotion


class StateLogStage(Stage):
    """`frames.state` by the certified match, in place of any state that came with the frames."""

    name = "state_log"
    reads = ("frames.frame_index",)
    optional = (
        "videos.frame_count",
        "videos.fps",
        "transitions.pts",
        "motion.interval_s",
        "motion.camera_rotation_deg",
    )
    writes = ("frames.state", "frames.alignment", "videos.alignment")
    options = ("state",)
    needs = ("state",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Align, and give each analysis frame its row; null and `unaligned` without one."""
        assert self.request.state is not None
        log = self.request.state.read()
        frames = window.rows["frames"]
        motion = window.rows.get("motion")
        seen = None
        if motion is not None and "camera_rotation_deg" in motion.column_names:
            seen = VideoMotion.of(motion)
        certificate = align(log, _times(window), seen)
        states, how = [], []
        for index in frames["frame_index"].to_pylist():
            row = int(certificate.row_N[index]) if index < len(certificate.row_N) else -1
            found = row >= 0 and certificate.method is not None
            states.append(json.dumps(log.rows[row].state, sort_keys=True) if found else None)
            how.append(certificate.method if found else "unaligned")
        table = frames.select(["frame_index", "pts"])
        table = table.append_column("state", pa.array(states, pa.string()))
        table = table.append_column("alignment", pa.array(how, pa.string()))
        stored = {"alignment": [json.dumps(certificate.document(), sort_keys=True)]}
        videos = pa.table(stored, schema=schema("videos", ("alignment",)))
        return Output({"frames": table, "videos": videos})


def _times(window: Window) -> NDArray[np.float64]:
    """Times of all decoded frames: as they were seen, else between the sampled ones."""
    known = window.rows.get("transitions")
    if known is not None and known.num_rows:
        return np.asarray(known["pts"].to_numpy(), np.float64)
    facts = window.rows["videos"].to_pylist()[0]
    sampled = [window.rows[t] for t in ("frames", "motion") if t in window.rows]
    indices = np.concatenate([t["frame_index"].to_numpy() for t in sampled])
    times = np.concatenate([t["pts"].to_numpy() for t in sampled])
    indices, first = np.unique(indices, return_index=True)
    times = times[first]
    count = facts["frame_count"] or int(indices[-1]) + 1
    every = np.arange(count)
    spread = np.asarray(np.interp(every, indices, times), np.float64)
    if facts["fps"]:
        after = every > indices[-1]
        spread[after] = times[-1] + (every[after] - indices[-1]) / facts["fps"]
    return spread
