"""What every video session promises alike: which prompts it takes, which frames it walks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stpe.errors import UsageError
from stpe.models.roles import Direction, VideoFrames, VideoPrompt


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through a video, frame by frame.

    Attributes:
        begin, end: the first and the last frame.
        step: 1 or -1.
        answered: whether the first frame was answered on the way before.
        returns: whether another way from `begin` follows.
    """

    begin: int
    end: int
    step: int
    answered: bool = False
    returns: bool = False

    @property
    def indices(self) -> range:
        """The frames to answer, in order."""
        return range(self.begin + self.step * self.answered, self.end + self.step, self.step)


def walks(
    frames: VideoFrames,
    first: int | None,
    direction: Direction,
    start: int | None = None,
    max_frames: int | None = None,
) -> list[Walk]:
    """The ways that `VideoSession.propagate` goes with these arguments.

    Args:
        frames: of the video.
        first: the frame of the first prompt; None while nothing is followed.
        direction, start, max_frames: see there.

    Raises:
        UsageError: nothing is followed, or there is no such frame.
    """
    if first is None:
        raise UsageError("nothing is followed yet; prompt an object first")
    begin = first if start is None else start
    check_frame(frames, begin)
    most = len(frames.pts) if max_frames is None else max_frames
    steps = {"forward": (1,), "backward": (-1,), "both": (1, -1)}[direction]
    found = []
    for number, step in enumerate(steps):
        last = len(frames.pts) - 1 if step > 0 else 0
        end = begin + step * min(abs(last - begin), most - 1)
        found.append(Walk(begin, end, step, number > 0, number + 1 < len(steps)))
    return found


def check_frame(frames: VideoFrames, index: int) -> None:
    """Raise UsageError where the video has no such frame."""
    if not 0 <= index < len(frames.pts):
        raise UsageError(f"there is no frame {index}; give 0 to {len(frames.pts) - 1}")


def check_prompt(
    frames: VideoFrames,
    index: int,
    prompt: VideoPrompt,
    object_id: int | None,
    known: Collection[int],
) -> None:
    """Raise UsageError where `VideoSession.prompt` cannot take these arguments: there is no such
    frame, none of the `known` objects is `object_id`, or words are to correct one."""
    check_frame(frames, index)
    if object_id is not None and object_id not in known:
        raise UsageError(f"there is no object {object_id}; give one of {list(known)}")
    if object_id is not None and prompt.texts:
        raise UsageError("words make new objects; correct one with a box, points or a mask")
