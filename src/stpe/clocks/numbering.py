"""From which number the frames of numbered files count."""

from __future__ import annotations

from collections.abc import Collection


def base_of(
    numbers: Collection[int], frame_count: int | None = None, whole: bool = False
) -> tuple[int, str]:
    """The number that means the first frame, and what was assumed; empty where nothing was.

    A number is the frame's own, counted from 0, or from 1 where the first is 1 or the last is the
    count of frames. As many numbers as the video has frames, without a gap, are the whole video.

    Args:
        numbers: of files or entries, each once; not empty.
        frame_count: of the video; None if not known.
        whole: whether it is known otherwise that the first number is the first frame.

    >>> base_of([0, 1]), base_of([1, 2])[0], base_of([10, 11])[0], base_of([10, 11], 2)[0]
    ((0, ''), 1, 0, 10)
    """
    first, last = min(numbers), max(numbers)
    if first == 0:
        return 0, ""
    unbroken = last - first == len(numbers) - 1
    if whole or (frame_count is not None and unbroken and len(numbers) == frame_count):
        return first, f"the first file, number {first}, was taken for the first frame"
    if first != 1 and last != frame_count:
        return 0, f"files begin at number {first}: frame {first} of the video, from 0"
    said = "files were taken as numbered from 1: number 1 is the first frame"
    if frame_count is not None and last < frame_count:
        said += (
            f"; they end at {last} of {frame_count} frames, so if they count from 0, all are one "
            "frame early"
        )
    return 1, said
