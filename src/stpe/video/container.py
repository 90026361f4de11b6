"""Video files: any container and codec of the bundled FFmpeg that carries video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from stpe.errors import SourceError
from stpe.video.demux import open_container, packets, video_stream
from stpe.video.frame import SourceInfo
from stpe.video.limits import Limits
from stpe.video.picture import UPRIGHT, orientation_of
from stpe.video.source import Decoded, Source, sha256_of
from stpe.video.timestamps import DecodeTimes, repaired

_DEFAULT_RATE = Fraction(25)
#: PQ and HLG, as numbered by ITU-T H.273.
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


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
            self._rate: Fraction | None = stream.average_rate or stream.guessed_rate
            # Others count empty slots (AVI) or keep an older count (Matroska).
            self._counted = "mp4" in container.format.name
            # AVI holds no presentation times; what FFmpeg reports for some frames is a guess.
            self._guessed = container.format.name == "avi"
            seconds = _claimed_seconds(container, stream)
            limits.check_length(stream.frames, seconds or 0.0)
            start, first = next(self._stamped(container, stream, []), (None, None))
            if first is None:
                raise SourceError("no frame can be decoded; check the file or re-encode it")
            limits.check_frame(first.width, first.height)
            upright = orientation_of(first, stream.codec_context.name).upright
            width, height = upright(first.width, first.height)
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
            )
            if first.color_trc in _HDR_TRANSFERS:
                name = _HDR_TRANSFERS[first.color_trc]
                self.warn(f"the video is HDR ({name}); its colours are not tone-mapped")

    @property
    def media(self) -> Path:
        """The file itself."""
        return self._path

    def decode(self) -> Iterator[Decoded]:
        """Decode the whole file. Damage is skipped and named in `info.warnings`."""
        step_s = float(1 / (self._rate or _DEFAULT_RATE))
        problems: list[str] = []
        try:
            with open_container(self._path, self.limits) as container:
                stream = video_stream(container)
                stamped = self._stamped(container, stream, problems)
                index, pts = -1, 0.0
                rotation, orientation = None, UPRIGHT
                for index, (pts, frame) in enumerate(repaired(stamped, step_s, problems)):
                    # The matrix belongs to the stream; reading it off every frame is slow.
                    if frame.rotation != rotation:
                        rotation = frame.rotation
                        orientation = orientation_of(frame, stream.codec_context.name)
                    yield Decoded(index, pts, frame, orientation)
                self._compare(index + 1, pts + step_s, problems)
        finally:
            for problem in problems:
                self.warn(problem)

    def _compare(self, frames: int, end_pts: float, problems: list[str]) -> None:
        """Say so where the header claims more than was there: the file may be cut."""
        claimed, seconds = self.info.frame_count, self.info.duration_s
        if self._counted and claimed is not None and frames < claimed:
            problems.append(f"the header claims {claimed} frames; {frames} are there")
        elif seconds is not None and end_pts < seconds - max(0.5, 0.02 * seconds):
            problems.append(f"the header claims {seconds:.2f} s; frames end at {end_pts:.2f} s")

    def _stamped(
        self, container: Any, stream: Any, problems: list[str]
    ) -> Iterator[tuple[float | None, av.VideoFrame]]:
        """Every frame that decodes, with its time; what does not is counted in `problems`."""
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.options = {**context.options, "max_pixels": self.limits.decoder_pixels}
        times = DecodeTimes()
        damaged = 0
        concealed = 0
        for packet in packets(container, stream, problems):
            times.fed(None if packet is None else packet.dts)
            try:
                frames = stream.decode(packet)
            except FFmpegError:
                damaged += 1
                times.lost()
                continue
            for frame in frames:
                concealed += frame.is_corrupt
                stamp = times.stamp(None if self._guessed else frame.pts)
                yield None if stamp is None else float(stamp * stream.time_base), frame
        if damaged:
            problems.append(f"damaged packets, skipped: {damaged}")
        if concealed:
            problems.append(f"frames that show damage: {concealed}")


def _claimed_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else float(container.duration) / av.time_base
