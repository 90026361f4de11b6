"""Whether a picture file ends before its picture does, where the decoder does not say so."""

from __future__ import annotations

import struct

#: TIFF's tags of where the parts of a picture begin and how long they are: strips, tiles.
_PARTS = ((273, 279), (324, 325))


def is_cut(data: bytes, codec: str) -> bool:
    """True for a JPEG without its end marker and a TIFF whose strips or tiles pass its end.

    FFmpeg shows these in part; it refuses the others that are cut off.
    """
    if codec == "mjpeg":
        return data.rfind(b"\xff\xd9") < data.find(b"\xff\xda")
    if codec == "tiff":
        tags = _tiff_numbers(data)
        return any(
            start + size > len(data)
            for starts, sizes in _PARTS
            for start, size in zip(tags.get(starts, ()), tags.get(sizes, ()), strict=False)
        )
    return False


def _tiff_numbers(data: bytes) -> dict[int, tuple[int, ...]]:
    """Values of the tags of the first directory that place the picture's parts."""
    order = "<" if data[:2] == b"II" else ">"
    wanted = {tag for pair in _PARTS for tag in pair}
    found: dict[int, tuple[int, ...]] = {}
    try:
        at = struct.unpack_from(f"{order}I", data, 4)[0]
        for i in range(struct.unpack_from(f"{order}H", data, at)[0]):
            entry = at + 2 + 12 * i
            tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
            if tag in wanted and kind in (3, 4) and 2 * count <= len(data):
                size = count * (2 if kind == 3 else 4)
                inline = size <= 4
                start = entry + 8 if inline else struct.unpack_from(f"{order}I", data, entry + 8)[0]
                letter = "H" if kind == 3 else "I"
                found[tag] = struct.unpack_from(f"{order}{count}{letter}", data, start)
    except struct.error:
        return {}
    return found
