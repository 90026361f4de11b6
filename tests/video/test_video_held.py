"""Frames by index, either way, within a budget."""

import random
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
from clips import number, numbered, write

from stpe.errors import UsageError
from stpe.video import open_source
from stpe.video.held import HeldFrames

COUNT = 90
FRAME_BYTES = 96 * 64 * 3


@pytest.fixture(scope="module", params=["mp4", "folder"])
def clip(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    if request.param == "mp4":
        write(folder / "clip.mp4", times_ms=range(0, 40 * COUNT, 40))
        return folder / "clip.mp4"
    for i in range(COUNT):
        cv2.imwrite(str(folder / f"{i:04d}.png"), numbered(i)[..., ::-1])
    return folder


def test_every_order_gives_the_same_frames_within_the_budget(clip):
    orders = [range(COUNT), range(COUNT - 1, -1, -1), random.Random(1).sample(range(COUNT), 25)]
    with HeldFrames(open_source(clip), 12 * FRAME_BYTES) as frames:
        assert len(frames.pts) == COUNT
        assert frames.duration_s == pytest.approx(COUNT / frames.fps)
        for order in orders:
            assert [number(frames.image(i)) for i in order] == list(order)
            assert 0 < frames.held_bytes <= 12 * FRAME_BYTES
        frames.release()
        assert frames.held_bytes == 0
        assert number(frames.image(40)) == 40
        with pytest.raises(UsageError, match="no frame 90"):
            frames.image(COUNT)


def test_what_is_held_can_be_asked_while_frames_are_read(clip):
    with HeldFrames(open_source(clip), 12 * FRAME_BYTES) as frames, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [number(frames.image(i)) for i in range(COUNT)])
        while not reading.done():
            assert frames.held_bytes <= 13 * FRAME_BYTES
        assert reading.result() == list(range(COUNT))


def test_a_small_budget_holds_one_frame(clip):
    with HeldFrames(open_source(clip), 1) as frames:
        assert number(frames.image(5)) == 5
        assert number(frames.image(4)) == 4
        assert frames.held_bytes == FRAME_BYTES
