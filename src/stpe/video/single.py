"""A file that is one picture, or a WebP animation, which FFmpeg cannot decode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image

from stpe.errors import SourceError
from stpe.video.essential import essential
from stpe.video.frame import SourceInfo
from stpe.video.limits import Limits
from stpe.video.source import Decoded, Source, sha256_of
from stpe.video.still import decode_picture, picture_codec

#: Seconds that a picture without a duration is said to stay, as FFmpeg does.
PICTURE_S = 1 / 25

#: A longer file of JPEGs or PNGs is a video.
_LARGEST = 1 << 28


def picture_kind(path: Path) -> Literal["picture", "webp animation"] | None:
    """What a file is, if it is a picture; None for videos, APNG and several pictures in a row."""
    with path.open("rb") as file:
        head = file.read(48)
        codec = picture_codec(head)
        if codec == "webp":
            animated = head[12:16] == b"VP8X" and head[20] & 2
            return "webp animation" if animated else "picture"
        if codec == "tiff":
            return "picture"
        if codec not in ("png", "mjpeg"):
            return None
        data = head + file.read(_LARGEST)
    named = codec == "mjpeg" and b"MPF\0" in data[: data.find(b"\xff\xda")]
    data = essential(data, codec)[0]
    if codec == "png":
        header, _, rest = data.partition(b"IDAT")
        return None if b"acTL" in header or b"IEND" in rest[:-8] else "picture"
    # The pictures of a Motion JPEG stream follow each other; those of a camera's file are named
    # in the first one's header.
    after = data.find(b"\xff\xd9", max(data.find(b"\xff\xda"), 0)) + 2
    several = after > 1 and data[after:].lstrip(b"\0").startswith(b"\xff\xd8\xff")
    return None if several and not named else "picture"


class PictureSource(Source):
    """One frame, at time zero."""

    def __init__(self, path: Path, uri: str, limits: Limits) -> None:
        """Decode it. Raises SourceError or SourceLimitError."""
        super().__init__(limits)
        self._path = path.resolve()
        limits.check_member(self._path.stat().st_size)
        data = self._path.read_bytes()
        picture = decode_picture(data, limits)
        width, height = picture.size
        limits.check_frame(width, height)
        self._decoded = Decoded(0, 0.0, picture.frame, picture.orientation)
        self.info = SourceInfo(
            uri=uri,
            kind="file",
            sha256=sha256_of(self._path),
            width=width,
            height=height,
            fps=1 / PICTURE_S,
            duration_s=None,
            frame_count=1,
            codec=picture_codec(data[:12]),
        )

    @property
    def media(self) -> Path:
        """The file itself."""
        return self._path

    def decode(self) -> Iterator[Decoded]:
        """The picture."""
        yield self._decoded


class WebpAnimation(Source):
    """Frames of an animated WebP, each with its time, without transparency."""

    def __init__(self, path: Path, uri: str, limits: Limits) -> None:
        """Read the header. Raises SourceError or SourceLimitError."""
        super().__init__(limits)
        self._path = path.resolve()
        limits.check_member(self._path.stat().st_size)
        with self._path.open("rb") as file:
            head = file.read(30)
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (24, 27))
        limits.check_frame(width, height)
        self.info = SourceInfo(
            uri=uri,
            kind="file",
            sha256=sha256_of(self._path),
            width=width,
            height=height,
            fps=None,
            duration_s=None,
            frame_count=None,
            codec="webp",
        )
        next(self.decode(), None)

    @property
    def media(self) -> Path:
        """The file itself."""
        return self._path

    def decode(self) -> Iterator[Decoded]:
        """Decode from the start; what is damaged later on is named in `info.warnings`."""
        start_ms = 0
        try:
            with Image.open(self._path) as image:
                for index in range(getattr(image, "n_frames", 1)):
                    image.seek(index)
                    image.load()
                    duration_ms = int(image.info.get("duration", 0)) or round(1000 * PICTURE_S)
                    pixels = np.asarray(image.convert("RGB"))
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
                    yield Decoded(index, start_ms / 1000, frame, duration_s=duration_ms / 1000)
                    start_ms += duration_ms
        except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if start_ms == 0:
                raise SourceError(f"no frame can be decoded ({error}); write it again") from None
            self.warn(f"the file breaks off: {error}")
