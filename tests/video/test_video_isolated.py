"""Decoding in a process of its own: the same frames, and a death that costs one file."""

import os
import signal
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import number, numbered, write

from stpe.errors import SourceError, SourceLimitError, UsageError
from stpe.video import Grid, Limits, open_source, sample
from stpe.video.held import HeldFrames
from stpe.video.isolated.frames import IsolatedFrames
from stpe.video.isolated.picture import isolated_picture
from stpe.video.isolated.pool import POOL
from stpe.video.isolated.process import DecoderDiedError, DecoderProcess
from stpe.video.still import upright_picture

ISOLATED = Limits(isolated=True)


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.mp4", times_ms=range(0, 2400, 40))


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def seen(source, grids):
    """All that a pass gives, and what is known afterwards."""
    with sample(source, grids) as frames:
        items = [
            (f.index, f.pts, f.state, {name: image.tobytes() for name, image in f.images.items()})
            for f in frames
        ]
    return items, frames.measured, source.info


@pytest.mark.parametrize("kind", ["video", "folder", "cut"])
def test_frames_times_and_warnings_are_those_of_this_process(tmp_path, kind):
    path = write(tmp_path / "turned.mp4", turned=90)
    if kind == "folder":
        path = tmp_path / "frames"
        path.mkdir()
        for i in range(7):
            (path / f"{i}.png").write_bytes(png(numbered(i)[:, :, ::-1]))
        (path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    elif kind == "cut":
        path = write(tmp_path / "whole.ts")
        path.write_bytes(path.read_bytes()[:-3000])
    grids = [Grid("analysis", 2.0), Grid("motion", 10.0, long_side=64)]
    found = []
    for limits in (Limits(), ISOLATED):
        with open_source(path, limits) as source:
            found.append(seen(source, grids))
            again = seen(source, grids[:1])[0]
            assert [item[0] for item in again] == [i[0] for i in found[-1][0] if "analysis" in i[3]]
            assert source.media.suffix == (".zip" if kind == "folder" else path.suffix)
            assert source.media.stat().st_size > 0
    assert found[0] == found[1]


def test_a_pass_that_is_broken_off_leaves_its_process_fit_for_the_next(clip):
    with open_source(clip, ISOLATED) as source:
        with sample(source, [Grid("all")]) as frames:
            assert number(next(frames).images["all"]) == 0
        items, measured, _ = seen(source, [Grid("few", 1.0)])
        assert measured.complete
        assert len(items) == 3
        pictures = [frame.picture.to_ndarray(format="rgb24") for frame in source]
        assert [number(image) for image in pictures] == list(range(60))


def test_what_cannot_be_opened_is_told_as_ever(tmp_path):
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    for path in (tmp_path / "none.mp4", tmp_path / "missing", tmp_path):
        told = []
        for limits in (Limits(), ISOLATED):
            with pytest.raises(SourceError) as raised:
                open_source(path, limits)
            told.append(str(raised.value))
        assert told[0] == told[1]
    small = write(tmp_path / "small.mp4")
    with pytest.raises(SourceLimitError, match="pixels"):
        open_source(small, Limits(isolated=True, max_pixels=100))


def test_frames_by_index_and_a_decoder_that_is_shot_in_between(clip):
    with open_source(clip) as source, HeldFrames(source, 1 << 18) as held:
        there = IsolatedFrames(clip, Limits(), 1 << 18)
        assert (there.pts, there.fps, there.warnings) == (held.pts, held.fps, held.warnings)
        assert (there.width, there.height, there.duration_s) == (96, 64, held.duration_s)
        for index in (0, 50, 3, 59):
            assert (there.image(index) == held.image(index)).all()
        with pytest.raises(UsageError, match="there is no frame 60"):
            there.image(60)
        os.kill(there._process.pid, signal.SIGKILL)
        assert (there.image(27) == held.image(27)).all()
        assert there.held_bytes > 0
        there.close()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_decoder_that_dies_is_said_to_and_replaced(tmp_path, number):
    clip = write(tmp_path / "clip.mp4", times_ms=range(0, 24000, 40))  # more than waits to be read
    with open_source(clip, ISOLATED) as source, sample(source, [Grid("all")]) as frames:
        next(frames)
        os.kill(source._process.pid, number)
        with pytest.raises(DecoderDiedError, match=f"died of it .{number.name}"):
            list(frames)
    with open_source(clip, ISOLATED) as source:
        assert len(seen(source, [Grid("all")])[0]) == 600


def test_a_crash_a_hang_and_an_endless_answer_cost_the_call_that_made_them():
    image = np.full((40, 50, 3), 9, np.uint8)
    for message, code, says in (
        ({"do": "tick"}, signal.SIGSEGV, "SIGSEGV"),
        ({"do": "picture"}, None, "exit code 1"),  # a bug of the child's own
    ):
        process = DecoderProcess()
        if code is not None:
            os.kill(process.pid, signal.SIGSTOP)  # it dies with the request in its hands
            process.send(message)
            os.kill(process.pid, code)
            os.kill(process.pid, signal.SIGCONT)
        else:
            process.send(message)
        with pytest.raises(DecoderDiedError, match=says):
            process.receive(20)
        assert not process.alive
    process = DecoderProcess()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(DecoderDiedError, match=r"within 0.2 s"):
        process.ask({"do": "close"}, 0.2)
    assert not Path(f"/proc/{process.pid}").exists()
    assert (isolated_picture(png(image), Limits()) == 9).all()


def test_a_decoder_has_no_secrets_and_ends_with_its_owner(monkeypatch):
    monkeypatch.setenv("STPE_API_KEY", "correct horse")
    process = DecoderProcess()
    assert b"correct horse" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    folder = process._end.peek()[2][2].path
    process._connection.close()
    deadline = time.monotonic() + 20
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.alive
    process.kill()
    assert not Path(folder).exists()


def bomb(kind, mib):
    """A PNG of 8 x 8 pixels with a chunk that unpacks to so many MiB of zeros."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = ((mib << 20) % 65521) << 16 | 1
    packed = first + again * (mib - 1) + b"\x03\0" + struct.pack(">I", checksum)
    body = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + packed
    chunk = struct.pack(">I", len(body)) + kind + body
    chunk += struct.pack(">I", zlib.crc32(kind + body))
    small = png(np.zeros((8, 8, 3), np.uint8))
    return small[:33] + chunk + small[33:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_chunk_that_would_burst_takes_no_more_than_the_picture_may(kind):
    """400 MB where 24 MB are allowed; shown without it, or refused."""
    data = bomb(kind, 400)
    POOL.close()
    with suppress(SourceError):
        assert isolated_picture(data, Limits(), 24 << 20).shape == (8, 8, 3)
    (process,) = POOL._idle
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 200 << 10


def test_memory_is_bounded_for_pictures_of_every_kind():
    """What `serve` lets a picture take is enough for the largest samples."""
    image = np.kron(
        np.random.default_rng(0).integers(0, 65535, (30, 40, 4), np.uint16),
        np.ones((20, 20, 1), np.uint16),
    )
    eight = (image >> 8).astype(np.uint8)
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                   cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip
    room = (24 << 20) + 20 * image.shape[0] * image.shape[1]
    for suffix, pixels, options in (
        (".png", image, []),
        (".tiff", image, [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
        (".webp", eight, [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".jpg", eight[..., :3], progressive),
        (".bmp", eight, []),
    ):
        data = cv2.imencode(suffix, pixels, options)[1].tobytes()
        found = isolated_picture(data, Limits(), room)
        assert (found == upright_picture(data, Limits())).all()
        with pytest.raises(SourceError):
            isolated_picture(data, Limits(), 1 << 20)
