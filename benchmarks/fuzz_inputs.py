"""Small pictures and videos of every kind that the server reads, and seeded ways to damage them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import av
import cv2
import numpy as np

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_LARGE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
#: Bytes at the start that stay, so that the content is still taken for what it is.
_MAGIC = 12


def _image(width: int = 64, height: int = 48, channels: int = 3, dtype: type = np.uint8) -> object:
    noise = np.random.default_rng(width * height).integers(0, 256, (height, width, channels))
    x = np.arange(width)[None, :, None] * 3 + np.arange(height)[:, None, None] * 2
    mixed = (x + noise // 8) % 256
    return (mixed * (257 if dtype is np.uint16 else 1)).astype(dtype)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pictures() -> list[tuple[str, bytes]]:
    """(MIME type, file) of each seed."""

    def made(suffix: str, image: object, *options: int) -> bytes:
        return cv2.imencode(suffix, image, options)[1].tobytes()

    colour, deep, alpha = _image(), _image(dtype=np.uint16), _image(channels=4)
    grey = _image(channels=1)
    plain = made(".png", colour)
    text = zlib.compress(b"words " * 200)
    exif = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    ancillary = b"".join(
        (
            _chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(range(256)) * 4)),
            _chunk(b"gAMA", struct.pack(">I", 45455)),
            _chunk(b"cHRM", struct.pack(">8I", *[31270] * 8)),
            _chunk(b"eXIf", exif),
            _chunk(b"zTXt", b"a\0\0" + text),
            _chunk(b"iTXt", b"a\0\1\0\0\0" + text),
            _chunk(b"tEXt", b"a\0b"),
            _chunk(b"acTL", struct.pack(">II", 2, 0)),
            _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 64, 48, 0, 0, 1, 25, 0, 0)),
        )
    )
    rows = b"".join(b"\0" + bytes(i % 4 for i in range(16)) for _ in range(16))
    head = struct.pack(">IIBBBBB", 16, 16, 8, 3, 0, 0, 0)
    palette = (
        plain[:8]
        + _chunk(b"IHDR", head)
        + _chunk(b"PLTE", bytes(range(12)))
        + _chunk(b"tRNS", bytes(4))
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )
    jpeg = made(".jpg", colour)
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(exif)) + b"Exif\0\0" + exif
    progressive = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    full = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    found = [
        ("image/jpeg", jpeg),
        ("image/jpeg", turned + jpeg[2:]),
        ("image/jpeg", made(".jpg", colour, *progressive, *full)),
        ("image/jpeg", made(".jpg", grey, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
        ("image/png", plain),
        ("image/png", plain[:33] + ancillary + plain[33:]),
        ("image/png", made(".png", deep)),
        ("image/png", made(".png", alpha)),
        ("image/png", made(".png", grey)),
        ("image/png", made(".png", ((grey > 127) * np.uint8(255)), cv2.IMWRITE_PNG_BILEVEL, 1)),
        ("image/png", palette),
        ("image/webp", made(".webp", colour, cv2.IMWRITE_WEBP_QUALITY, 60)),
        ("image/webp", made(".webp", colour, cv2.IMWRITE_WEBP_QUALITY, 101)),
        ("image/webp", made(".webp", alpha, cv2.IMWRITE_WEBP_QUALITY, 60)),
        ("image/bmp", made(".bmp", colour)),
        ("image/bmp", made(".bmp", grey)),
        ("image/bmp", made(".bmp", alpha)),
    ]
    for compression in (1, 5, 8, 32773):
        options = (cv2.IMWRITE_TIFF_COMPRESSION, compression)
        found.append(("image/tiff", made(".tiff", colour, *options)))
        found.append(("image/tiff", made(".tiff", deep, *options)))
    return found


#: Container, codec, pixel format, MIME type.
_VIDEOS = (
    ("mp4", "libx264", "yuv420p", "video/mp4"),
    ("mov", "mjpeg", "yuvj420p", "video/quicktime"),
    ("mp4", "mpeg4", "yuv420p", "video/mp4"),
    ("webm", "libvpx", "yuv420p", "video/webm"),
    ("webm", "libvpx-vp9", "yuv420p", "video/webm"),
    ("matroska", "libx264", "yuv420p", "video/x-matroska"),
    ("matroska", "ffv1", "yuv444p", "video/x-matroska"),
    ("avi", "mjpeg", "yuvj420p", "video/avi"),
    ("mpegts", "libx264", "yuv420p", "video/mp2t"),
    ("mpeg", "mpeg1video", "yuv420p", "video/mpeg"),
    ("flv", "libx264", "yuv420p", "video/x-flv"),
)


def videos() -> list[tuple[str, bytes]]:
    """(MIME type, file) of each seed: twelve frames of 64 x 48."""
    return [(mime, _video(kind, codec, pixels)) for kind, codec, pixels, mime in _VIDEOS]


def _video(kind: str, codec: str, pixels: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.thread_count = 1
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(np.roll(_image(), 3 * i, axis=1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def mutated(seeds: list[tuple[str, bytes]], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(MIME type, damaged file), `count` times; the same for the same arguments."""
    for number in range(count):
        chance = random.Random(f"{seed}-{number}")
        mime, whole = chance.choice(seeds)
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
            data = chance.choice(_WAYS)(chance, data, seeds)
        if mime == "image/png" and chance.random() < 0.7:
            data = _checked(data)
        yield mime, whole[:_MAGIC] + bytes(data[_MAGIC:])


def _at(chance: random.Random, data: bytearray) -> int:
    """A place in it, rather in the first part, where headers are."""
    most = len(data) if chance.random() < 0.5 else min(len(data), 400)
    return chance.randrange(min(_MAGIC, len(data)), max(_MAGIC, most) + 1)


def _flip(chance: random.Random, data: bytearray, _: object) -> bytearray:
    at = _at(chance, data)
    if at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    return data


def _byte(chance: random.Random, data: bytearray, _: object) -> bytearray:
    at = _at(chance, data)
    if at < len(data):
        data[at] = chance.choice((*_INTERESTING, chance.randrange(256)))
    return data


def _number(chance: random.Random, data: bytearray, _: object) -> bytearray:
    at, order = _at(chance, data), chance.choice((">I", "<I"))
    if at + 4 <= len(data):
        near = struct.unpack_from(order, data, at)[0] + chance.randint(-4, 4)
        value = chance.choice((*_LARGE, near % (1 << 32)))
        struct.pack_into(order, data, at, value)
    return data


def _cut(chance: random.Random, data: bytearray, _: object) -> bytearray:
    return data[: _at(chance, data)] if chance.random() < 0.3 else data


def _drop(chance: random.Random, data: bytearray, _: object) -> bytearray:
    at = _at(chance, data)
    del data[at : at + chance.choice((1, 2, 4, 16, 100))]
    return data


def _again(chance: random.Random, data: bytearray, _: object) -> bytearray:
    start, size, at = _at(chance, data), chance.choice((1, 4, 16, 64, 500)), _at(chance, data)
    data[at:at] = data[start : start + size]
    return data


def _noise(chance: random.Random, data: bytearray, _: object) -> bytearray:
    at = _at(chance, data)
    size = min(chance.choice((2, 8, 64)), len(data) - at)
    data[at : at + size] = chance.randbytes(max(0, size))
    return data


def _splice(chance: random.Random, data: bytearray, seeds: list[tuple[str, bytes]]) -> bytearray:
    other = chance.choice(seeds)[1]
    start, at = chance.randrange(len(other)), _at(chance, data)
    data[at:at] = other[start : start + chance.choice((8, 64, 1000))]
    return data


_WAYS = (_flip, _flip, _byte, _byte, _number, _number, _cut, _drop, _again, _noise, _splice)


def _checked(data: bytearray) -> bytearray:
    """The PNG with checksums that are right, so that the damage gets past them."""
    at = 8
    while at + 12 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        end = at + 8 + size
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data
