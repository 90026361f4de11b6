"""A constant-rate H.264 file from frames as they come."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av

from stpe.video.frame import ImageHW3


class Recorder:
    """Writes frame i at exactly i / fps. Use as a context manager.

    Args:
        path: the `.mp4` to write.
        size: (width, height), both even.
        fps: whole frames a second.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        # The macroblock tree gave other bytes now and then for the same pictures.
        options = {"crf": "18", "preset": "veryfast", "x264-params": "mbtree=0"}
        self._stream.options = options
        # Threaded x264 divides frames by thread count; one thread gives the same bytes anywhere.
        self._stream.codec_context.thread_count = 1
        self._time_base = Fraction(1, fps)
        self._count = 0

    def write(self, image_HW3: ImageHW3) -> None:
        """Append an RGB frame."""
        frame = av.VideoFrame.from_ndarray(image_HW3, format="rgb24")
        frame.pts, frame.time_base = self._count, self._time_base
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()
