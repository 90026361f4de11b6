"""Video files: every codec and container, exact index, time, orientation and colour."""

import os
from itertools import pairwise

import av
import numpy as np
import pytest
from clips import number, numbered, write

from stpe.errors import SourceError, SourceLimitError
from stpe.video import Grid, Limits, open_source, sample

STEADY = tuple(range(0, 1000, 40))
VARIABLE = (0, 40, 80, 200, 220, 240, 1000, 1033, 1100, 1500, 1540, 1580, 1620, 2400)
QUIET = "log-level=none"

CODECS = [
    ("mp4", "libx264", "yuv420p", VARIABLE, {"bf": "3", "g": "12"}),
    ("mkv", "libx264", "yuv420p10le", VARIABLE, {"bf": "2"}),
    ("mov", "libx264", "yuv444p", VARIABLE, {}),
    ("ts", "libx264", "yuv420p", VARIABLE, {"bf": "2"}),
    ("flv", "libx264", "yuv420p", VARIABLE, {}),
    ("mp4", "libx265", "yuv420p", VARIABLE, {"x265-params": f"{QUIET}:bframes=3"}),
    ("mkv", "libx265", "yuv420p10le", VARIABLE, {"x265-params": QUIET}),
    ("webm", "libvpx-vp9", "yuv420p", VARIABLE, {"cpu-used": "5"}),
    ("webm", "libvpx", "yuv420p", VARIABLE, {}),
    ("mp4", "libsvtav1", "yuv420p", VARIABLE, {"preset": "6"}),
    ("mkv", "libsvtav1", "yuv420p10le", VARIABLE, {"preset": "6"}),
    ("avi", "mjpeg", "yuvj420p", VARIABLE, {}),
    ("mkv", "mjpeg", "yuvj422p", VARIABLE, {}),
    ("mov", "prores_ks", "yuv422p10le", VARIABLE, {}),
    ("mkv", "ffv1", "yuv420p", VARIABLE, {}),
    ("mp4", "mpeg4", "yuv420p", VARIABLE, {}),
    # These containers hold no presentation times, or only those of a steady rate.
    ("avi", "libx264", "yuv420p", STEADY, {"bf": "2", "tick_ms": 40}),
    ("avi", "mpeg4", "yuv420p", STEADY, {"bf": "2", "tick_ms": 40}),
    ("mpg", "mpeg2video", "yuv420p", STEADY, {"bf": "2", "tick_ms": 40}),
    ("gif", "gif", "rgb8", STEADY, {}),
]


def decoded(path, **limits):
    with open_source(path, Limits(**limits)) as source:
        return source.info, list(sample(source, [Grid("all")]))


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt", "times", "options"),
    CODECS,
    ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in CODECS],
)
def test_every_frame_comes_once_with_its_index_and_time(
    tmp_path, container, codec, pix_fmt, times, options
):
    try:
        av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg cannot encode {codec}")
    path = write(tmp_path / f"clip.{container}", codec, times, pix_fmt=pix_fmt, **options)
    info, got = decoded(path)
    assert [s.index for s in got] == list(range(len(times)))
    assert [number(s.images["all"]) for s in got] == list(range(len(times)))
    # Transport and program streams, and FLV, start their clock late; intervals are exact.
    start = got[0].pts
    assert [(s.pts - start) * 1000 for s in got] == pytest.approx(times, abs=0.51)
    assert info.warnings == []
    assert (info.width, info.height) == (96, 64)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_display_matrix_is_applied(tmp_path, turned, mirrored):
    path = write(tmp_path / "clip.mp4", times_ms=(0, 40), turned=turned, mirrored=mirrored)
    info, got = decoded(path)
    shown = np.rot90(numbered(0), turned // 90)
    if mirrored:
        shown = shown[:, ::-1]
    assert got[0].images["all"].shape == shown.shape == (info.height, info.width, 3)
    # Compared in the flat middle of the coloured quarters and bars: codecs blur edges.
    error = np.abs(got[0].images["all"].astype(int) - shown)
    assert np.percentile(error, 75) < 8


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libvpx-vp9", "yuv420p", "webm"),
        ("mjpeg", "yuvj420p", "avi"),
        ("libx264", "yuv444p", "mp4"),
    ],
)
def test_odd_sizes(tmp_path, codec, pix_fmt, suffix):
    path = write(tmp_path / f"clip.{suffix}", codec, size=(97, 63), pix_fmt=pix_fmt)
    info, got = decoded(path)
    assert (info.width, info.height) == (97, 63)
    assert [number(s.images["all"]) for s in got] == list(range(25))


def test_colours_survive(tmp_path):
    path = write(tmp_path / "clip.mkv", "ffv1", (0, 40))
    for size in (None, (48, 32), (480, 320)):
        with open_source(path) as source:
            image = next(sample(source, [Grid("all", size=size)])).images["all"]
        top = image[: image.shape[0] // 5].reshape(-1, 3).mean(axis=0)
        assert top == pytest.approx([200, 30, 30], abs=3)


def test_a_late_start_is_kept(tmp_path):
    path = write(tmp_path / "clip.mkv", times_ms=(1500, 1540, 1580))
    assert [s.pts for s in decoded(path)[1]] == pytest.approx([1.5, 1.54, 1.58])


def test_measured_facts(tmp_path):
    path = write(tmp_path / "clip.mkv", times_ms=VARIABLE)
    with open_source(path) as source, sample(source, [Grid("few", fps=2)]) as sampler:
        assert not sampler.measured.complete
        assert [s.index for s in sampler] == [0, 5, 6, 9, 12]
        measured = sampler.measured
    assert measured.complete
    assert measured.frame_count == 14
    assert (measured.first_pts, measured.last_pts) == (0.0, 2.4)
    assert measured.fps == pytest.approx(13 / 2.4)
    assert measured.duration_s == pytest.approx(2.4 + 0.04)


def test_a_source_reads_the_same_twice_and_its_media_too(tmp_path):
    path = write(tmp_path / "clip.mp4")
    with open_source(path) as source:
        first, second = list(source), list(source)
        assert source.media.read_bytes() == path.read_bytes()
    assert [f.pts for f in first] == [f.pts for f in second]
    assert len(source.info.sha256) == 64


def test_size_change_midway_is_scaled_and_said(tmp_path):
    path = tmp_path / "clip.h264"
    small = write(tmp_path / "a.h264", times_ms=STEADY[:5]).read_bytes()
    large = write(tmp_path / "b.h264", times_ms=STEADY[:5], size=(192, 128)).read_bytes()
    path.write_bytes(small + large)
    info, got = decoded(path)
    assert {s.images["all"].shape for s in got} == {(64, 96, 3)}
    assert len(got) == 10
    assert any("192x128" in w for w in info.warnings)


@pytest.mark.parametrize(
    "limits",
    [{"max_pixels": 5000}, {"max_frames": 10}, {"max_seconds": 0.5}, {"max_bytes": 500}],
    ids=lambda limits: next(iter(limits)),
)
def test_limits_refuse(tmp_path, limits):
    # Raw H.264 states neither length nor frames, so those are found while decoding.
    for name in ("clip.mp4", "clip.h264"):
        path = write(tmp_path / name)
        with pytest.raises(SourceLimitError):
            decoded(path, **limits)


def test_frames_of_the_limit_itself_pass(tmp_path):
    path = write(tmp_path / "clip.mp4")
    assert len(decoded(path, max_pixels=96 * 64, max_frames=25, max_seconds=1.0)[1]) == 25


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp4"):
        open_source(tmp_path / "none.mp4")


def test_a_name_that_is_not_utf8_can_be_stored(tmp_path):
    path = write(tmp_path / "clip.mkv").rename(os.fsdecode(bytes(tmp_path / "c") + b"\xff.mkv"))
    with open_source(path) as source:
        assert source.info.uri.encode() == bytes(tmp_path / "c") + rb"\udcff.mkv"
        assert len(list(source)) == 25


def test_numbered_frames_and_delayed_start_of_real_files(shared_data):
    info, got = decoded(shared_data / "pyscenedetect_resources" / "counter.mp4")
    assert [s.index for s in got] == list(range(30))
    assert [s.pts for s in got] == pytest.approx([i / 10 for i in range(30)])
    info, got = decoded(shared_data / "pyscenedetect_resources" / "delayed_start.mp4")
    assert got[0].pts == pytest.approx(1.075)
    assert len(got) == 24
    assert info.codec == "mpeg4"


@pytest.mark.parametrize(("name", "frames"), [("0.3.2", 49), ("0.4.2", 34), ("0.5.1", 18)])
def test_screen_recordings_of_variable_rate(shared_data, name, frames):
    path = shared_data / "owa_screen_recordings" / f"{name}.mkv"
    with open_source(path) as source:
        got = [f.pts for f in source]
    with av.open(str(path)) as container:
        packets = sorted(float(p.pts * p.time_base) for p in container.demux(video=0) if p.size)
    assert got == packets
    assert len(got) == frames
    assert all(b > a for a, b in pairwise(got))
