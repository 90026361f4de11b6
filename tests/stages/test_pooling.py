import numpy as np
import pyarrow as pa
import pytest

from stpe.signals import schema
from stpe.stages.attention import attention_pool
from stpe.stages.pooling import ClipPooling, VideoPooling
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo

SOURCE = SourceInfo("a.mp4", "file", "0" * 64, 640, 480, 30.0, 10.0, 300)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def window(embeddings, times, clips=None):
    rows = [
        {"frame_index": i, "pts": t, "embedding": e}
        for i, (t, e) in enumerate(zip(times, embeddings, strict=True))
    ]
    tables = {"frames": pa.Table.from_pylist(rows, schema("frames", ["embedding"]))}
    if clips is not None:
        tables["clips"] = pa.Table.from_pylist(clips, schema("clips", ["start_pts", "end_pts"]))
    return Window(SOURCE, Span(0, 0.0, 10.0, True), rows=tables)


def test_one_frame_is_itself_and_equal_frames_are_that_frame():
    x = unit(np.random.default_rng(0).normal(size=(1, 64)))
    np.testing.assert_allclose(attention_pool(x, np.array([3.0])), x[0], atol=1e-6)
    pooled = attention_pool(np.repeat(x, 9, 0), np.arange(9.0))
    np.testing.assert_allclose(pooled, x[0], atol=1e-6)
    assert attention_pool(x[:0], np.zeros(0)) is None


def test_an_outlier_weighs_less_than_in_the_mean():
    rng = np.random.default_rng(1)
    base, flash = unit(rng.normal(size=(2, 128)))
    x = unit(base + 0.02 * rng.normal(size=(20, 128)))
    x[7] = flash
    pooled = attention_pool(x, np.arange(20) / 2)
    assert pooled @ flash < 0.5 * (unit(x.mean(0)) @ flash)


def test_the_sampling_rate_hardly_matters():
    rng = np.random.default_rng(2)
    a, b = unit(rng.normal(size=(2, 96)))
    times = np.arange(0, 10, 0.5)
    uneven = np.sort(np.r_[times, np.arange(0, 5, 0.1)])  # the first half six times as dense

    def at(t):
        return unit(np.where(t[:, None] < 5, a, b))

    even, dense = attention_pool(at(times), times), attention_pool(at(uneven), uneven)
    assert even @ dense > 0.995
    assert abs(even @ a - even @ b) < 0.1
    naive = unit(at(uneven).mean(0))
    assert abs(dense @ a - dense @ b) < 0.25 * abs(naive @ a - naive @ b)


def test_stages_fill_their_rows_and_leave_nulls():
    x = unit(np.random.default_rng(3).normal(size=(6, 32)))
    clips = [
        {"clip_id": 0, "start_pts": 0.0, "end_pts": 1.5},
        {"clip_id": 9, "start_pts": 50.0, "end_pts": 52.0},
    ]
    seen = window([*x[:5], None], np.arange(6) / 2, clips)
    out = ClipPooling({}, Request()).process(seen).tables["clips"]
    assert out["clip_id"].to_pylist() == [0, 9]
    first, second = out["pooled_embedding"].to_pylist()
    np.testing.assert_allclose(first, attention_pool(x[:3], np.arange(3) / 2), atol=1e-6)
    assert second is None
    videos = VideoPooling({}, Request()).process(seen).tables["videos"]
    assert np.linalg.norm(videos["clip_embedding"][0].as_py()) == pytest.approx(1, abs=1e-5)
    nothing = VideoPooling({}, Request()).process(window([None], [0.0])).tables["videos"]
    assert nothing.to_pylist() == [{"clip_embedding": None}]
