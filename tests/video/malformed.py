"""Sources that are broken, hostile, or merely odd, each with what must come of it.

`malformed(folder)` writes them into a folder, serves some over HTTP on this machine, and yields a
`Case` each. Nothing here needs the package under test, so that any test can run the same cases.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import threading
import wave
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import av
import numpy as np

WIDTH, HEIGHT, FRAMES, FPS = 96, 64, 24, 10


@dataclass(frozen=True)
class Case:
    """One source.

    `expect`: "error" (no frame, one-line message), "warning" (frames, and a warning that says what
    was wrong), or "frames" (frames; a warning may or may not be there).
    """

    name: str
    source: str
    expect: Literal["error", "warning", "frames"]


def picture(i: int) -> np.ndarray:
    """A textured picture that differs from frame to frame."""
    x = np.arange(WIDTH)[None, :, None] * 2
    y = np.arange(HEIGHT)[:, None, None] * 3
    return ((x + y + i * 8 + np.array([0, 40, 80])) % 256).astype(np.uint8)


def video(
    path: Path,
    codec: str = "libx264",
    frames: int = FRAMES,
    gop: int = 8,
    **options: str,
) -> Path:
    """A small video without B-frames; `options` are the container's."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"g": str(gop), "bf": "0", "threads": "1"}
        container.start_encoding()
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i), "rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def audio(path: Path, codec: str) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000)
        stream.layout = "mono"
        for i in range(40):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 48000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def png(width: int = WIDTH, height: int = HEIGHT, rows: bytes | None = None) -> bytes:
    """A PNG whose header may promise more than its body holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    if rows is None:
        rows = (b"\0" + b"\x40\x80\xc0" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _files(folder: Path) -> Iterator[Case]:
    case = partial(_case, folder)
    mp4 = video(folder / "good.mp4").read_bytes()
    fast = video(folder / "good_fast.mp4", movflags="+faststart").read_bytes()
    mkv = video(folder / "good.mkv").read_bytes()
    webm = video(folder / "good.webm", "libvpx-vp9").read_bytes()
    avi = video(folder / "good.avi", "mjpeg").read_bytes()
    ts = video(folder / "good.ts").read_bytes()
    flv = video(folder / "good.flv").read_bytes()
    noise = random.Random(0).randbytes(20_000)

    yield case("empty.mp4", b"", "error")
    yield case("empty.zip", b"", "error")
    yield case("one_byte.mkv", b"\x1a", "error")
    yield case("text.mp4", b"this is not a video\n" * 50, "error")
    yield case("html.webm", b"<!doctype html><title>Not found</title>", "error")
    yield case("noise.mkv", noise, "error")
    yield case("zeros.mp4", bytes(20_000), "error")
    yield case(
        "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "error"
    )
    yield case("script.mp4", b"ffconcat version 1.0\nfile good.mp4\n", "error")
    yield case("video_named.txt", mp4, "frames")
    yield case("picture_named.mp4", png(), "frames")
    yield case("avi_named.mp4", avi, "frames")
    for percent in (1, 25, 60, 90):
        yield case(f"cut_{percent}.mp4", _cut(mp4, percent), "error")
    yield case("fast_cut_5.mp4", _cut(fast, 5), "error")
    for percent in (55, 75, 95):
        yield case(f"fast_cut_{percent}.mp4", _cut(fast, percent), "warning")
    yield case("cut_2.mkv", _cut(mkv, 2), "error")
    for percent in (50, 70, 90):
        yield case(f"cut_{percent}.mkv", _cut(mkv, percent), "warning")
    yield case("cut_2.webm", _cut(webm, 2), "error")
    yield case("cut_60.webm", _cut(webm, 60), "warning")
    yield case("cut_1.avi", _cut(avi, 1), "error")
    yield case("cut_60.avi", _cut(avi, 60), "warning")
    yield case("cut_1.ts", ts[:180], "error")
    yield case("cut_60.ts", _cut(ts, 60), "frames")
    yield case("cut_1.flv", flv[:12], "error")
    yield case("cut_60.flv", _cut(flv, 60), "warning")
    yield case("head_gone.mkv", noise[:300] + mkv[300:], "error")
    yield case("head_gone.ts", noise[:1000] + ts[1000:], "frames")
    yield case("noise_inside.mp4", _noise_inside(fast), "warning")
    yield case("noise_inside.mkv", _noise_inside(mkv), "warning")
    yield case("noise_inside.avi", _noise_inside(avi), "frames")
    yield case("no_picture_data.mp4", _without_data(fast), "error")
    yield case("samples_uncounted.mp4", _samples_uncounted(mp4), "error")
    yield case("gigantic.avi", _gigantic_jpeg(avi), "error")
    yield case("gigantic.png", png(50_000, 50_000, b""), "error")
    yield case("gigantic.y4m", b"YUV4MPEG2 W90000 H90000 F25:1 C420\nFRAME\n" + noise, "error")
    yield Case("one_frame", str(video(folder / "one_frame.mp4", frames=1)), "frames")
    yield Case("no_frame", str(video(folder / "no_frame.mkv", frames=0)), "error")
    one_cluster = video(folder / "one_cluster.mkv", gop=100).read_bytes()
    yield case("zero_duration.mkv", _matroska_times(one_cluster, [0] * FRAMES), "warning")
    back = [100 * i for i in range(FRAMES)]
    back[10], back[11] = 300, 200
    yield case("times_go_back.mkv", _matroska_times(one_cluster, back), "warning")
    yield Case("no_times", str(video(folder / "no_times.h264")), "frames")
    yield Case("audio_only.m4a", str(audio(folder / "audio.m4a", "aac")), "error")
    yield Case("audio_only.mkv", str(audio(folder / "audio.mkv", "aac")), "error")
    with wave.open(str(folder / "audio.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    yield Case("audio_only.wav", str(folder / "audio.wav"), "error")
    yield Case("missing", str(folder / "nowhere" / "clip.mp4"), "error")
    (folder / "dangling.mp4").symlink_to(folder / "gone.mp4")
    yield Case("dangling_link", str(folder / "dangling.mp4"), "error")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    yield Case("link_to_itself", str(folder / "loop.mp4"), "error")
    os.mkfifo(folder / "pipe.mp4")
    yield Case("pipe_nobody_writes", str(folder / "pipe.mp4"), "error")
    yield Case("device", "/dev/zero", "error")
    yield Case("name_too_long", str(folder / ("x" * 300)), "error")
    yield Case("nul_in_name", str(folder / "a\0b.mp4"), "error")


def _folders(folder: Path) -> Iterator[Case]:
    def images(
        name: str, files: dict[str, bytes], expect: Literal["error", "warning", "frames"]
    ) -> Case:
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).parent.mkdir(exist_ok=True)
            (folder / name / file).write_bytes(content)
        return Case(name, str(folder / name), expect)

    good = {f"f{i}.png": png() for i in range(4)}
    yield images("folder.mp4", {}, "error")
    yield images("folder_of_texts", {"a.txt": b"1\n", "b.md": b"# b"}, "error")
    yield images("folder_of_sequences", {f"{s}/{n}": png() for s in "ab" for n in good}, "error")
    yield images("folder_all_broken", {"a.png": b"no", "b.jpg": b"\xff\xd8\xff\xe0"}, "error")
    timed = {**good, "times.txt": b"5\n6\n7\n8\n"}
    yield images("folder_one_broken", {**timed, "f2.png": png()[:60]}, "warning")
    yield images("folder_gigantic", {**good, "f5.png": png(50_000, 50_000, b"")}, "error")
    yield images("folder_few_times", {**good, "timestamps.txt": b"0\n0.1\n"}, "error")
    yield images("folder_bad_times", {**good, "timestamps.txt": b"0\nsoon\n1\n2\n"}, "error")
    yield images("folder_times_back", {**good, "times.txt": b"5\n6\n5.5\n7\n"}, "warning")
    yield images("folder_bad_json", {**good, "f1.json": b'{"timestamp": 1'}, "error")
    odd = images("folder_odd_entries", timed, "frames")
    (folder / odd.name / "f9.png").symlink_to("gone.png")
    (folder / odd.name / "f8.png").mkdir()
    os.mkfifo(folder / odd.name / "f7.png")
    yield odd


def _archives(folder: Path) -> Iterator[Case]:
    def packed(
        name: str, files: dict[str, bytes], expect: Literal["error", "warning", "frames"]
    ) -> Case:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in files.items():
                archive.writestr(zipfile.ZipInfo(file), content, zipfile.ZIP_DEFLATED)
        return Case(name, str(folder / name), expect)

    good = {f"f{i}.png": png() for i in range(4)}
    yield packed("no_images.zip", {"a.txt": b"hello"}, "error")
    yield packed("nothing.zip", {}, "error")
    yield packed("slip.zip", {**good, "../../evil.png": png()}, "error")
    yield packed("slip_absolute.zip", {**good, "/tmp/evil.png": png()}, "error")
    yield packed("slip_backslash.zip", {**good, "..\\evil.png": png()}, "error")
    yield packed("bomb.zip", {**good, "big.bmp": b"BM" + bytes(30_000_000)}, "error")
    yield packed("bomb_record.zip", {**good, "f1.json": b"[" * 2_000_000}, "error")
    yield packed("gigantic.zip", {"f1.png": png(50_000, 50_000, b"")}, "error")
    yield packed("bad_json.zip", {**good, "f1.json": b"{timestamp: 1}"}, "error")
    yield packed("deep_json.zip", {**good, "f1.json": b"[" * 9000}, "error")
    yield packed(
        "few_records.zip", {**good, "log.json": json.dumps([{"a": 1}] * 3).encode()}, "error"
    )
    states = {
        f"f{i}.json": json.dumps({"timestamp": t}).encode() for i, t in enumerate((9, 8, 7, 9.5))
    }
    yield packed("clock_back.zip", {**good, **states}, "warning")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        archive.writestr("f1.png", png())
        archive.writestr(link, "/etc/hostname")
    yield Case("link.zip", str(folder / "link.zip"), "error")
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        for file, content in {**good, "times.txt": b"5\n6\n7\n8\n"}.items():
            archive.writestr(file, content)
    data = plain.getvalue()
    yield _case(folder, "cut.zip", data[: len(data) // 2], "error")
    spoilt = bytearray(data)
    spoilt[data.index(b"IDAT") + 8] ^= 0xFF
    yield _case(folder, "one_spoilt.zip", bytes(spoilt), "warning")
    locked = bytearray(data)
    locked[data.index(b"PK\x01\x02") + 8] |= 1
    yield _case(folder, "encrypted.zip", bytes(locked), "error")
    lying = bytearray(data)
    at = data.index(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    yield _case(folder, "size_lies.zip", bytes(lying), "error")


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    over: threading.Event

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name == "stalls":
            self.over.wait()
        elif name == "stalls_midway":
            self._head(200, {"Content-Length": "100000"})
            self.wfile.write(b"\0" * 1000)
            self.wfile.flush()
            self.over.wait()
        elif name == "breaks_off":
            self._head(200, {"Content-Length": "100000"})
            self.wfile.write(b"\0" * 1000)
        elif name == "to_file":
            self._head(302, {"Location": "file:///etc/hostname"})
        elif name == "to_itself":
            self._head(302, {"Location": "/to_itself"})
        elif name == "to_good":
            self._head(302, {"Location": "/good.mp4"})
        elif name == "page":
            self._head(200, {})
            self.wfile.write(b"<html>please log in</html>")
        elif name == "good.mp4":
            data = (self.folder / name).read_bytes()
            self._head(200, {"Content-Length": str(len(data))})
            self.wfile.write(data)
        else:
            self._head(int(name) if name.isdigit() else 404, {"Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve `good.mp4` of a folder and misbehave at the other paths; gives the base address."""
    over = threading.Event()
    handler = type("Handler", (_Handler,), {"folder": folder, "over": over})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _addresses(base: str) -> Iterator[Case]:
    yield Case("http_404", f"{base}/404", "error")
    yield Case("http_500", f"{base}/500", "error")
    yield Case("http_stalls", f"{base}/stalls", "error")
    yield Case("http_stalls_midway", f"{base}/stalls_midway", "error")
    yield Case("http_breaks_off", f"{base}/breaks_off", "error")
    yield Case("http_redirects_to_file", f"{base}/to_file", "error")
    yield Case("http_redirects_forever", f"{base}/to_itself", "error")
    yield Case("http_page", f"{base}/page", "error")
    yield Case("http_redirect", f"{base}/to_good", "frames")
    yield Case("http_nobody_listens", "http://127.0.0.1:9/clip.mp4", "error")
    yield Case("http_no_host", "http:///clip.mp4", "error")
    yield Case("http_bad_port", "http://127.0.0.1:port/clip.mp4", "error")
    yield Case("file_address_missing", "file:///nowhere/clip.mp4", "error")
    yield Case("unknown_scheme", "gopher://example.org/clip.mp4", "error")
    yield Case("s3_without_key", "s3://bucket", "error")


@contextmanager
def malformed(folder: Path) -> Iterator[list[Case]]:
    """Write every source into `folder` (empty, existing) and serve those behind addresses."""
    cases = [*_files(folder), *_folders(folder), *_archives(folder)]
    with served(folder) as base:
        yield [*cases, *_addresses(base)]


def _case(
    folder: Path, name: str, content: bytes, expect: Literal["error", "warning", "frames"]
) -> Case:
    (folder / name).write_bytes(content)
    return Case(name, str(folder / name), expect)


def _cut(data: bytes, percent: int) -> bytes:
    return data[: len(data) * percent // 100]


def _noise_inside(data: bytes) -> bytes:
    """Every 40th byte of the middle two fourths, where packets are, replaced."""
    spoilt = bytearray(data)
    for at in range(len(data) // 3, len(data) * 3 // 4, 40):
        spoilt[at] ^= 0xA5
    return bytes(spoilt)


def _without_data(fast_mp4: bytes) -> bytes:
    at = fast_mp4.index(b"mdat") + 4
    return fast_mp4[:at] + bytes(len(fast_mp4) - at)


def _samples_uncounted(mp4: bytes) -> bytes:
    """The sample table claims two thousand million samples."""
    at = mp4.index(b"stsz") + 12
    return mp4[:at] + struct.pack(">I", 2_000_000_000) + mp4[at + 4 :]


def _gigantic_jpeg(avi: bytes) -> bytes:
    """Every frame header of a Motion JPEG says 65500 x 65500."""
    spoilt = bytearray(avi)
    at = avi.find(b"\xff\xc0\x00\x11")
    while at >= 0:
        spoilt[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
        at = avi.find(b"\xff\xc0\x00\x11", at + 1)
    return bytes(spoilt)


def _matroska_times(mkv: bytes, milliseconds: list[int]) -> bytes:
    """Set the time of each SimpleBlock of a one-cluster Matroska file."""
    spoilt = bytearray(mkv)
    at, i = mkv.index(b"\x1f\x43\xb6\x75"), 0
    while i < len(milliseconds) and (at := mkv.find(b"\x81", at + 1)) >= 0:
        # SimpleBlock: track 1 (0x81), signed 16-bit time, flags 0x80 or 0x00 (or 0x08).
        time, flags = struct.unpack(">hB", mkv[at + 1 : at + 4])
        if time == i * 100 and flags in (0x00, 0x08, 0x80):
            spoilt[at + 1 : at + 3] = struct.pack(">h", milliseconds[i])
            i += 1
    return bytes(spoilt)
