"""A source that is decoded in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import av

from stpe.errors import SourceError
from stpe.video.frame import Grid, SourceInfo
from stpe.video.isolated.pool import POOL
from stpe.video.isolated.process import DecoderDiedError, DecoderProcess
from stpe.video.isolated.wire import Message, image_of
from stpe.video.limits import Limits
from stpe.video.sampler import Measured, Sampled
from stpe.video.source import Decoded, Source

#: Longest wait for a sign of life. Opening reads the whole file once, for its hash.
STALL_S = 120.0
_EVERY = Grid("every")


class IsolatedSource(Source):
    """What `open_path` opens, there. Its frames come through `sample`, scaled there too."""

    def __init__(self, path: Path, uri: str, limits: Limits, fps: float | None) -> None:
        """Raises as `open_path`, and DecoderDiedError."""
        super().__init__(limits)
        self._media: Path | None = None
        self._process = POOL.take()
        try:
            self.info = opened(self._process, path, uri, limits, fps)
        except BaseException:
            give_back(self._process)
            raise

    @property
    def media(self) -> Path:
        """The original; a packed folder lies there until the source is closed."""
        if self._media is None:
            answer, _ = self._process.ask({"do": "media"}, STALL_S)
            self._media = Path(answer["path"])
        return self._media

    def sampled(self, grids: Sequence[Grid], measured: Measured) -> Iterator[Sampled]:
        """See `Source.sampled`. Raises DecoderDiedError too."""
        self._process.send({"do": "sample", "grids": [asdict(grid) for grid in grids]})
        ended = False
        try:
            while not ended:
                message, blocks = self._process.receive(STALL_S)
                if message["kind"] == "frame":
                    measured.frame_count = message["index"] + 1
                    images = {
                        name: image_of(block, shape)
                        for (name, shape), block in zip(
                            message["shapes"].items(), blocks, strict=True
                        )
                    }
                    yield Sampled(message["index"], message["pts"], images, message["state"])
                elif message["kind"] == "end":
                    ended = True
                    self._noted(message, measured)
        except SourceError:  # the last it said
            ended = True
            raise
        finally:
            if not ended:
                self._stop(measured)

    def decode(self) -> Generator[Decoded]:
        """Frames as upright RGB pictures of one size."""
        measured = Measured(self.info.warnings)
        with contextlib.closing(self.sampled([_EVERY], measured)) as frames:  # type: ignore[type-var]
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(frame.images[_EVERY.name], "rgb24")
                yield Decoded(frame.index, frame.pts, picture, state=frame.state)

    def _stop(self, measured: Measured) -> None:
        """Break the pass off and read what was on its way."""
        try:
            self._process.send({"do": "stop"})
            while True:
                message, _ = self._process.receive(STALL_S)
                if message["kind"] == "end":
                    self._noted(message, measured)
                    return
        except SourceError:  # it failed, or died, on what nobody waits for any more
            return

    def _noted(self, message: Message, measured: Measured) -> None:
        for name in Measured.facts:
            setattr(measured, name, message["measured"][name])
        for warning in message["warnings"]:
            self.warn(warning)

    def close(self) -> None:
        """Give the process back for the next source."""
        give_back(self._process)
        super().close()


def opened(
    process: DecoderProcess, path: Path, uri: str, limits: Limits, fps: float | None
) -> SourceInfo:
    """Open a file or folder in a decoder process. Raises as `open_path`, and DecoderDiedError."""
    plain = asdict(replace(limits, isolated=False))
    where = str(path.absolute())
    request = {"do": "open", "path": where, "uri": uri, "fps": fps, "limits": plain}
    answer, _ = process.ask(request, STALL_S)
    return SourceInfo(**answer["info"])


def give_back(process: DecoderProcess) -> None:
    """Let a process that waits for requests be used for the next source."""
    if process.alive:
        with contextlib.suppress(DecoderDiedError):
            process.ask({"do": "close"}, STALL_S)
    POOL.give(process)
