"""Which frames a grid gets, and how the background pass behaves."""

import itertools
import threading
import time

import av
import numpy as np
import pytest
from clips import number, write

from stpe.errors import SourceError
from stpe.video import Grid, open_source, sample, sampler
from stpe.video.picture import UPRIGHT, Scaler
from stpe.video.selection import Selection
from stpe.video.timestamps import DecodeTimes, repaired

RANDOM = np.random.default_rng(7)


def selected(times, fps):
    selection = Selection(fps)
    following = [*times[1:], None]
    return [
        i for i, (t, n) in enumerate(zip(times, following, strict=True)) if selection.selects(t, n)
    ]


def nearest(times, fps):
    """The same by its definition, slowly."""
    wanted = set()
    for k in itertools.count():
        grid = times[0] + k / fps
        if grid > times[-1] + 5e-7:
            return sorted(wanted)
        distances = np.abs(np.array(times) - grid)
        wanted.add(int(np.flatnonzero(distances <= distances.min() + 1e-6)[0]))


@pytest.mark.parametrize("fps", [0.5, 2.0, 7.3, 10.0, 12.5, 25.0, 60.0])
def test_selection_is_the_nearest_frame_to_every_grid_time(fps):
    for rate in (10, 23.976, 24, 25, 29.97, 30, 50, 59.94):
        times = [1.4 + i / rate for i in range(200)]
        assert selected(times, fps) == nearest(times, fps)
    for _ in range(30):
        gaps = RANDOM.choice([0.001, 0.016, 0.04, 0.3, 2.0], 60) * RANDOM.uniform(0.5, 1.5, 60)
        times = list(np.cumsum(gaps) - 3)
        assert selected(times, fps) == nearest(times, fps)


def test_a_grid_contains_the_grids_whose_rate_divides_its_own():
    for _ in range(30):
        times = list(np.cumsum(RANDOM.uniform(0.005, 0.2, 300)))
        assert set(selected(times, 2.0)) <= set(selected(times, 10.0))
        assert set(selected(times, 3.0)) <= set(selected(times, 12.0))


def test_a_gap_of_years_costs_nothing():
    times = [0.0, 0.04, 3e8, 3e8 + 0.04]
    began = time.process_time()
    assert selected(times, 30.0) == [0, 1, 2, 3]
    assert time.process_time() - began < 2


def test_each_grid_gets_its_frames_at_its_size(tmp_path):
    path = write(tmp_path / "clip.mp4", times_ms=range(0, 4000, 40), size=(320, 180))
    grids = [
        Grid("analysis", fps=2.0, size=(854, 480)),
        Grid("motion", fps=10.0, long_side=160),
        Grid("thumbnails", size=(48, 27)),
    ]
    with open_source(path) as source:
        got = list(sample(source, grids))
    assert [s.index for s in got] == list(range(100))
    shapes = {"analysis": (480, 854, 3), "motion": (90, 160, 3), "thumbnails": (27, 48, 3)}
    for name, fps in (("analysis", 2.0), ("motion", 10.0)):
        times = [s.pts for s in got]
        assert [s.index for s in got if name in s.images] == nearest(times, fps)
    for item in got:
        for name, image in item.images.items():
            assert image.shape == shapes[name]
            assert image.flags.c_contiguous
            assert number(image) == item.index


def test_reduction_averages(tmp_path):
    path = write(tmp_path / "clip.mkv", "ffv1", (0, 40), size=(320, 160))
    with open_source(path) as source:
        images = next(sample(source, [Grid("full"), Grid("small", size=(40, 20))])).images
    averaged = images["full"].reshape(20, 8, 40, 8, 3).mean(axis=(1, 3))
    assert np.abs(images["small"] - averaged).mean() < 1.5


def decoding():
    return [t for t in threading.enumerate() if t.name == "stpe-decode"]


def test_leaving_early_stops_the_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "QUEUE_BYTES", 100_000)
    path = write(tmp_path / "clip.mp4", times_ms=range(0, 8000, 40))
    with open_source(path) as source:
        with sample(source, [Grid("all")]) as running:
            assert next(running).index == 0
            assert decoding()
            time.sleep(0.2)
            # At 18 kB a frame, the pass may be ahead by five in the queue and a few in hand.
            assert running.measured.frame_count <= 10
        assert not decoding()
        dropped = sample(source, [Grid("all")])
        next(dropped)
        del dropped
        assert not decoding()
        never_started = sample(source, [Grid("all")])
        never_started.close()
        assert not decoding()


def test_errors_of_the_thread_are_raised_to_the_consumer(tmp_path):
    path = write(tmp_path / "clip.mp4")
    with open_source(path) as source:
        path.unlink()
        with pytest.raises(SourceError):
            list(sample(source, [Grid("all")]))
    assert not decoding()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([0.0, 0.1, 0.2], [0.0, 0.1, 0.2]),
        ([-0.2, -0.1, 0.0], [-0.2, -0.1, 0.0]),
        ([None, None, None], [0.0, 0.1, 0.2]),
        ([5.0, None, None, 5.3], [5.0, 5.1, 5.2, 5.3]),
        ([0.0, 0.1, 0.1, 0.3], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.1, 0.1, 0.2], [0.0, 0.1, 0.15, 0.2]),
        ([0.0, 0.1, 500.0, 0.3, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([8.0, 8.1, 0.0, 0.1, 0.2], [8.0, 8.1, 8.2, 8.3, 8.4]),
        ([8.0, 8.1, 3.0, 2.0, 8.5], [8.0, 8.1, 8.2, 8.3, 8.5]),
        ([0.0, 0.1, 60.0, 60.1], [0.0, 0.1, 60.0, 60.1]),
    ],
)
def test_times_are_repaired_only_where_they_are_wrong(raw, expected):
    said: list[str] = []
    got = [t for t, _ in repaired([(t, None) for t in raw], 0.1, said)]
    assert got == pytest.approx(expected)
    assert bool(said) == (raw != expected)


def test_any_times_come_out_increasing():
    for _ in range(200):
        raw = [None if RANDOM.random() < 0.2 else float(RANDOM.normal(0, 5)) for _ in range(40)]
        got = [t for t, _ in repaired([(t, None) for t in raw], 0.04, [])]
        assert len(got) == 40
        assert all(b > a for a, b in itertools.pairwise(got))


def test_decode_times_stand_in_for_missing_ones():
    times = DecodeTimes()
    for dts in (0, 1, 2, 3, 4):
        times.fed(dts)
    assert [times.stamp(None), times.stamp(None), times.stamp(5), times.stamp(None)] == [0, 1, 5, 6]


@pytest.mark.parametrize("width", [16, 850, 854])
@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p", "yuv422p", "yuv420p10le", "nv12"])
def test_every_column_is_written_at_the_stored_size(width, kind):
    grey = np.full((64, width, 3), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=kind)
    image = Scaler(width, 64)(frame, UPRIGHT)
    assert np.abs(image.astype(int) - 128).max() <= 4
