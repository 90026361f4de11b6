"""What a run tells whoever watches it. The silent watcher is the base class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stpe.pipeline.report import VideoReport
    from stpe.video.frame import SourceInfo


class Progress:
    """Told what happens; every method may be called from any thread. Does nothing by itself."""

    def fetching(self, what: str, done: int, total: int | None) -> None:
        """Weights are being downloaded: bytes so far, and in all if that is known."""

    def sources(self, count: int) -> None:
        """A run over so many sources begins."""

    def note(self, line: str) -> None:
        """Something worth a line: what was found in a folder, or passed over."""

    def source(self, info: SourceInfo, stages: Mapping[str, float]) -> None:
        """A source begins; `stages` in the plan's order, each with its expected share of work."""

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """A stage answered for `video_s` more seconds of video, perhaps from an artifact."""

    def measured(self, duration_s: float) -> None:
        """The source was decoded to its end: its true length is known."""

    def storing(self, table: str) -> None:
        """A table of the dataset is being written."""

    def done(self, report: VideoReport) -> None:
        """A source ended."""

    def close(self) -> None:
        """The run is over, however it ended."""
