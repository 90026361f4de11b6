"""A damaged stream gives the same pictures every time, to every reader, under any load."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from stpe.video import Grid, open_source, sample
from stpe.video.held import HeldFrames

FRAMES = 40


def textured(i: int) -> np.ndarray:
    y, x = np.mgrid[0:128, 0:192]
    waves = np.sin((x + 3 * i) / 5) * np.cos((y - 2 * i) / 7)
    return np.stack([128 + 100 * waves, (x + 5 * i) % 256, (y * 2) % 256], axis=2).astype(np.uint8)


def damaged(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Packets behind the first few have noise in them."""
    chance = random.Random(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        packets = []
        for i in range(FRAMES):
            packets += stream.encode(av.VideoFrame.from_ndarray(textured(i), "rgb24"))
        packets += stream.encode()
        for i, packet in enumerate(packets):
            data = bytearray(bytes(packet))
            if i > 3 and chance.random() < 0.2:
                at = chance.randrange(len(data))
                data[at : at + 20] = chance.randbytes(len(data[at : at + 20]))
            noisy = av.Packet(bytes(data))
            noisy.pts, noisy.dts, noisy.time_base = packet.pts, packet.dts, packet.time_base
            noisy.stream, noisy.is_keyframe = stream, packet.is_keyframe
            container.mux(noisy)
    return path


def sampled(path: Path) -> list[tuple[float, str]]:
    with open_source(path) as source:
        return [
            (s.pts, hashlib.md5(s.images["all"].tobytes()).hexdigest())
            for s in sample(source, [Grid("all"), Grid("small", size=(48, 32))])
        ]


def held(path: Path) -> list[tuple[float, str]]:
    with HeldFrames(open_source(path), 1 << 24) as frames:
        images = [frames.image(i) for i in range(len(frames.pts))]
        return [
            (pts, hashlib.md5(image.tobytes()).hexdigest())
            for pts, image in zip(frames.pts, images, strict=True)
        ]


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "20", "bf": "2"}),
        ("libx264", {"g": "20", "slices": "4"}),
        ("libx265", {"x265-params": "log-level=none:keyint=20"}),
        ("mpeg4", {"g": "20", "bf": "2"}),
        ("libvpx-vp9", {"g": "20", "cpu-used": "8", "deadline": "realtime"}),
        ("mjpeg", {"strict": "-2"}),
    ],
)
def test_one_file_gives_one_picture(tmp_path, codec, options):
    path = damaged(tmp_path / "a.mkv", codec, options)
    first = sampled(path)
    assert len(first) > FRAMES // 2
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(sampled, [path] * 4), *pool.map(held, [path] * 2)]
    assert all(result == first for result in results)
