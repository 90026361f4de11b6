"""Each analysis frame's state from a log that was given, and the certificate of the match."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe import strict_json
from stpe.models.notes import note
from stpe.narrate.state import GameState, state_of
from stpe.narrate.transitions import transitions
from stpe.signals import SIGNALS, schema
from stpe.stages.stage import Output, Stage, Window
from stpe.state.align import Certificate, align
from stpe.state.identity import Video
from stpe.state.log import StateLog
from stpe.state.motion import VideoMotion
from stpe.state.placing import placed
from stpe.state.rows import outside, state_rows, vocabulary

F64 = NDArray[np.float64]
_GAP_S = 1.0  # nothing is concluded across a longer stretch without a row


class StateLogStage(Stage):
    """`frames.state` by the certified match, in place of any state that came with the frames."""

    name = "state_log"
    reads = ("frames.frame_index",)
    optional = (
        "videos.frame_count",
        "videos.fps",
        "transitions.pts",
        "transitions.view_shift",
        "transitions.view_growth",
    )
    version = "12"
    named = True
    writes = (
        "frames.state",
        "frames.alignment",
        "frames.state_changes",
        "videos.alignment",
        "videos.keys",
        "videos.axes",
        *(s.name for s in SIGNALS if s.table == "states" and not s.key),
    )
    options = ("state",)
    needs = ("state",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Align, and give each analysis frame its row; null and `unaligned` without one."""
        assert self.request.state is not None
        log = self.request.state.read()
        frames, info = window.rows["frames"], window.source
        glances = window.rows.get("transitions")
        seen = None
        if glances is not None and "view_shift" in glances.column_names:
            seen = VideoMotion.of(glances)
        times = _times(window)
        video = Video(info.uri, info.width, info.height, info.tags)
        certificate = align(log, times, seen, video=video)
        if not certificate.aligned:
            note(f"the state log {log.name} is {certificate.verdict}: {certificate.reason}")
        row_of = [
            int(certificate.row_N[index]) if index < len(certificate.row_N) else -1
            for index in frames["frame_index"].to_pylist()
        ]
        grid = {n: frames["pts"][n].as_py() for n, row in enumerate(row_of) if row >= 0}
        between = _between(log, certificate, times, grid)
        states, how, changed = [], [], []
        for n, row in enumerate(row_of):
            found = row >= 0
            states.append(strict_json.dumps(_record(log, row), sort_keys=True) if found else None)
            how.append(certificate.how if found else "unaligned")
            changed.append(strict_json.dumps(between.get(n, []), sort_keys=True) if found else None)
        for repair in log.repairs:
            note(f"state log: {repair}")
        table = frames.select(["frame_index", "pts"])
        table = table.append_column("state", pa.array(states, pa.string()))
        table = table.append_column("alignment", pa.array(how, pa.string()))
        table = table.append_column("state_changes", pa.array(changed, pa.string()))
        method = next((h for h in how if h and h != "unaligned"), str(certificate.method))
        kept = state_rows(log, placed(log, certificate, times), times, method)
        lost = outside(kept)
        if lost is not None:
            note(lost)
        keys, axes = vocabulary(kept)
        stored = {
            "alignment": [strict_json.dumps(certificate.document(), sort_keys=True)],
            "keys": [keys],
            "axes": [axes],
        }
        videos = pa.table(stored, schema=schema("videos", stored))
        return Output({"frames": table, "videos": videos, "states": kept})


def _record(log: StateLog, row: int) -> dict[str, Any]:
    """A row's state, with the units that the log states once for all."""
    state = log.rows[row].state
    return {**state, "units": log.units} if log.units and "units" not in state else state


def _between(
    log: StateLog, certificate: Certificate, times: F64, grid: dict[int, float]
) -> dict[int, list[dict[str, Any]]]:
    """What changed in the log, by the first analysis frame at or after it that has a row: `grid`
    holds their times. What comes after the last one is put there."""
    if not grid:
        return {}
    numbers, ends = list(grid), np.array(list(grid.values()))
    matched = np.flatnonzero(certificate.row_N >= 0)
    samples: list[tuple[float, GameState]] = []
    parts = [samples]
    last_row, last_time = -1, -np.inf
    for frame in matched.tolist():
        row, pts = int(certificate.row_N[frame]), float(times[frame])
        if row != last_row:
            if pts - last_time > _GAP_S and samples:
                samples = []
                parts.append(samples)
            samples.append((pts, state_of(_record(log, row))))
        last_row, last_time = row, pts
    found: dict[int, list[dict[str, Any]]] = {}
    for part in parts:
        for change in transitions(part):
            at = min(int(np.searchsorted(ends, change.pts - 1e-6)), len(ends) - 1)
            told = {"pts": round(change.pts, 6), "text": change.text, **change.evidence}
            found.setdefault(numbers[at], []).append(told)
    return found


def _times(window: Window) -> F64:
    """Times of all decoded frames: as they were seen, else between the sampled ones."""
    known = window.rows.get("transitions")
    if known is not None and known.num_rows:
        return np.asarray(known["pts"].to_numpy(), np.float64)
    facts = window.rows["videos"].to_pylist()[0]
    sampled = window.rows["frames"]
    indices, times = sampled["frame_index"].to_numpy(), sampled["pts"].to_numpy()
    count = facts["frame_count"] or int(indices[-1]) + 1
    every = np.arange(count)
    spread = np.asarray(np.interp(every, indices, times), np.float64)
    if facts["fps"]:
        after = every > indices[-1]
        spread[after] = times[-1] + (every[after] - indices[-1]) / facts["fps"]
    return spread
