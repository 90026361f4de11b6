"""What every source of frames offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av

from stpe.video.frame import SourceInfo
from stpe.video.limits import Limits
from stpe.video.picture import UPRIGHT, Orientation
from stpe.video.temporary import TemporaryFolder

if TYPE_CHECKING:
    from stpe.video.frame import Grid
    from stpe.video.sampler import Measured, Sampled


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the decoder left it, not yet converted or turned.

    Attributes:
        index: zero-based, counting every frame the decoder yields.
        pts: presentation time in seconds, greater than that of the frame before.
        picture: the decoder's frame, usually YUV, at the stored size.
        orientation: how to show it.
        state: the state record that came with it, if any.
        duration_s: how long it is shown, if the source says so.
    """

    index: int
    pts: float
    picture: av.VideoFrame
    orientation: Orientation = UPRIGHT
    state: dict[str, Any] | None = None
    duration_s: float | None = None


class Source(ABC):
    """An opened source: facts, the original's file, and its frames from the start.

    A source may be iterated again; each iteration decodes anew and must end (or be closed) before
    the next begins. `info.warnings` grows while frames are read. Use it as a context manager:
    downloads and packed folders are temporary files that `close` removes.
    """

    info: SourceInfo

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._temporary: list[TemporaryFolder] = []

    @property
    @abstractmethod
    def media(self) -> Path:
        """A local file of the original, which `open_source` reads to the same frames."""

    @abstractmethod
    def decode(self) -> Iterator[Decoded]:
        """Decode from the start, in order, with strictly increasing times."""

    def __iter__(self) -> Iterator[Decoded]:
        """Frames of `decode`, held to the limits. Raises SourceLimitError past one."""
        size = self.info.width, self.info.height
        others: set[tuple[int, int]] = set()
        first_pts: float | None = None
        for count, frame in enumerate(self.decode(), 1):
            first_pts = frame.pts if first_pts is None else first_pts
            self.limits.check_length(count, frame.pts - first_pts)
            shown = frame.orientation.shown(frame.picture.width, frame.picture.height)
            if shown != size and shown not in others:
                self.limits.check_frame(*shown)
                others.add(shown)
                self.warn(
                    f"not every frame is {size[0]}x{size[1]} (one is {shown[0]}x{shown[1]}); "
                    "all are scaled to the first one's size"
                )
            yield frame

    def sampled(self, grids: Sequence[Grid], measured: Measured) -> Iterator[Sampled]:
        """What `sample` delivers; `measured` is filled in on the way."""
        from stpe.video.sampler import sampled

        return sampled(self, grids, measured)

    def warn(self, message: str) -> None:
        """Add a warning to `info`, once."""
        if message not in self.info.warnings:
            self.info.warnings.append(message)

    def removes(self, folder: TemporaryFolder) -> None:
        """Remove `folder` when the source is closed or dropped."""
        self._temporary.append(folder)

    def close(self) -> None:
        """Release files. Iterating afterwards is an error."""
        for folder in self._temporary:
            folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
