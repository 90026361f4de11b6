"""The pixels behind the rows: frames of the stored sources, by decoder frame index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import DatasetError
from stpe.video import ImageHW3, open_source
from stpe.video.picture import Scaler
from stpe.video.seeking import Seeker
from stpe.video.selection import Selection
from stpe.video.source import Decoded


def decode(media: Path, wanted: Sequence[int], size: tuple[int, int]) -> Iterator[ImageHW3]:
    """The frames `wanted`, decoded in one pass from the start.

    Args:
        media: a file in the dataset's `media/`.
        wanted: decoder frame indices, ascending.
        size: (width, height) of the images.

    Raises:
        DatasetError: the source ends before a wanted frame.
    """
    left = iter(wanted)
    target = next(left, None)
    scaler = Scaler(*size)
    with open_source(media) as source:
        for frame in source:
            if target is None:
                return
            if frame.index == target:
                yield scaler(frame.picture, frame.orientation)
                target = next(left, None)
    if target is not None:
        raise DatasetError(
            f"{media.name} ends before frame {target}: put the original file back into media/"
        )


@dataclass(frozen=True)
class Timed:
    """A decoded frame.

    Attributes:
        index: decoder frame index. pts: seconds. end_s: when the next one is shown.
        image_HW3: RGB.
    """

    index: int
    pts: float
    end_s: float
    image_HW3: ImageHW3


def frames_of(
    media: Path,
    size: tuple[int, int],
    since_s: float | None = None,
    until_s: float | None = None,
    fps: float | None = None,
) -> Iterator[Timed]:
    """Every frame from one presentation time to before another, decoded in one pass from the start.

    Args:
        media: a file in the dataset's `media/`.
        size: (width, height) of the images.
        since_s, until_s: seconds; None for the begin and the end.
        fps: only the frames nearest to a regular grid of so many a second.
    """
    scaler, selection = Scaler(*size), Selection(fps)

    def made(frame: Decoded, end_s: float | None) -> Iterator[Timed]:
        shown_s = frame.duration_s or 0.0
        if selection.selects(frame.pts, end_s, shown_s):
            image = scaler(frame.picture, frame.orientation)
            end_s = frame.pts + shown_s if end_s is None else end_s
            yield Timed(frame.index, frame.pts, end_s, image)

    held: Decoded | None = None
    with open_source(media) as source:
        for frame in source:
            if held is not None:
                yield from made(held, frame.pts)
                held = None
            if until_s is not None and frame.pts >= until_s:
                return
            if since_s is None or frame.pts >= since_s:
                held = frame
        if held is not None:
            yield from made(held, None)


class FrameReader:
    """Frames of one video, by seeking where that gives the same frames. Not thread-safe.

    Args:
        media: a file in the dataset's `media/`.
        size: (width, height) of the images.
        sound: whether the source is a video file whose times needed no repair, so that a frame
            can be found by its time.
    """

    def __init__(self, media: Path, size: tuple[int, int], sound: bool) -> None:
        self._media = media
        self._size = size
        self._seeker = Seeker(media, size) if sound else None

    def close(self) -> None:
        """Close the file."""
        if self._seeker is not None:
            self._seeker.close()

    def frames(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        times_s: Sequence[float] | NDArray[np.float64] | None = None,
    ) -> NDArray[np.uint8]:
        """T x H x W x 3 RGB of ascending decoder indices; their times, if known, save decoding."""
        if self._seeker is not None and times_s is not None and len(times_s):
            found = self._seeker.frames_at([float(t) for t in times_s])
            if found is not None:
                return np.stack(found)
        return np.stack(list(decode(self._media, [int(i) for i in indices], self._size)))
