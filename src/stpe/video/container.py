"""Video files: any container and codec of the bundled FFmpeg that carries video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from stpe.errors import SourceError
from stpe.video.claims import Claims, Seen, missing
from stpe.video.demux import open_container, packets, use_one_thread, video_stream
from stpe.video.frame import SourceInfo
from stpe.video.limits import Limits
from stpe.video.picture import UPRIGHT, Orientation, orientation_of
from stpe.video.remarks import (
    DEFAULT_RATE,
    is_untimed,
    pixel_aspect,
    remarks,
    stream_rate,
)
from stpe.video.source import Decoded, Source, sha256_of
from stpe.video.timestamps import DecodeTimes, repaired

#: Frames kept alive behind the decoder, more than any reader holds. What a damaged frame lacks,
#: some decoders leave as it was in a buffer that is free: which are must not depend on readers.
HELD_FRAMES = 8


class ContainerSource(Source):
    """Frames of one video file, in presentation order, with the container's times."""

    def __init__(self, path: Path, uri: str, limits: Limits) -> None:
        """Open, check and decode the first frame. Raises SourceError or SourceLimitError."""
        super().__init__(limits)
        self._path = path.resolve()
        limits.check_bytes(self._path.stat().st_size)
        with open_container(self._path, limits) as container:
            stream = video_stream(container)
            limits.check_frame(stream.codec_context.width, stream.codec_context.height)
            self._rate = stream_rate(container, stream)
            self._step_s = float(1 / (self._rate or DEFAULT_RATE))
            # AVI holds no presentation times; what FFmpeg reports for some frames is a guess.
            self._guessed = container.format.name == "avi"
            self._untimed = is_untimed(container)
            self._claims = Claims.of(container, stream, self._path)
            seconds = _claimed_seconds(container, stream)
            limits.check_length(stream.frames, seconds or 0.0)
            seen = Seen(self._step_s)
            start, first = next(self._stamped(container, stream, [], seen), (None, None))
            if first is None:
                raise SourceError("no frame can be decoded; check the file or re-encode it")
            limits.check_frame(first.width, first.height)
            self._pixel_aspect = pixel_aspect(stream)
            width, height = self._orientation(first, stream).shown(first.width, first.height)
            limits.check_frame(width, height)
            self.info = SourceInfo(
                uri=uri,
                kind="file",
                sha256=sha256_of(self._path),
                width=width,
                height=height,
                fps=None if self._rate is None else float(self._rate),
                duration_s=seconds,
                frame_count=stream.frames or None,
                codec=stream.codec_context.codec.canonical_name,
                start_pts=start or 0.0,
                tags={**stream.metadata, **container.metadata},
            )
            for remark in remarks(container, stream, first, (width, height)):
                self.warn(remark)

    @property
    def media(self) -> Path:
        """The file itself."""
        return self._path

    def decode(self) -> Iterator[Decoded]:
        """Decode the whole file. Damage is skipped and named in `info.warnings`."""
        problems: list[str] = []
        seen = Seen(self._step_s)
        try:
            with open_container(self._path, self.limits) as container:
                stream = video_stream(container)
                stamped = self._stamped(container, stream, problems, seen)
                index, pts = -1, 0.0
                duration_s: float | None = None
                rotation, orientation = None, UPRIGHT
                for index, (pts, frame) in enumerate(repaired(stamped, self._step_s, problems)):
                    # The matrix belongs to the stream; reading it off every frame is slow.
                    if frame.rotation != rotation:
                        rotation, orientation = frame.rotation, self._orientation(frame, stream)
                    duration_s = self._duration_s(frame, pts, stream)
                    yield Decoded(index, pts, frame, orientation, duration_s=duration_s)
                seen.frames, seen.end_s = index + 1, pts + (duration_s or self._step_s)
                problems.extend(missing(self._claims, seen))
        finally:
            for problem in problems:
                self.warn(problem)

    def _orientation(self, frame: av.VideoFrame, stream: Any) -> Orientation:
        turned = orientation_of(frame, stream.codec_context.name)
        return replace(turned, pixel_aspect=self._pixel_aspect)

    def _duration_s(self, frame: av.VideoFrame, pts: float, stream: Any) -> float | None:
        """How long the container says a frame is shown. Matroska says it of the last one by the
        stream's end alone, which is believed where the file is whole."""
        own = float(frame.duration * stream.time_base) or None
        if self._untimed:
            return self._step_s
        end_s = self._claims.end_s
        if self._claims.whole and end_s is not None and self._claims.file_end_s is not None:
            return max(own or 0.0, end_s - pts) or None
        return own

    def _stamped(
        self, container: Any, stream: Any, problems: list[str], seen: Seen
    ) -> Iterator[tuple[float | None, av.VideoFrame]]:
        """Every frame that decodes, with its time; what does not is counted in `problems`."""
        context = stream.codec_context
        use_one_thread(context)
        context.options = {**context.options, "max_pixels": self.limits.decoder_pixels}
        times = DecodeTimes()
        kept: deque[av.VideoFrame] = deque(maxlen=HELD_FRAMES)
        damaged = concealed = interlaced = count = 0
        for packet in packets(container, stream, problems, seen):
            times.fed(None if packet is None else packet.dts)
            try:
                frames = stream.decode(packet)
            except FFmpegError:
                damaged += 1
                times.lost()
                continue
            for frame in frames:
                concealed += frame.is_corrupt
                interlaced += frame.interlaced_frame
                stamp = times.stamp(None if self._guessed else frame.pts)
                time_s = None if stamp is None else float(stamp * stream.time_base)
                if self._untimed:
                    time_s = count * self._step_s
                seen.frame(frame, time_s)
                kept.append(frame)
                count += 1
                yield time_s, frame
        if damaged:
            problems.append(f"damaged packets, skipped: {damaged}")
        if concealed:
            problems.append(f"frames that show damage: {concealed}")
        if interlaced:
            problems.append(
                f"interlaced frames, whose two fields are shown at once: {interlaced} of {count}"
            )


def _claimed_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else float(container.duration) / av.time_base
