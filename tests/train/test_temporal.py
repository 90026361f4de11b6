"""The temporal module on made embeddings: it learns what can be learned, and says so if not."""

import numpy as np
import pyarrow as pa
import pytest

from stpe.errors import ModelError, UsageError
from stpe.models import temporal as module
from stpe.models.temporal import ModuleFile, load
from stpe.signals import schema
from stpe.stages.pooling import VideoPooling
from stpe.stages.stage import Request, Span, Window
from stpe.train import temporal
from stpe.train.episodes import Episode
from stpe.train.temporal import train_temporal
from stpe.video.frame import SourceInfo

pytest.importorskip("torch", reason="the train extra is not installed")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for where, name, value in (
        (module, "_WIDTH", 32),
        (module, "_LAYERS", 1),
        (temporal, "_STEPS", 40),
        (temporal, "_RATE", 5e-3),
    ):
        monkeypatch.setattr(where, name, value)


def episode(number, turns):
    """Embeddings that go round at one pace, or jump about."""
    rng = np.random.default_rng(number)
    count = 64
    if turns:
        angle = rng.uniform(0, 6) + 0.8 * np.arange(count)
        x = np.stack([np.cos(angle), np.sin(angle), *np.zeros((6, count))], 1)
        x += 0.02 * rng.normal(size=x.shape)
    else:
        x = rng.normal(size=(count, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    nan = np.full(count, np.nan)
    return Episode(
        f"made/{number}", np.arange(count) / 4, np.full((count, 3), np.nan), nan, nan, nan,
        (frozenset(),) * count, ({},) * count, ("",) * count, {}, x.astype(np.float32),
    )  # fmt: skip


def test_a_regular_motion_is_foreseen_and_noise_is_not(tmp_path):
    kept = tmp_path / "module.safetensors"
    report = train_temporal([episode(n, True) for n in range(4)], weights=kept)
    following = report.tasks[0]
    assert following.gain.low > 0.1
    assert following.module > following.baseline + 0.1
    noise = train_temporal([episode(n, False) for n in range(4)])
    assert not noise.pays
    pooling = load(kept)
    made = episode(9, True)
    pooled = pooling(made.embeddings_ND, made.times_N)
    assert pooled.shape == (8,)
    assert np.linalg.norm(pooled) == pytest.approx(1, abs=1e-5)
    assert pooling(made.embeddings_ND[:0], made.times_N[:0]) is None
    assert pooled.tolist() == _stored(made, Request(pooling=ModuleFile.of(kept)))
    assert pooled.tolist() != _stored(made, Request())
    with pytest.raises(UsageError, match="8 numbers and these have 5"):
        pooling(np.zeros((3, 5), np.float32), np.arange(3.0))
    (tmp_path / "other").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="no temporal module"):
        load(tmp_path / "other")


def _stored(made, request):
    """What the stage stores for the whole video."""
    rows = [
        {"frame_index": i, "pts": t, "embedding": e}
        for i, (t, e) in enumerate(zip(made.times_N, made.embeddings_ND, strict=True))
    ]
    tables = {"frames": pa.Table.from_pylist(rows, schema("frames", ["embedding"]))}
    source = SourceInfo("a.mp4", "file", "0" * 64, 640, 480, 30.0, 16.0, 480)
    window = Window(source, Span(0, 0.0, 16.0, True), rows=tables)
    out = VideoPooling({}, request).process(window)
    return out.tables["videos"]["clip_embedding"][0].as_py()


def test_too_few_videos_is_one_line():
    with pytest.raises(UsageError, match="needs 4"):
        train_temporal([episode(n, True) for n in range(3)])
