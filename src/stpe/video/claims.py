"""What a file's header says is in it, against what was there: whether pictures are missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

#: Seconds, and share of the length, by which streams may end before the header says so.
_LEAST_S, _SHARE = 0.5, 0.02
#: Pictures missing at the start are told from this many seconds.
_START_S = 0.1


@dataclass(slots=True)
class Claims:
    """What the header says, all in seconds on the video's clock.

    Attributes:
        frames: of the picture stream, those that an edit list hides among them; None if unknown.
        end_s: of the picture stream; None if unknown.
        file_end_s: of all streams together; None if unknown.
        whole: the file is as long as its header says, so that nothing was cut off.
    """

    frames: int | None
    end_s: float | None
    file_end_s: float | None
    whole: bool

    @classmethod
    def of(cls, container: Any, stream: Any, path: Path) -> Claims:
        """Read from an opened file."""
        name = container.format.name
        start = float((stream.start_time or 0) * stream.time_base)
        end = file_end = None
        if stream.duration is not None:
            end = start + float(stream.duration * stream.time_base)
        elif container.duration is not None:
            file_end = container.duration / av.time_base
            # Matroska and FLV count from zero, some of their writers from the first picture.
            file_end += start if file_end <= start else 0.0
            end = _tagged_seconds(stream.metadata.get("DURATION"))
            if end is None and len(container.streams) == 1:
                end = file_end
        # Others count empty slots (AVI) or keep an older count (Matroska).
        frames = None
        if "mp4" in name and stream.frames:
            frames = min(stream.frames, len(stream.index_entries) or stream.frames)
        return cls(frames, end, file_end, "matroska" in name and _matroska_is_whole(path))


@dataclass(slots=True)
class Seen:
    """What was there: filled while packets are read.

    Attributes:
        frames: that were decoded.
        hidden: packets that an edit list hides.
        first_s: earliest time of a shown packet before the first frame came.
        start_s: time of the first frame.
        keyless_s: time from the first frame to the first that depends on no other.
        end_s: end of the last frame.
        others_end_s: end of the last packet of any other stream.
        step_s: usual time between two frames.
    """

    step_s: float
    frames: int = 0
    hidden: int = 0
    first_s: float | None = None
    start_s: float | None = None
    keyless_s: float | None = None
    end_s: float = 0.0
    others_end_s: float = 0.0

    def packet(self, packet: Any) -> None:
        """A packet of the picture stream was read."""
        if packet.is_discard:
            self.hidden += 1
        elif self.start_s is None and packet.pts is not None:
            time_s = float(packet.pts * packet.time_base)
            self.first_s = time_s if self.first_s is None else min(self.first_s, time_s)

    def frame(self, frame: Any, time_s: float | None) -> None:
        """A frame was decoded."""
        if self.start_s is None:
            self.start_s = time_s
        if self.keyless_s is None and frame.key_frame:
            start = self.start_s
            self.keyless_s = 0.0 if time_s is None or start is None else time_s - start

    def other(self, packet: Any) -> None:
        """A packet of another stream was read."""
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.others_end_s = max(self.others_end_s, end)


def missing(claims: Claims, seen: Seen) -> list[str]:
    """A warning for each way in which pictures are missing."""
    said: list[str] = []
    if seen.first_s is not None and seen.start_s is not None:
        gap = seen.start_s - seen.first_s
        if gap > max(_START_S, 2.5 * seen.step_s):
            said.append(
                f"{gap:.1f} s at the start cannot be decoded: they lie before the first key frame"
            )
    if not seen.hidden and seen.keyless_s != 0:
        length = "all of it" if seen.keyless_s is None else f"{seen.keyless_s:.1f} s at the start"
        said.append(f"{length} has no key frame to build on and may show damage")
    if claims.frames is not None:
        shown = claims.frames - seen.hidden
        if seen.frames < shown and not said:
            said.append(f"the header claims {shown} frames; {seen.frames} are there")
        return said
    if claims.whole:
        return said
    end, there = claims.end_s, seen.end_s
    if end is None:
        end, there = claims.file_end_s, max(there, seen.others_end_s)
    start = seen.start_s or 0.0
    if end is not None and there < end - max(_LEAST_S, _SHARE * (end - start)):
        said.append(f"the header claims {end:.2f} s; the file breaks off at {there:.2f} s")
    return said


def _tagged_seconds(text: str | None) -> float | None:
    """Seconds of Matroska's `DURATION` tag, such as 00:00:03.500000000."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _matroska_is_whole(path: Path) -> bool:
    """Whether the file reaches to where its one segment is said to end."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or not head[at]:
        return False
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    unknown = size == (1 << 7 * length) - 1
    return not unknown and path.stat().st_size >= at + length + size
