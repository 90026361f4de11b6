"""The content of a log as UTF-8, whatever it was packed and written in."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma

from stpe.errors import SourceError

#: Larger logs are refused: they are read whole.
MOST_BYTES = 2 << 30

_UTF8 = b"\xef\xbb\xbf"
#: Byte order marks; UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def unpacked(data: bytes, name: str) -> tuple[bytes, str | None]:
    """Content of a gzip, bzip2 or xz file, and a sentence that says so; other content as it is.

    Raises:
        SourceError: it is damaged, or too large.
    """
    if data[:2] == b"\x1f\x8b":
        return _whole(gzip.GzipFile(fileobj=io.BytesIO(data)), name, "gzip")
    if data[:3] == b"BZh":
        return _whole(bz2.BZ2File(io.BytesIO(data)), name, "bzip2")
    if data[:6] == b"\xfd7zXZ\0":
        return _whole(lzma.LZMAFile(io.BytesIO(data)), name, "xz")
    if data[:4] == b"\x28\xb5\x2f\xfd":
        raise SourceError(f"{name} is packed with Zstandard; unpack it first: `unzstd {name}`")
    return data, None


def as_utf8(data: bytes, name: str) -> tuple[bytes, str | None]:
    """Text as UTF-8 without a mark, and a sentence where it was written otherwise.

    UTF-16 and UTF-32 are told by their mark, or by where ASCII leaves its zeros. What is not UTF-8
    is read as Windows-1252, of which Latin-1's letters are a part.

    Raises:
        SourceError: it is no text.
    """
    if data.startswith(_UTF8):
        return data[3:], None
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding, name)
    head = data[:1024]
    if b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        half = len(head) // 2
        if odd > 0.6 * half and even < 0.1 * half:
            return _decoded(data, "utf-16-le", name)
        if even > 0.6 * half and odd < 0.1 * half:
            return _decoded(data, "utf-16-be", name)
        raise SourceError(
            f"{name} is of no known format; give JSON, JSONL, CSV, Parquet or MCAP"
        )  # fmt: skip
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) - error.start < 4 and error.reason == "unexpected end of data":
            return data[: error.start], None  # cut off inside a letter, as by a crash
        return _decoded(data, "cp1252", name)
    return data, None


def _decoded(data: bytes, encoding: str, name: str) -> tuple[bytes, str]:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is neither UTF-8 nor whole {encoding} ({error.reason} at byte {error.start}); "
            "save it as UTF-8"
        ) from None
    word = {"cp1252": "Windows-1252 (Latin-1)"}.get(encoding, encoding.upper())
    return text.lstrip("\ufeff").encode(), f"it is not UTF-8 and was read as {word}"


def _whole(
    file: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, name: str, packed: str
) -> tuple[bytes, str]:
    try:
        content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise SourceError(f"{name} is a damaged {packed} file ({error}); copy it again") from None
    if len(content) > MOST_BYTES:
        raise SourceError(f"{name} is over {MOST_BYTES >> 30} GiB unpacked; give a shorter log")
    return content, f"it was packed with {packed}"
