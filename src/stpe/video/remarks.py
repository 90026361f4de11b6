"""What a video stream says of itself: rate, shape of pixels, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from stpe.video.demux import picture_streams

DEFAULT_RATE = Fraction(25)
#: Streams without a container; the times that FFmpeg gives their frames are made up.
UNTIMED = frozenset(("h264", "hevc", "vvc", "obu", "av1", "mjpeg", "jpeg_pipe", "png_pipe"))
#: Their rate is in the stream as well, and so is how long each picture stays.
_TIMED_BY_STREAM = frozenset(("mpegvideo", "m4v"))
#: Frames a second that a camera may have; a higher rate is a clock's.
_FASTEST = 480
#: PQ and HLG, as numbered by ITU-T H.273.
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
#: Pixels this close to square are square: display sizes are rounded to whole pixels.
_SQUARE = 0.005
#: Pixels longer than this are a mistake in the header.
_LONGEST = 4


def is_untimed(container: Any) -> bool:
    """Whether the file holds pictures without times."""
    return container.format.name in UNTIMED


def stream_rate(container: Any, stream: Any) -> Fraction | None:
    """Frames a second as the container says, or the stream itself where there is no container."""
    if container.format.name in UNTIMED | _TIMED_BY_STREAM:
        return _own_rate(stream) or DEFAULT_RATE
    said: Fraction | None = stream.average_rate or stream.guessed_rate
    return said


def _own_rate(stream: Any) -> Fraction | None:
    """The rate in the stream's own header. An encoder without a steady rate writes its clock's."""
    rate: Fraction | None = stream.codec_context.framerate
    return rate if rate and rate <= _FASTEST else None


def pixel_aspect(stream: Any) -> Fraction:
    """Width of a pixel over its height; 1 where it is not said, nearly square, or absurd."""
    said: Fraction | None = stream.sample_aspect_ratio
    if not said or abs(said - 1) < _SQUARE or not Fraction(1, _LONGEST) <= said <= _LONGEST:
        return Fraction(1)
    return said


def remarks(
    container: Any, stream: Any, first: av.VideoFrame, shown: tuple[int, int]
) -> Iterator[str]:
    """Warnings about a stream, given its first frame and the (width, height) that is delivered."""
    streams = picture_streams(container)
    if len(streams) > 1:
        size = f"{stream.codec_context.width}x{stream.codec_context.height}"
        yield f"{len(streams)} video streams; stream {stream.index} ({size}) was read"
    if is_untimed(container) and _own_rate(stream) is None:
        yield (
            f"the stream carries neither times nor a rate; {float(DEFAULT_RATE):g} frames a second "
            "were assumed (a container, such as MP4, sets them)"
        )
    aspect = stream.sample_aspect_ratio
    if pixel_aspect(stream) != 1:
        yield (
            f"pixels are {aspect.numerator}:{aspect.denominator}, not square; pictures of "
            f"{first.width}x{first.height} are shown as {shown[0]}x{shown[1]} "
            "(intrinsics must be those of the shown size)"
        )
    elif aspect and abs(aspect - 1) >= _SQUARE:
        yield (
            f"the header claims pixels of {aspect.numerator}:{aspect.denominator}, which is not "
            "believed; pictures are shown as stored"
        )
    transfer = _HDR_TRANSFERS.get(first.color_trc)
    if transfer is not None:
        yield f"the video is HDR ({transfer}); its colours are not tone-mapped"
