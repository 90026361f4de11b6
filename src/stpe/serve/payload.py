"""What clients send in base64: told by its content, checked against its name, bounded before it
is decoded."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from stpe.serve.failures import InvalidInputError, TooLargeError, UnsupportedMediaError
from stpe.video.frame import ImageHW3
from stpe.video.isolated.picture import isolated_picture
from stpe.video.limits import Limits

#: Content families by the names that clients give them.
IMAGE_TYPES = {
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
}
VIDEO_TYPES = {
    "video/mp4": "mp4",
    "video/quicktime": "mp4",
    "video/x-m4v": "mp4",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/x-msvideo": "avi",
    "video/avi": "avi",
    "video/mp2t": "mpegts",
    "video/mpeg": "mpeg",
    "video/x-flv": "flv",
    "video/ogg": "ogg",
}
_SUFFIXES = {"matroska": ".mkv", "mpegts": ".ts", "ogg": ".ogv"}
#: The decoder's buffers, its planes and RGB at their largest (four channels of 16 bits, twice), or
#: RGB and a model's input of floats.
_BYTES_A_PIXEL = 20
#: What a decoder takes for the smallest picture, and a file beside its pixels.
_ROOM = 24 << 20
#: JPEG's start-of-frame markers, which hold the size.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

#: The URL-safe alphabet's own digits in the standard one.
_STANDARD = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str, name: str) -> bytes:
    """The bytes behind base64, standard or URL-safe, padded or not, perhaps in lines (white space
    is skipped), perhaps a data URL. Raises InvalidInputError naming the field."""
    try:
        digits = text.strip().encode("ascii")
        if digits[:5].lower() == b"data:":
            head, _, digits = digits.partition(b",")
            if not head.lower().rstrip().endswith(b";base64"):
                raise InvalidInputError(f"{name} is a data URL without base64")
        digits = digits.translate(_STANDARD, b" \t\r\n\v\f").rstrip(b"=")
        data = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError:  # binascii.Error is one
        raise InvalidInputError(f"{name} is not base64") from None
    if not data:
        raise InvalidInputError(f"{name} is empty")
    return data


def family(data: bytes) -> str | None:
    """What `data` is by its first bytes; a value of IMAGE_TYPES or VIDEO_TYPES, or None.

    >>> family(b"RIFF____WEBPVP8 "), family(b"GIF89a")
    ('webp', None)
    """
    if data[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "avi"}.get(data[8:12])
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return "mp4"
    if data[:1] == b"G" and (len(data) < 189 or data[188:189] == b"G"):
        return "mpegts" if data[:3] != b"GIF" else None
    signatures = {
        b"\xff\xd8\xff": "jpeg",
        b"\x89PNG\r\n\x1a\n": "png",
        b"BM": "bmp",
        b"II*\x00": "tiff",
        b"MM\x00*": "tiff",
        b"\x1aE\xdf\xa3": "matroska",
        b"\x00\x00\x01\xba": "mpeg",
        b"\x00\x00\x01\xb3": "mpeg",
        b"FLV\x01": "flv",
        b"OggS": "ogg",
    }
    return next((kind for magic, kind in signatures.items() if data.startswith(magic)), None)


def check_type(data: bytes, mime: str, allowed: dict[str, str]) -> str:
    """The family of `data`, which `mime` must name and `allowed` hold.

    Raises UnsupportedMediaError naming the allowed types, or what the content is instead.
    """
    name = mime.partition(";")[0].strip().lower()
    if name not in allowed:
        raise UnsupportedMediaError(
            f"mimeType {name[:60]!r} is not read by this task; give one of {', '.join(allowed)}"
        )
    found = family(data)
    if found != allowed[name]:
        kinds = {**IMAGE_TYPES, **VIDEO_TYPES}
        what = next((m for m, kind in kinds.items() if kind == found), "of no known type")
        raise UnsupportedMediaError(
            f"the payload is not {name}: its content is {what}; "
            f"give one of {', '.join(allowed)} and name it truly"
        )
    return found


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a picture's header claims, read without decoding; None if not found."""
    try:
        match family(data):
            case "png":
                return struct.unpack(">II", data[16:24])
            case "bmp":
                width, height = struct.unpack("<ii", data[18:26])
                return abs(width), abs(height)
            case "jpeg":
                return _jpeg_size(data)
            case "webp":
                return _webp_size(data)
            case "tiff":
                return _tiff_size(data)
    except (struct.error, IndexError):
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
            return width, height
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Of the first directory; the decoder looks no further."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    found: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257):
            (found[tag],) = struct.unpack_from(
                f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8
            )
    return (found[256], found[257]) if len(found) == 2 else None


def estimated_bytes(data: bytes, limits: Limits) -> int:
    """Memory that decoding and looking at a picture takes. Raises TooLargeError past the pixel
    limit, before anything is decoded."""
    size = picture_size(data)
    if size is None:  # the decoder refuses it past the limit
        return limits.max_pixels * _BYTES_A_PIXEL
    if size[0] * size[1] > limits.max_pixels:
        raise TooLargeError(
            f"the image claims {size[0]}x{size[1]} pixels and {limits.max_pixels} are allowed"
        )
    return size[0] * size[1] * _BYTES_A_PIXEL


def decode_image(data: bytes, limits: Limits) -> ImageHW3:
    """The picture as an upright RGB image, decoded in a process of its own that takes no more
    memory than `estimated_bytes` says. Raises SourceError, SourceLimitError."""
    return isolated_picture(data, limits, _ROOM + estimated_bytes(data, limits))


def save(data: bytes, kind: str, folder: Path) -> Path:
    """A file in `folder` that holds the payload."""
    path = folder / f"payload{_SUFFIXES.get(kind, f'.{kind}')}"
    path.write_bytes(data)
    return path
