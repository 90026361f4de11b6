"""What of a picture file its decoder needs: the rest is dropped before it is decoded.

Notes and profiles (PNG's tEXt, zTXt, iTXt and iCCP, XMP, thumbnails) are of no use here, and a
kilobyte of them may unpack to a gigabyte. So may EXIF, whose entries may all point to one place: of
it nothing is left but the orientation. Sources: the PNG, JPEG (ITU T.81), WebP, TIFF 6.0 and EXIF
specifications.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from stpe.video.picture import UPRIGHT, Orientation

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: PNG's chunks that say how pixels are read, shown and animated. Others that begin with a small
#: letter are ancillary.
_PNG_KEPT = frozenset(
    b"tRNS gAMA cHRM sRGB cICP sBIT pHYs mDCV cLLI acTL fcTL fdAT".split(),
)
_WEBP_DROPPED = (b"ICCP", b"XMP ")
#: TIFF's tags that say how pixels are stored.
_TIFF_KEPT = frozenset(
    (*range(254, 260), 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 292, 293, 296, 317, 320)
) | frozenset((322, 323, 324, 325, 338, 339, 347, 529, 530, 531, 532))
_ORIENTATION_TAG = 0x0112
#: EXIF's orientation: quarter turns counter-clockwise, after left and right are swapped.
_EXIF = {
    1: UPRIGHT,
    2: Orientation(0, True),
    3: Orientation(2, False),
    4: Orientation(2, True),
    5: Orientation(1, True),
    6: Orientation(3, False),
    7: Orientation(3, True),
    8: Orientation(1, False),
}


def essential(data: bytes, codec: str) -> tuple[bytes, Orientation]:
    """A picture without what its decoder does not need, and how it is to be shown.

    Args:
        data: a picture file, or a video's packet of one (damaged ones are cut as far as they go).
        codec: FFmpeg's name of the decoder; what it is not known of is returned as it is.
    """
    if codec in ("png", "apng"):
        return _png(data)
    if codec == "mjpeg":
        return _jpeg(data)
    if codec == "webp":
        return _webp(data)
    if codec == "tiff":
        return _tiff(data)
    return data, UPRIGHT


def _png(data: bytes) -> tuple[bytes, Orientation]:
    start = len(PNG_SIGNATURE) if data.startswith(PNG_SIGNATURE) else 0
    kept, orientation = [data[:start]], UPRIGHT
    at = start
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if kind == b"eXIf":
            orientation = _of_exif(data[at + 8 : end - 4])
            kept.append(_png_chunk(b"eXIf", _exif_of(orientation)))
        elif not kind[0] & 0x20 or kind in _PNG_KEPT:
            kept.append(data[at:end])
        at = end
    return _joined(kept, data), orientation


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _jpeg(data: bytes) -> tuple[bytes, Orientation]:
    kept, orientation = [data[:2]], UPRIGHT
    at = 2
    for marker, start, end in _jpeg_segments(data):
        if marker == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = _of_exif(data[start + 10 : end])
            body = b"Exif\0\0" + _exif_of(orientation)
            kept.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
        elif marker not in (0xE1, 0xE2):
            kept.append(data[start:end])
        at = end
    kept.append(data[at:])
    return _joined(kept, data), orientation


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the segments before the picture itself."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        start = at
        while data[at + 1] == 0xFF and at + 5 <= len(data):
            at += 1
        marker = data[at + 1]
        if marker in (0xDA, 0xD9, 0xD8, 0x00) or 0xD0 <= marker <= 0xD7:
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, start, min(end, len(data))
        at = end


def _webp(data: bytes) -> tuple[bytes, Orientation]:
    kept, orientation = [data[8:12]], UPRIGHT
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        end = at + 8 + size + size % 2
        if kind == b"EXIF":
            orientation = _of_exif(data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"))
            body = _exif_of(orientation)
            kept.append(b"EXIF" + struct.pack("<I", len(body)) + body)
        elif kind not in _WEBP_DROPPED:
            kept.append(data[at:end])
        at = end
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body, orientation


def _tiff(data: bytes) -> tuple[bytes, Orientation]:
    """The first directory with its needless entries taken out, where it lies."""
    order = "<" if data[:2] == b"II" else ">"
    found = _directory(data, order)
    if found is None:
        return data, UPRIGHT
    at, count = found
    entries = [data[at + 12 * i : at + 12 * (i + 1)] for i in range(count)]
    tags = [struct.unpack_from(f"{order}H", entry)[0] for entry in entries]
    kept = [entry for entry, tag in zip(entries, tags, strict=True) if tag in _TIFF_KEPT]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept)
    room = 2 + 12 * count + 4
    return data[: at - 2] + directory.ljust(room, b"\0") + data[at - 2 + room :], _of_exif(data)


def _directory(data: bytes, order: str) -> tuple[int, int] | None:
    """(offset of the first entry, entries) of a TIFF's first directory, if it is whole."""
    if len(data) < 8:
        return None
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    if at + 2 > len(data):
        return None
    count = struct.unpack_from(f"{order}H", data, at)[0]
    return (at + 2, count) if at + 2 + 12 * count <= len(data) else None


def _of_exif(exif: bytes) -> Orientation:
    """The orientation that the first directory of an EXIF block (or a TIFF) asks for."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return UPRIGHT
    order = "<" if exif[:2] == b"II" else ">"
    at, count = _directory(exif, order) or (0, 0)
    for i in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 12 * i)
        if tag == _ORIENTATION_TAG and kind == 3:
            return _EXIF.get(value, UPRIGHT)
    return UPRIGHT


def _exif_of(orientation: Orientation) -> bytes:
    """An EXIF block that holds nothing but an orientation."""
    value = next(v for v, known in _EXIF.items() if known == orientation)
    entry = struct.pack("<HHIHH", _ORIENTATION_TAG, 3, 1, value, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def _joined(kept: list[bytes], data: bytes) -> bytes:
    """The pieces kept; the very bytes where nothing was dropped."""
    joined = b"".join(kept)
    return data if len(joined) == len(data) else joined
