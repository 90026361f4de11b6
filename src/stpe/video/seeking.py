"""Single frames of a long file, by seeking to the key frame before them.

A seek is trusted only where it can be proved: decoding began with a key frame at or before the
first wanted time, nothing was damaged, and every wanted time was met exactly. Whoever asks decodes
from the start otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from av.error import FFmpegError

from stpe.video.demux import open_container, use_one_thread, video_stream, without_notes
from stpe.video.frame import ImageHW3
from stpe.video.limits import Limits
from stpe.video.picture import Scaler, orientation_of
from stpe.video.remarks import is_untimed

#: How much earlier a seek aims where the last one landed behind the wanted frame.
_EARLIER_S = (0.0, 1.0, 10.0)
_SAME_S = 1e-6


class Seeker:
    """Reads frames of one video file by presentation time; keeps the file open. Not thread-safe.

    Args:
        path: a video file (not an archive of images).
        size: (width, height) of the images.
    """

    def __init__(self, path: Path, size: tuple[int, int], limits: Limits | None = None) -> None:
        """Raises SourceError if it is not a video."""
        self._container = open_container(path, limits or Limits())
        self._stream = video_stream(self._container)
        use_one_thread(self._stream.codec_context)
        self._scaler = Scaler(*size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames_at(self, times_s: Sequence[float]) -> list[ImageHW3] | None:
        """The frames with exactly these ascending times, or None where that cannot be proved."""
        if is_untimed(self._container) or self._container.format.name.endswith("_pipe"):
            return None
        for earlier in _EARLIER_S:
            try:
                found = self._decode(times_s, earlier)
            except FFmpegError:
                return None
            if found is not None:
                return found
        return None

    def _decode(self, times_s: Sequence[float], earlier_s: float) -> list[ImageHW3] | None:
        base = self._stream.time_base
        stamp = round((times_s[0] - earlier_s) / base)
        self._container.seek(stamp, stream=self._stream, backward=True, any_frame=False)
        codec = self._stream.codec_context.name
        images: list[ImageHW3] = []
        first = True
        for frame in self._frames():
            if frame.pts is None or frame.is_corrupt:
                return None
            time_s = float(frame.pts * base)
            if first and not (frame.key_frame and time_s <= times_s[0] + _SAME_S):
                return None
            first = False
            if time_s < times_s[len(images)] - _SAME_S:
                continue
            if time_s > times_s[len(images)] + _SAME_S:
                return None
            images.append(self._scaler(frame, orientation_of(frame, codec)))
            if len(images) == len(times_s):
                return images
        return None

    def _frames(self) -> Any:
        codec = self._stream.codec_context.name
        for packet in self._container.demux(self._stream):
            yield from self._stream.decode(without_notes(packet, codec))
