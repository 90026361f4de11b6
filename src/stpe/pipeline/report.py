"""How a source ended, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stpe.pipeline.change import Change


@dataclass(frozen=True)
class StageReport:
    """One stage on one source: seconds inside it, windows run, chunks made and reused."""

    name: str
    seconds: float
    windows: int
    made: int
    reused: int


@dataclass(frozen=True)
class VideoReport:
    """How one source ended.

    Attributes:
        uri: as it was given.
        video_id: its id in the dataset; None where it failed.
        status: done, unchanged (the same request was sealed before), or failed.
        error: why it failed, in one line.
        seconds: wall time.
        duration_s: length of the video.
        rows: rows of each table.
        stages: what each stage cost, in the plan's order.
        warnings: what was wrong with the source.
        change: what became of the signals that the dataset held of it before; None if it held none.
    """

    uri: str
    video_id: str | None
    status: Literal["done", "unchanged", "failed"]
    error: str | None = None
    seconds: float = 0.0
    duration_s: float | None = None
    rows: dict[str, int] = field(default_factory=dict)
    stages: tuple[StageReport, ...] = ()
    warnings: tuple[str, ...] = ()
    change: Change | None = None

    @property
    def failure(self) -> str:
        """The error with the source it is about."""
        error = self.error or ""
        return error if self.uri in error else f"{self.uri}: {error}"
