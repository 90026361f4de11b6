"""The pixels behind the rows: frames of the stored sources, by decoder frame index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stpe.errors import DatasetError
from stpe.video import ImageHW3, open_source
from stpe.video.picture import Scaler


def decode(media: Path, wanted: Sequence[int], size: tuple[int, int]) -> Iterator[ImageHW3]:
    """The frames `wanted` (ascending decoder indices), decoded in one pass from the start.

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
        frames = iter(source)
        for frame in frames:
            if target is None:
                return
            if frame.index == target:
                yield scaler(frame.picture, frame.orientation)
                target = next(left, None)
    if target is not None:
        raise DatasetError(
            f"{media.name} ends before frame {target}: put the original file back into media/"
        )
