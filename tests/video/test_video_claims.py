"""What a file's header says: ends, rates, shapes, streams; and warnings only where they are due."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import number, numbered, write
from PIL import Image

from stpe.video import Grid, open_source, sample
from stpe.video.held import HeldFrames

STEADY = tuple(range(0, 1000, 40))


def measured(path, fps=2.0):
    """(what was measured, analysed frames, warnings, size)."""
    with open_source(path) as source, sample(source, [Grid("few", fps=fps)]) as sampler:
        analysed = [s.index for s in sampler]
        size = (source.info.width, source.info.height)
        return sampler.measured, analysed, source.info.warnings, size


def packets_of(path: Path) -> tuple[list[av.Packet], av.VideoStream]:
    container = av.open(str(path))
    stream = container.streams.video[0]
    return [p for p in container.demux(stream) if p.size], stream


def held(path: Path, last_ms: int) -> Path:
    """Ten frames, 100 ms apart; the last stays on for `last_ms`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 96, 64, "yuv420p", {"bf": "0"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(numbered(i), "rgb24")
            frame.pts, frame.time_base = i * 100, Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet in packets:
            packet.duration = 100
        packets[-1].duration = last_ms
        container.mux(packets)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_picture_that_stays_on_is_part_of_the_video(tmp_path, suffix):
    path = held(tmp_path / f"hold.{suffix}", 9000)
    facts, analysed, warnings, _ = measured(path)
    assert facts.duration_s == pytest.approx(9.9)
    assert analysed == [0, 5, 9]
    assert warnings == []
    with HeldFrames(open_source(path), 1 << 20) as frames:
        assert frames.duration_s == pytest.approx(9.9)
    facts, analysed, warnings, _ = measured(held(tmp_path / f"no_hold.{suffix}", 100))
    assert (facts.duration_s, analysed, warnings) == (pytest.approx(1.0), [0, 5], [])


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_the_last_picture_of_an_animation_counts(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    pictures = [Image.fromarray(numbered(i)) for i in range(5)]
    delays = [100, 100, 100, 100, 2000]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=delays, loop=0)
    facts, analysed, warnings, _ = measured(path)
    assert facts.duration_s == pytest.approx(2.4)
    assert (analysed, warnings) == ([0, 4], [])


@pytest.mark.parametrize("rate", [10, 24, 60, Fraction(30000, 1001)])
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("h264", "libx264", {"bf": "2"}),
        ("hevc", "libx265", {"x265-params": "log-level=none"}),
        ("m2v", "mpeg2video", {}),
    ],
)
def test_a_raw_stream_has_the_rate_of_its_own_header(tmp_path, suffix, codec, options, rate):
    if codec == "mpeg2video" and rate == 10:
        pytest.skip("MPEG-2 has no such rate")
    path = tmp_path / f"raw.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i), "rgb24")))
        container.mux(stream.encode())
    facts, _, warnings, _ = measured(path)
    assert facts.fps == pytest.approx(float(rate))
    assert facts.duration_s == pytest.approx(24 / float(rate))
    assert warnings == []


@pytest.mark.parametrize(("suffix", "codec"), [("mjpeg", "mjpeg"), ("obu", "libsvtav1")])
def test_a_raw_stream_without_a_rate_says_what_was_assumed(tmp_path, suffix, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write(tmp_path / f"raw.{suffix}", codec, STEADY, pix_fmt=pix_fmt, tick_ms=40)
    facts, _, warnings, _ = measured(path)
    assert facts.frame_count == 25
    assert any("25 frames a second were assumed" in w for w in warnings)


def shaped(path: Path, aspect: Fraction, turned: int = 0, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        if turned:
            stream.set_display_rotation(turned)
        for i in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i), "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("aspect", "turned", "size"),
    [
        (Fraction(64, 45), 0, (137, 64)),
        (Fraction(1, 2), 0, (96, 128)),
        (Fraction(4, 3), 90, (64, 128)),
        (Fraction(1), 0, (96, 64)),
        (Fraction(1280, 1281), 0, (96, 64)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mpg"])
def test_pixels_are_square_in_what_is_delivered(tmp_path, aspect, turned, size, suffix):
    if suffix != "mp4" and turned:
        pytest.skip("only MP4 is turned here")
    codec = "mpeg2video" if suffix == "mpg" else "libx264"
    path = shaped(tmp_path / f"a.{suffix}", aspect, turned, codec)
    with open_source(path) as source:
        got = list(sample(source, [Grid("all")]))
        info = source.info
    # MPEG-2 stores the shape of the picture in whole steps.
    if suffix != "mpg":
        assert (info.width, info.height) == size
    for item in got:
        assert item.images["all"].shape == (info.height, info.width, 3)
        if not turned:
            assert number(item.images["all"]) == item.index
    square = (info.width, info.height) in ((96, 64), (64, 96))
    assert square or any("not square" in w for w in info.warnings)
    with HeldFrames(open_source(path), 1) as frames:
        # One frame is held, so that going back seeks.
        forward = [frames.image(i) for i in range(len(got))]
        for i in (4, 2, 0):
            assert np.array_equal(frames.image(i), forward[i])


def two_streams(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w") as container:
        for size in ((96, 64), (192, 128)):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if cover:
            streams = container.streams.video
            streams[0].disposition = av.stream.Disposition.attached_pic
        for i in range(25):
            for stream in container.streams.video:
                frame = av.VideoFrame.from_ndarray(
                    numbered(i, stream.width, stream.height), "rgb24"
                )
                container.mux(stream.encode(frame))
        for stream in container.streams.video:
            container.mux(stream.encode())
    return path


def test_which_of_several_streams_was_read_is_said(tmp_path):
    facts, _, warnings, size = measured(two_streams(tmp_path / "two.mp4", False))
    assert warnings == ["2 video streams; stream 1 (192x128) was read"]
    assert (facts.frame_count, size) == (25, (192, 128))


def test_interlacing_is_said(tmp_path):
    options = {"flags": "+ildct+ilme", "top": "1"}
    path = write(tmp_path / "a.mpg", "mpeg2video", STEADY, tick_ms=40, **options)
    assert any("interlaced frames" in w for w in measured(path)[2])


def remuxed(source: Path, path: Path, keep=lambda i, p: True, sound_s: float = 0.0) -> Path:
    """The packets that `keep` takes, beside silence of some seconds."""
    packets, template = packets_of(source)
    with av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(template)
        audio = container.add_stream("aac", rate=48000, layout="mono") if sound_s else None
        for i, packet in enumerate(packets):
            if keep(i, packet):
                packet.stream = stream
                container.mux(packet)
        if audio is not None:
            for i in range(int(sound_s * 48000 / 1024)):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate, frame.pts = 48000, i * 1024
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


@pytest.mark.parametrize("suffix", ["mkv", "flv", "mp4"])
def test_sound_that_goes_on_is_no_missing_picture(tmp_path, suffix):
    short = write(tmp_path / "short.mp4", times_ms=STEADY, bf="2")
    path = remuxed(short, tmp_path / f"long_sound.{suffix}", sound_s=4.0)
    facts, _, warnings, _ = measured(path)
    assert (facts.frame_count, warnings) == (25, [])


def test_a_stream_that_begins_without_a_key_frame_says_what_is_lost(tmp_path):
    whole = write(
        tmp_path / "whole.ts", times_ms=range(0, 3000, 40), g="25", sc_threshold="0", bf="0"
    )
    path = remuxed(whole, tmp_path / "late.ts", keep=lambda i, p: i >= 5)
    facts, _, warnings, _ = measured(path)
    assert facts.frame_count in (50, 70)  # H.264 without a recovery point is shown as it comes
    assert any("0.8 s at the start" in warning for warning in warnings)
    assert measured(whole)[2] == []


@pytest.mark.parametrize("start_ms", [0, 600_000])
def test_a_file_that_breaks_off_is_said_wherever_its_clock_begins(tmp_path, start_ms):
    times = range(start_ms, start_ms + 4000, 40)
    path = write(tmp_path / "a.mkv", times_ms=times, g="10", size=(192, 128))
    assert measured(path)[2] == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert any("breaks off" in w for w in measured(path)[2])


def test_a_clock_that_wraps_around_is_no_alarm(tmp_path):
    whole = write(tmp_path / "a.mp4", times_ms=range(0, 3000, 40), tick_ms=40, g="10")
    packets, template = packets_of(whole)
    path = tmp_path / "wrap.ts"
    with av.open(str(path), "w", options={"output_ts_offset": "95442.5"}) as container:
        stream = container.add_stream_from_template(template)
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    facts, _, warnings, _ = measured(path)
    assert (facts.frame_count, warnings) == (75, [])
    assert facts.duration_s == pytest.approx(3.0)
