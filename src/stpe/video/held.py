"""Frames of one source by index, in either direction, within a budget of bytes.

What does not fit is decoded again: forward the decoder is left open where it stands, backward a
block of frames is read at once, from the key frame before it where seeking gives the same frames
and from the start otherwise.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Self

from stpe.errors import SourceError, UsageError
from stpe.video.frame import ImageHW3
from stpe.video.picture import Scaler
from stpe.video.seeking import Seeker
from stpe.video.source import Decoded, Source
from stpe.video.timestamps import times_are_sound

_AHEAD = 64  # frames that are rather decoded through than sought


class HeldFrames:
    """Random access to the frames of a source, which it closes. One thread at a time.

    The source is decoded once to learn its true times.

    Args:
        source: opened.
        budget_bytes: of RGB images held; one is always held.
        cancelled: asked between frames of that first pass.

    Raises:
        SourceError: there is no frame, or the pass was cancelled.

    Attributes:
        pts: presentation time of each frame, in seconds.
        width, height: of the frames.
    """

    def __init__(
        self,
        source: Source,
        budget_bytes: int,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self.width, self.height = source.info.width, source.info.height
        self._room = max(1, budget_bytes // (self.width * self.height * 3))
        self._held: OrderedDict[int, ImageHW3] = OrderedDict()
        self._scaler = Scaler(self.width, self.height)
        self._cursor: Generator[Decoded, None, None] | None = None
        self._next = 0
        self.pts: list[float] = []
        self._last_s: float | None = None
        for frame in source:
            self.pts.append(frame.pts)
            self._last_s = frame.duration_s
            if cancelled():
                raise SourceError("reading the video was cancelled")
        if not self.pts:
            raise SourceError("the source yields no frame; check the file or re-encode it")
        # A frame is found by its time only where every time is the container's own.
        sound = source.info.kind == "file" and times_are_sound(source.info.warnings)
        size = (self.width, self.height)
        self._seeker = Seeker(source.media, size, source.limits) if sound else None

    @property
    def fps(self) -> float | None:
        """Mean rate by presentation times; for one frame the container's claim."""
        seconds = self.pts[-1] - self.pts[0]
        return (len(self.pts) - 1) / seconds if seconds > 0 else self._source.info.fps

    @property
    def duration_s(self) -> float:
        """From the first frame's time to the end of the last."""
        last_s = self._last_s or (1 / self.fps if self.fps else 0.0)
        return self.pts[-1] - self.pts[0] + last_s

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the source."""
        return list(self._source.info.warnings)

    @property
    def held_bytes(self) -> int:
        """Bytes of the images held now; may be asked from another thread."""
        return len(self._held) * self.width * self.height * 3

    def image(self, index: int) -> ImageHW3:
        """Frame `index` as RGB; not to be written to. Raises UsageError if there is none."""
        if not 0 <= index < len(self.pts):
            raise UsageError(f"there is no frame {index}; give 0 to {len(self.pts) - 1}")
        if index not in self._held:
            if 0 <= index - self._next <= _AHEAD:
                self._read(index, index)
            elif not self._seek(index):
                self._stop()
                self._read(max(0, index - self._block + 1), index)
        self._held.move_to_end(index)
        return self._held[index]

    @property
    def _block(self) -> int:
        """Frames read at once where the next one wanted is likely the one before."""
        return max(1, self._room // 2)

    def _seek(self, index: int) -> bool:
        if self._seeker is None:
            return False
        first = max(0, index - min(self._block, _AHEAD) + 1)
        images = self._seeker.frames_at(self.pts[first : index + 1])
        if images is None:
            return False
        for at, image in enumerate(images, first):
            self._keep(at, image)
        return True

    def _read(self, first: int, last: int) -> None:
        """Decode on to `last`, keeping what comes from `first`."""
        while self._next <= last:
            if self._cursor is None:
                self._cursor = _frames(self._source)
            frame = next(self._cursor, None)
            if frame is None:
                raise SourceError("the video's frames changed while it was read")
            if self._next >= first:
                self._keep(self._next, self._scaler(frame.picture, frame.orientation))
            self._next += 1

    def _keep(self, index: int, image: ImageHW3) -> None:
        image.setflags(write=False)
        self._held[index] = image
        self._held.move_to_end(index)
        while len(self._held) > self._room:
            self._held.popitem(last=False)

    def _stop(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor, self._next = None, 0

    def release(self) -> None:
        """Give back images and decoders; a later `image` opens them again."""
        self._stop()
        self._held.clear()

    def close(self) -> None:
        """Free everything, and the source."""
        self.release()
        if self._seeker is not None:
            self._seeker.close()
            self._seeker = None
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frames(source: Source) -> Generator[Decoded, None, None]:
    yield from source
