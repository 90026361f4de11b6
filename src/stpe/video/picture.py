"""From a decoder's frame to an upright RGB image of the wanted size, in one conversion."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3

#: Of swscale's filters, area averaging is the cheapest but one and the closest to true averaging.
_FILTER = Interpolation.AREA
#: swscale's packed RGB is two grey levels too dark, or three times as slow; its planar RGB is
#: neither. Planes come in the order green, blue, red.
_PLANAR = "gbrp"
#: Of these, at equal size, swscale converts eight columns at a time and leaves the rest unwritten.
_BY_EIGHT = ("yuv420p", "yuvj420p", "yuva420p", "yuv422p", "yuvj422p", "yuva422p")
_FULL_CHROMA = "yuv444p"

#: Decoders whose frames may carry an ICC profile.
_PICTURE_CODECS = frozenset(("png", "apng", "mjpeg", "webp", "tiff", "bmp", "jpegxl", "jpeg2000"))

#: (a, b, c, d) of the display matrix: x' = a x + c y, y' = b x + d y, to (quarter turns
#: counter-clockwise after the mirror, mirrored left-right first).
_ORIENTATIONS = {
    (1, 0, 0, 1): (0, False),
    (0, -1, 1, 0): (1, False),
    (-1, 0, 0, -1): (2, False),
    (0, 1, -1, 0): (3, False),
    (-1, 0, 0, 1): (0, True),
    (0, 1, 1, 0): (1, True),
    (1, 0, 0, -1): (2, True),
    (0, -1, -1, 0): (3, True),
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture is to be shown: mirrored left-right, then turned.

    Attributes:
        turns: quarter turns counter-clockwise.
        mirrored: whether left and right are swapped first.
        pixel_aspect: width of a stored pixel over its height.
    """

    turns: int = 0
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) with square pixels, upright, of a picture stored as width x height.

        The side that is too short is stretched, so that nothing is lost.
        """
        if self.pixel_aspect > 1:
            width = round(width * self.pixel_aspect)
        else:
            height = round(height / self.pixel_aspect)
        return self.upright(width, height)

    def upright(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) as shown, of a picture stored as width x height, or back."""
        return (height, width) if self.turns % 2 else (width, height)


#: Shown as stored.
UPRIGHT = Orientation()


def picture_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation of a still picture, to the nearest quarter turn.

    Side data is left alone: it may carry a name (that of an ICC profile), which PyAV frees when it
    lists it, and the process dies when the frame frees it again.
    """
    return Orientation(round(frame.rotation / 90) % 4)


def orientation_of(frame: av.VideoFrame, codec: str) -> Orientation:
    """The orientation that a video frame's display matrix asks for, to the nearest quarter turn.

    Args:
        frame: as the decoder left it.
        codec: FFmpeg's name of that decoder.
    """
    if codec in _PICTURE_CODECS:
        return picture_orientation(frame)
    try:
        matrix: Any = frame.side_data[Type.DISPLAYMATRIX]
    except KeyError:
        return UPRIGHT
    except ValueError:
        # PyAV lists no side data at all where it meets a kind that it has no name for.
        return picture_orientation(frame)
    a, b, _, c, d = struct.unpack("<5i", bytes(matrix)[:20])
    largest = max(abs(v) for v in (a, b, c, d)) or 1
    unit = tuple(round(v / largest) for v in (a, b, c, d))
    return Orientation(*_ORIENTATIONS.get(unit, (0, False)))


class Scaler:
    """Converts decoder frames to RGB of one size. Not safe to share between threads."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._reformatter = VideoReformatter()
        self._first = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, orientation: Orientation) -> ImageHW3:
        """height x width x 3 uint8 RGB, upright, contiguous.

        Colours follow the frame's colour tags; an untagged frame is read as BT.601, as FFmpeg does.
        """
        width, height = orientation.upright(self.width, self.height)
        unscaled = (frame.width, frame.height) == (width, height)
        if unscaled and width % 8 and frame.format.name in _BY_EIGHT:
            frame = self._first.reformat(
                frame, width, height, _FULL_CHROMA, interpolation=_FILTER, threads=1
            )
        planar = self._reformatter.reformat(
            frame, width, height, _PLANAR, interpolation=_FILTER, threads=1
        )
        green, blue, red = (
            np.frombuffer(p, np.uint8).reshape(height, p.line_size)[:, :width]  # type: ignore[call-overload]
            for p in planar.planes
        )
        image: NDArray[Any] = cv2.merge([red, green, blue])
        if orientation.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, orientation.turns))
