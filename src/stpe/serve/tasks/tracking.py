"""Objects of a video's first frames, followed from frame to frame with flow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField, flow_field
from stpe.geometry.surround import fit_camera_plane
from stpe.models.roles import Detections, FlowEstimator
from stpe.serve.failures import ClientLeftError
from stpe.serve.tasks.schemas import Timing
from stpe.stages.flow import cell_flow
from stpe.tracking.tracker import BEGIN, SURE, Boxes, Tracker
from stpe.video.frame import Grid, ImageHW3, SourceInfo
from stpe.video.limits import Limits
from stpe.video.opening import open_source
from stpe.video.sampler import sample

F64 = NDArray[np.float64]

#: What is less sure than asked for may still prolong a track, down to this share of the threshold.
FAINT = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """One frame.

    Attributes:
        image: at the size looked at; `to_stored_2` scales its pixels to the video's.
        found: detections, and `ids_N` their tracks, zero for none.
        field: flow that leads here from the frame before over `seconds`, in pixels of `image`.
        homography: of that interval.
    """

    frame_index: int
    pts: float
    image: ImageHW3
    to_stored_2: F64
    found: Detections
    ids_N: NDArray[np.int64]
    field: FlowField | None
    homography: F64 | None
    seconds: float


class Walk:
    """Iterates the first frames of a video; `info` and `timing` are whole afterwards."""

    def __init__(
        self, path: Path, limits: Limits, stop: threading.Event, max_frames: int, long_side: int
    ) -> None:
        self._path, self._limits, self._stop = path, limits, stop
        self._max_frames = max_frames
        self._grid = Grid("walk", None, long_side=long_side)
        self.info: SourceInfo
        self.timing: Timing

    def steps(
        self,
        detect: Callable[[ImageHW3], Detections],
        threshold: float,
        flow: FlowEstimator | None,
        max_pairs: int,
    ) -> Iterator[Step]:
        """Each frame with tracked detections. Raises SourceError, ClientLeftError."""
        tracker = Tracker()
        before: Step | None = None
        first = None
        count, truncated = 0, False
        with open_source(self._path, self._limits) as source:
            self.info = source.info
            with sample(source, [self._grid]) as frames:
                for frame in frames:
                    if self._stop.is_set():
                        raise ClientLeftError("the client has left")
                    if count == self._max_frames:
                        truncated = True
                        break
                    image = frame.images["walk"]
                    height, width = image.shape[:2]
                    field = homography = None
                    if before is not None and flow is not None and count <= max_pairs:
                        hw2, trust = (
                            part.astype(np.float16) for part in cell_flow(flow, before.image, image)
                        )
                        field = flow_field(hw2.ravel(), trust.ravel(), hw2.shape, (width, height))
                        plane = fit_camera_plane(field)
                        homography = None if plane is None else plane.fit.matrix
                    if before is not None:
                        tracker.carry(field, homography)
                    found = detect(image)
                    ids, _ = tracker.step(frame.pts, _boxes(found, threshold))
                    scale = np.array([self.info.width / width, self.info.height / height])
                    seconds = 0.0 if before is None else frame.pts - before.pts
                    before = Step(
                        frame.index, frame.pts, image, scale, found, ids, field, homography, seconds
                    )
                    first = frame.pts if first is None else first
                    count += 1
                    yield before
        self.timing = Timing(
            fps=self.info.fps,
            frames_analysed=count,
            first_pts=first or 0.0,
            last_pts=before.pts if before is not None else 0.0,
            truncated=truncated,
        )


def _boxes(found: Detections, threshold: float) -> Boxes:
    """For the tracker, whose own scale of scores is put where the threshold is."""
    corners = found.boxes_N4.astype(np.float64).reshape(-1, 4)
    scores = np.interp(
        found.scores_N, [0.0, max(threshold, 1e-6) * (1 - 1e-9), threshold, 1.0 + 1e-6],
        [0.0, SURE * (1 - 1e-9), BEGIN, 1.0],
    )  # fmt: skip
    centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    return Boxes(np.concatenate([centre, size], 1), scores, found.labels)
