"""What every source of frames offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av

from stpe.video.frame import SourceInfo
from stpe.video.picture import UPRIGHT, Orientation


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the decoder left it, not yet converted or turned.

    Attributes:
        index: zero-based, counting every frame the decoder yields.
        pts: presentation time in seconds, greater than that of the frame before.
        picture: the decoder's frame, usually YUV, at the stored size.
        orientation: how to show it.
        state: the state record that came with it, if any.
    """

    index: int
    pts: float
    picture: av.VideoFrame
    orientation: Orientation = UPRIGHT
    state: dict[str, Any] | None = None


class Source(ABC):
    """An opened source: facts, the original's file, and its frames from the start.

    A source may be iterated again; each iteration decodes anew and must end (or be closed) before
    the next begins. `info.warnings` grows while frames are read. Use it as a context manager:
    downloads and packed folders are temporary files that `close` removes.
    """

    info: SourceInfo

    @property
    @abstractmethod
    def media(self) -> Path:
        """A local file of the original, which `open_source` reads to the same frames."""

    @abstractmethod
    def __iter__(self) -> Iterator[Decoded]:
        """Decode from the start. Raises SourceLimitError past a limit."""

    @abstractmethod
    def close(self) -> None:
        """Release files. Iterating afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def warn(self, message: str) -> None:
        """Add a warning to `info` once."""
        if message not in self.info.warnings:
            self.info.warnings.append(message)
