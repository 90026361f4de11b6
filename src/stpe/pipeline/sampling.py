"""Which frames are looked at, at what size, and how a video is cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stpe.errors import UsageError
from stpe.stages.stage import ANALYSIS, MOTION
from stpe.video.frame import Grid, SourceInfo

#: Bump when the meaning of a grid or of a chunk border changes: every artifact depends on it.
VERSION = "5"
MOTION_FPS = 10.0
LONGEST_CHUNK_S = 16.0
FRAMES_A_CHUNK = 32
#: However many analysis frames that is: a shorter chunk shows too little for a clip.
LEAST_CHUNK_S = 1.0
#: Pixels of one chunk on all grids together; about three chunks are held, four with many cores.
CHUNK_BYTES = 192 * 2**20


@dataclass(frozen=True, slots=True)
class Sampling:
    """The user's sampling grid.

    Attributes:
        fps: analysis frames a second; None analyses every decoded frame.
        size: exact (width, height) of analysis frames; None keeps the aspect ratio.
        long_side: limit on the longer side where `size` is None; None keeps the stored size.
        image_fps: rate of images that carry no times of their own; None assumes 30.
    """

    fps: float | None = 2.0
    size: tuple[int, int] | None = None
    long_side: int | None = 854
    image_fps: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not (math.isfinite(self.fps) and 0.05 <= self.fps <= 1000):
            raise UsageError(f"--fps is {self.fps}: give a rate from 0.05 to 1000, or `native`")
        if self.size is not None and not all(16 <= side <= 16384 for side in self.size):
            raise UsageError("--resolution: each side must be from 16 to 16384 pixels")
        if self.long_side is not None and not 16 <= self.long_side <= 16384:
            raise UsageError("--resolution: the long side must be from 16 to 16384 pixels")
        if self.image_fps is not None and not (
            math.isfinite(self.image_fps) and 0.05 <= self.image_fps <= 1000
        ):
            raise UsageError(f"image_fps is {self.image_fps}: give a rate from 0.05 to 1000")

    @property
    def key(self) -> dict[str, float]:
        """What artifacts depend on beside the grid; nothing where no rate is given, so that what
        was made before still holds."""
        return {} if self.image_fps is None else {"image_fps": self.image_fps}

    def resolve(self, grid: Grid) -> Grid:
        """The grid a stage asked for by name, with this request's rate and size filled in."""
        if grid.name == ANALYSIS.name:
            return replace(grid, fps=self.fps, size=self.size, long_side=self.long_side)
        if grid.name == MOTION.name:
            multiple = None if self.fps is None else self.fps * math.ceil(MOTION_FPS / self.fps)
            return replace(grid, fps=multiple)
        return grid

    def chunk_s(self, info: SourceInfo, grids: Iterable[Grid]) -> float:
        """Seconds of video a chunk holds.

        The same for every choice of signals, so that artifacts stay valid when the choice
        changes: `grids` are those of every known stage.
        """
        native = info.fps if info.fps and 1 <= info.fps <= 1000 else 30.0
        analysis_fps = self.fps or native
        bytes_a_second = 0.0
        for grid in {g.name: self.resolve(g) for g in (ANALYSIS, *grids)}.values():
            width, height = grid.frame_size(info.width, info.height)
            bytes_a_second += min(grid.fps or native, native) * width * height * 3
        enough = max(FRAMES_A_CHUNK / analysis_fps, LEAST_CHUNK_S)
        longest = min(LONGEST_CHUNK_S, enough, CHUNK_BYTES / bytes_a_second)
        return max(longest, 1 / analysis_fps)
