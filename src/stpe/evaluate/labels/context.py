"""What readers of truth know of the video, and what they say of their reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Context:
    """Given to every reader.

    Attributes:
        size: (width, height) of the video, for labels that give shares of it; None if not known.
        frame_count: of the video; None if not known.
        times: pts of every decoded frame, for labels in seconds; None if not known.
        said: what was taken for what, a sentence each; readers add to it.
    """

    size: tuple[int, int] | None = None
    frame_count: int | None = None
    times: Sequence[float] | None = None
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a sentence, once."""
        if text not in self.said:
            self.said.append(text)
