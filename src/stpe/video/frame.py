"""What flows out of a source: frames with presentation times, and what is known of the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ImageHW3 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: decoder's frame index, zero-based, counting every decoded frame of the source.
        pts: presentation time in seconds, from the container.
        image: HxWx3 uint8 RGB at the grid's size.
        state: the state record that travelled with the frame (ZIP of frames and JSON), if any.
    """

    index: int
    pts: float
    image: ImageHW3
    state: dict[str, Any] | None = None


@dataclass(slots=True)
class SourceInfo:
    """What is known of a source before decoding; see `videos.*` in `stpe.signals`.

    `duration_s` and `frame_count` are the container's claims and may be None or wrong; the values
    stored in the dataset are measured while decoding. `width` and `height` have rotation applied.
    `start_pts` is the time of the first frame, and `unix_start_s` its time since 1970, where the
    source says it.
    `tags` are what the container says of itself, such as its time of creation.
    """

    uri: str
    kind: Literal["file", "folder", "archive", "stream", "simulator"]
    sha256: str
    width: int
    height: int
    fps: float | None
    duration_s: float | None
    frame_count: int | None
    codec: str | None = None
    warnings: list[str] = field(default_factory=list)
    start_pts: float = 0.0
    unix_start_s: float | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grid:
    """Which presentation times are delivered, and at what size.

    Attributes:
        name: `analysis`, `motion`, or a stage's own word.
        fps: frames nearest to a regular grid of this rate, never more than once each; None for
            every decoded frame.
        size: exact (width, height); None keeps the aspect ratio.
        long_side: the longer side is reduced to this many pixels (never enlarged).
        short_side: or the shorter side is. None of the three keeps the stored size.
    """

    name: str
    fps: float | None = None
    size: tuple[int, int] | None = None
    long_side: int | None = None
    short_side: int | None = None

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of delivered frames for a source of the given stored size."""
        if self.size is not None:
            return self.size
        scale = 1.0
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(width, height))
        if self.short_side is not None:
            scale = min(scale, self.short_side / min(width, height))
        if scale == 1:
            return width, height
        return max(2, round(width * scale)), max(2, round(height * scale))
