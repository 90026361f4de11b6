"""One decode pass that serves every sampling grid, in a background thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from stpe.errors import SourceError
from stpe.video.channel import Channel, ChannelClosedError
from stpe.video.frame import Grid, ImageHW3
from stpe.video.picture import Scaler
from stpe.video.selection import Selection
from stpe.video.source import Decoded, Source

#: Decoded frames that may wait to be converted; far fewer than `container.HELD_FRAMES`.
_AHEAD = 2
#: Bytes of converted images that may wait for the consumer.
QUEUE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sampled:
    """A frame that at least one grid selected.

    Attributes:
        index: decoder's frame index.
        pts: presentation time in seconds.
        images: for each grid that selected the frame, the image at that grid's size.
        state: the state record that came with the frame, if any.
    """

    index: int
    pts: float
    images: dict[str, ImageHW3]
    state: dict[str, Any] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return sum(image.nbytes for image in self.images.values())


@dataclass(slots=True)
class Measured:
    """Facts of the whole source, complete once the sampler has run to its end.

    Attributes:
        frame_count: decoded frames.
        first_pts, last_pts: seconds; None before the first frame.
        fps: average rate, (frames - 1) / (last - first); None for a single frame.
        complete: whether decoding reached the end.
        last_s: how long the last frame is shown, if the source says so.
        warnings: what was wrong with the source (the source's own list).
    """

    #: Names of all but the warnings.
    facts: ClassVar = ("frame_count", "first_pts", "last_pts", "complete", "frame_s", "last_s")

    warnings: list[str] = field(default_factory=list)
    frame_count: int = 0
    first_pts: float | None = None
    last_pts: float | None = None
    complete: bool = False
    frame_s: float | None = None
    last_s: float | None = None

    @property
    def fps(self) -> float | None:
        """Average frames a second by presentation time."""
        if self.first_pts is None or self.last_pts is None or self.last_pts <= self.first_pts:
            return None
        return (self.frame_count - 1) / (self.last_pts - self.first_pts)

    @property
    def end_pts(self) -> float | None:
        """End of the last frame: as its source says, else one average frame after its time, else
        one of the claimed rate."""
        if self.last_pts is None:
            return None
        average_s = self.frame_s if self.fps is None else 1 / self.fps
        return self.last_pts + (self.last_s or average_s or 0.0)

    @property
    def duration_s(self) -> float | None:
        """From the first frame's time to the end of the last."""
        if self.first_pts is None or self.end_pts is None:
            return None
        return self.end_pts - self.first_pts


class Sampler(Iterator[Sampled]):
    """Iterator of the frames that some grid wants; `measured` holds the source's true facts.

    Decoding starts with the first `next` and stays ahead by at most `QUEUE_BYTES` of images.
    `close` (or leaving the `with` block) stops the thread; so does dropping the sampler. Errors of
    the decoding thread are raised here.
    """

    def __init__(self, source: Source, grids: Sequence[Grid]) -> None:
        self.measured = Measured(source.info.warnings)
        self._items = _run(source, tuple(grids), self.measured)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Sampled:
        return next(self._items)

    def close(self) -> None:
        """Stop decoding and wait for the thread to end."""
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sample(source: Source, grids: Sequence[Grid]) -> Sampler:
    """Decode `source` once and deliver, in order, each frame that a grid selects.

    Raises SourceError if there is no frame at all, SourceLimitError past a limit, from `next`.
    """
    return Sampler(source, grids)


def _run(
    source: Source, grids: tuple[Grid, ...], measured: Measured
) -> Generator[Sampled, None, None]:
    channel: Channel[Sampled] = Channel(QUEUE_BYTES)
    thread = threading.Thread(
        target=_produce, args=(channel, source, grids, measured), name="stpe-decode", daemon=True
    )
    thread.start()
    try:
        yield from channel
    finally:
        channel.close()
        thread.join()


def _produce(
    channel: Channel[Sampled], source: Source, grids: tuple[Grid, ...], measured: Measured
) -> None:
    try:
        for item in source.sampled(grids, measured):
            channel.put(item, item.nbytes)
        channel.finish()
    except ChannelClosedError:
        pass
    except BaseException as error:  # handed to the consumer, which raises it
        channel.finish(error)


def sampled(
    source: Source,
    grids: Sequence[Grid],
    measured: Measured,
    went_on: Callable[[], object] = lambda: None,
) -> Generator[Sampled, None, None]:
    """`sample` in this thread; `went_on` is called with every decoded frame."""
    size = source.info.width, source.info.height
    lanes = [(g.name, Selection(g.fps), Scaler(*g.frame_size(*size))) for g in grids]
    measured.frame_s = 1 / source.info.fps if source.info.fps else None
    decoded = _decoded(source)
    try:
        for frame, following in _with_next_pts(decoded):
            went_on()
            measured.frame_count += 1
            measured.last_pts, measured.last_s = frame.pts, frame.duration_s
            if measured.first_pts is None:
                measured.first_pts = frame.pts
            images = {
                name: scaler(frame.picture, frame.orientation)
                for name, selection, scaler in lanes
                if selection.selects(frame.pts, following, frame.duration_s or 0.0)
            }
            if images:
                yield Sampled(frame.index, frame.pts, images, frame.state)
    finally:
        decoded.close()
    if not measured.frame_count:
        raise SourceError("the source yields no frame; check the file or re-encode it")
    measured.complete = True


def _decoded(source: Source) -> Generator[Decoded, None, None]:
    """Frames of the source, decoded in a thread of its own while others are converted."""
    channel: Channel[Decoded] = Channel(_AHEAD)

    def produce() -> None:
        try:
            for frame in source:
                channel.put(frame, 1)
            channel.finish()
        except ChannelClosedError:
            pass
        except BaseException as error:  # raised where the frames are used
            channel.finish(error)

    thread = threading.Thread(target=produce, name="stpe-decode-ahead", daemon=True)
    thread.start()
    try:
        yield from channel
    finally:
        channel.close()
        thread.join()


def _with_next_pts(frames: Iterator[Decoded]) -> Iterator[tuple[Decoded, float | None]]:
    held: Decoded | None = None
    for frame in frames:
        if held is not None:
            yield held, frame.pts
        held = frame
    if held is not None:
        yield held, None
