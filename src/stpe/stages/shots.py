"""Shots, from the probabilities of a transition."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from stpe.signals import schema
from stpe.stages.stage import Output, Stage, Window

#: The detector's own operating point (TransNetV2, section 4).
THRESHOLD = 0.5
#: A transition is gradual from this time between its first and last frame, of which there are so
#: many; a hard cut lights one or two frames, whatever time lies between them.
GRADUAL_S, GRADUAL_FRAMES = 0.1, 3
#: Boundaries closer to the previous one than this are the same one seen twice, or a flash.
MIN_SHOT_S = 0.16
#: Times are stored to the microsecond or so.
_SAME_S = 1e-4

_COLUMNS = ("start_frame", "end_frame", "start_pts", "end_pts", "transition", "confidence")


@dataclass
class _Tracker:
    """The open shot, and the runs of frames above the threshold that are under way.

    `cut_*` is the best frame of the current run of the cut head (-1 outside one, and after the
    run was used); `run_*` the current or last run of the gradual head.
    """

    shot_id: int = 0
    start_frame: int = -1
    start_pts: float = 0.0
    transition: str = "start"
    confidence: float = 1.0
    in_cut: bool = False
    cut_frame: int = -1
    cut_pts: float = 0.0
    cut_peak: float = 0.0
    in_run: bool = False
    run_start: int = -1
    run_end: int = -1
    run_start_pts: float = 0.0
    run_end_pts: float = 0.0
    run_peak: float = 0.0
    pts: float = 0.0
    interval_s: float = 0.0


class Shots(Stage):
    """`shots`, and the shot of every analysis frame.

    A new shot begins at the peak of the cut head, which in a dissolve lies at its middle. The
    shot's transition is gradual where the gradual head stays above the threshold for some
    time there. A shot's row is written in the chunk in which it ends.
    """

    name = "shots"
    version = "4"
    reads = ("transitions.cut", "transitions.gradual", "frames.frame_index")
    writes = (*(f"shots.{column}" for column in _COLUMNS), "frames.shot_id")
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Close shots at the chunk's boundaries; carry the open one."""
        pass_ = _Pass(_resume(window.state))
        rows = window.rows["transitions"]
        for values in zip(
            *(rows[c].to_pylist() for c in ("frame_index", "pts", "cut", "gradual")), strict=True
        ):
            pass_.frame(*values)
        pass_.end_of_chunk()
        if window.span.last:
            end_frame = rows["frame_index"][-1].as_py() + 1 if len(rows) else None
            pass_.end_of_video(end_frame, window.span.end_pts)

        frames = window.rows["frames"].select(["frame_index", "pts"])
        first_id = pass_.first_id
        ids = [first_id + bisect_right(pass_.starts, f) for f in frames["frame_index"].to_pylist()]
        return Output(
            {
                "shots": pa.Table.from_pylist(pass_.closed, schema("shots", _COLUMNS)),
                "frames": pa.table(
                    [*frames.columns, pa.array(ids, pa.int32())],
                    schema=schema("frames", ("shot_id",)),
                ),
            },
            pa.Table.from_pylist([asdict(pass_.now)]),
        )


@dataclass
class _Pass:
    """One chunk, frame by frame."""

    now: _Tracker
    closed: list[dict[str, object]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    first_id: int = 0

    def __post_init__(self) -> None:
        self.first_id = self.now.shot_id

    def frame(self, index: int, pts: float, cut: float, gradual: float) -> None:
        now = self.now
        if now.start_frame < 0:
            now.start_frame, now.start_pts = index, pts
        else:
            now.interval_s = pts - now.pts
        if index > now.start_frame and now.interval_s >= MIN_SHOT_S - _SAME_S:
            # Frames this far apart are each long enough to be a shot: no peak has two of them.
            self._use_cut()
            now.in_cut = False
        now.pts = pts
        self._gradual_head(index, pts, gradual)
        if cut > THRESHOLD:
            if not now.in_cut or (now.cut_frame >= 0 and cut > now.cut_peak):
                now.cut_frame, now.cut_pts, now.cut_peak = index, pts, cut
            now.in_cut = True
        else:
            self._use_cut()
            now.in_cut = False

    def _gradual_head(self, index: int, pts: float, gradual: float) -> None:
        now = self.now
        if gradual <= THRESHOLD:
            now.in_run = False
            return
        if not now.in_run:
            now.in_run, now.run_start, now.run_start_pts, now.run_peak = True, index, pts, 0.0
        now.run_end, now.run_end_pts = index, pts
        now.run_peak = max(now.run_peak, gradual)
        if now.start_frame >= now.run_start and now.transition == "cut":
            self._name_transition()

    def _use_cut(self) -> None:
        """Begin a shot at the best frame of the cut run, if there is an unused one."""
        now = self.now
        start, pts = now.cut_frame, now.cut_pts
        now.cut_frame = -1
        if start < 0 or pts - now.start_pts < MIN_SHOT_S - _SAME_S:
            return
        self._close(start, pts)
        now.start_frame, now.start_pts = start, pts
        now.transition, now.confidence = "cut", now.cut_peak
        self.starts.append(start)
        self._name_transition()

    def _name_transition(self) -> None:
        now = self.now
        frames = now.run_end - now.run_start + 1
        long = now.run_end_pts - now.run_start_pts >= GRADUAL_S - _SAME_S
        # The frame before a cut is the last one that the gradual head marks.
        if long and frames >= GRADUAL_FRAMES and now.run_end >= now.start_frame - 1:
            now.transition = "gradual"
            now.confidence = max(now.confidence, now.run_peak)

    def _close(self, end_frame: int, end_pts: float) -> None:
        now = self.now
        self.closed.append(
            {
                "shot_id": now.shot_id,
                "start_frame": now.start_frame,
                "end_frame": end_frame,
                "start_pts": now.start_pts,
                "end_pts": end_pts,
                "transition": now.transition,
                "confidence": now.confidence,
            }
        )
        now.shot_id += 1

    def end_of_chunk(self) -> None:
        # The chunk's frames are named now, so a run that goes on is decided on what is seen.
        self._use_cut()

    def end_of_video(self, end_frame: int | None, end_pts: float) -> None:
        now = self.now
        if now.start_frame >= 0 and end_frame is not None:
            self._close(end_frame, end_pts)


def _resume(state: pa.Table | None) -> _Tracker:
    return _Tracker() if state is None else _Tracker(**state.to_pylist()[0])
