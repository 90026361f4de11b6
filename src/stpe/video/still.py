"""One encoded picture to one decoder frame."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import av
from av.error import FFmpegError

from stpe.errors import SourceError
from stpe.video.essential import essential
from stpe.video.frame import ImageHW3
from stpe.video.limits import Limits
from stpe.video.picture import Orientation, Scaler
from stpe.video.whole import is_cut

#: First bytes of a picture file, and FFmpeg's decoder for it.
_SIGNATURES = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
    (b"qoif", "qoi"),
)
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".qoi")
)


def picture_codec(head: bytes) -> str | None:
    """FFmpeg's decoder for a file that begins with `head` (12 bytes do); None if no picture."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((codec for magic, codec in _SIGNATURES if head.startswith(magic)), None)


@dataclass(frozen=True, slots=True)
class Picture:
    """A still picture as its decoder left it.

    Attributes:
        frame: at the stored size.
        orientation: how to show it.
    """

    frame: av.VideoFrame
    orientation: Orientation

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as shown."""
        return self.orientation.upright(self.frame.width, self.frame.height)


def decode_picture(data: bytes, limits: Limits) -> Picture:
    """The picture in `data`, whole: one that is cut off or damaged is refused, not shown in part.

    Raises SourceError, or SourceLimitError before it is allocated.
    """
    codec = picture_codec(data[:12])
    if codec is None:
        raise SourceError("not a picture that can be read; give PNG, JPEG, WebP, BMP or TIFF")
    if codec == "png" and len(data) >= 24:
        # FFmpeg refuses a picture past `max_pixels` as it does a damaged one; most bombs are PNG.
        limits.check_frame(*struct.unpack(">II", data[16:24]))
    needed, orientation = essential(data, codec)
    if is_cut(needed, codec):
        raise SourceError("cut off; write it again")
    context = av.CodecContext.create(codec, "r")
    # Frame threads would hold pictures back; a single picture gains nothing from them.
    context.thread_count = 1
    context.options = {"max_pixels": limits.decoder_pixels}
    if codec == "mjpeg":  # the others do not conceal, and TIFF's is too strict
        context.options = {**context.options, "err_detect": "explode"}
    try:
        frames = context.decode(av.Packet(needed)) or context.decode(None)
    except (FFmpegError, ValueError):
        frames = []
    if not frames:
        raise SourceError(f"damaged, or more than {limits.max_pixels} pixels; write it again")
    return Picture(frames[0], orientation)


def upright_picture(data: bytes, limits: Limits) -> ImageHW3:
    """The picture in `data` as an upright RGB image. Raises SourceError, SourceLimitError."""
    picture = decode_picture(data, limits)
    try:
        return Scaler(*picture.size)(picture.frame, picture.orientation)
    except (FFmpegError, ValueError):
        raise SourceError("the picture's pixels cannot be converted; write it again") from None
