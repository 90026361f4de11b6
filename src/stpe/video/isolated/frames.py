"""Frames of a source by index, held and decoded in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stpe.errors import SourceError, UsageError
from stpe.video.frame import ImageHW3
from stpe.video.isolated.pool import POOL
from stpe.video.isolated.process import DecoderDiedError, DecoderProcess
from stpe.video.isolated.source import STALL_S, give_back, opened
from stpe.video.isolated.wire import image_of
from stpe.video.limits import Limits


class IsolatedFrames:
    """`HeldFrames` of a file, there. A decoder that dies is replaced by the next call, once.

    Args:
        path: a video file, a folder of images, or a ZIP.
        limits: of the source.
        budget_bytes: of images held there.
        cancelled: asked while the file is decoded the first time.

    Raises:
        SourceError: as `HeldFrames` and `open_source`, without the file's place.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        budget_bytes: int,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._path, self._limits, self._budget = path, limits, budget_bytes
        self.pts: list[float] = []
        self.width = self.height = 0
        self.fps: float | None = None
        self.duration_s = 0.0
        self.warnings: list[str] = []
        self.held_bytes = 0
        self._closed = False
        self._process: DecoderProcess | None = self._open(cancelled)

    def _open(self, cancelled: Callable[[], bool]) -> DecoderProcess:
        process = POOL.take()
        try:
            opened(process, self._path, "the video", self._limits, None)
            process.send({"do": "hold", "budget": self._budget})
            answer, _ = process.receive(STALL_S)
            while answer["kind"] == "tick":
                if cancelled():
                    process.kill()
                    raise SourceError("reading the video was cancelled")
                answer, _ = process.receive(STALL_S)
            if self.pts and self.pts != answer["pts"]:
                raise SourceError("the video's frames changed while it was read")
        except BaseException:
            give_back(process)
            raise
        self.pts, self.fps, self.warnings = answer["pts"], answer["fps"], answer["warnings"]
        self.width, self.height = answer["width"], answer["height"]
        self.duration_s = answer["duration_s"]
        return process

    def image(self, index: int) -> ImageHW3:
        """Frame `index` as RGB; not to be written to. Raises UsageError if there is none."""
        if self._closed:
            raise UsageError("the video is closed")
        if self._process is not None:
            try:
                return self._asked(self._process, index)
            except DecoderDiedError:
                self._process = None
        process = self._open(lambda: False)
        found = self._asked(process, index)
        self._process = process
        return found

    def _asked(self, process: DecoderProcess, index: int) -> ImageHW3:
        answer, (block,) = process.ask({"do": "image", "index": index}, STALL_S)
        self.held_bytes = answer["held_bytes"]
        image = image_of(block, answer["shape"])
        image.setflags(write=False)
        return image

    def close(self) -> None:
        """Free everything."""
        process, self._process = self._process, None
        self._closed = True
        if process is not None:
            give_back(process)
