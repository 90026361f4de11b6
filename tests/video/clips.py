"""Well-formed clips in every container and codec that the installed FFmpeg can write.

Each frame carries its number as eight black or white bars, so that a test can tell which frame it
got whatever the codec did to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

#: Numbers are shown times this, so that neighbours differ in several bars: lossy codecs may skip
#: a small difference. It is odd, so it can be undone modulo 256.
_SPREAD = 149


def numbered(i: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Frame `i` (0 to 255): eight upright bars, the top quarter red, the bottom quarter blue."""
    code = i * _SPREAD % 256
    bars = np.array([255 if code >> (7 - b) & 1 else 0 for b in range(8)], np.uint8)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = bars[np.arange(width) * 8 // width][None, :, None]
    image[: height // 4] = (200, 30, 30)
    image[-(height // 4) :] = (30, 30, 200)
    return image


def number(image: np.ndarray) -> int:
    """The number that an upright image of `numbered` shows, at any size."""
    height, width = image.shape[:2]
    row = image[height // 2].astype(int).mean(axis=1)
    bars = row[((np.arange(8) + 0.5) * width / 8).astype(int)] > 127
    return int(np.packbits(bars)[0]) * pow(_SPREAD, -1, 256) % 256


def write(
    path: Path,
    codec: str = "libx264",
    times_ms: Sequence[int] = tuple(range(0, 1000, 40)),
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    turned: int = 0,
    mirrored: bool = False,
    tick_ms: int = 1,
    **options: str,
) -> Path:
    """Encode numbered frames with the given presentation times, multiples of `tick_ms`.

    Players turn them by `turned` degrees counter-clockwise, then mirror them.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(tick_ms, 1000)
        stream.options = options
        if turned or mirrored:
            stream.set_display_rotation(turned, hflip=mirrored)
        for i, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(numbered(i, *size), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
