"""The temporal module on made embeddings: it learns what can be learned, and says so if not."""

import numpy as np
import pytest

from stpe.errors import ModelError, UsageError
from stpe.train import temporal
from stpe.train.episodes import Episode
from stpe.train.temporal import load, train_temporal

pytest.importorskip("torch", reason="the train extra is not installed")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"_WIDTH": 32, "_LAYERS": 1, "_STEPS": 40, "_RATE": 5e-3}.items():
        monkeypatch.setattr(temporal, name, value)


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
    (tmp_path / "other").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="no temporal module"):
        load(tmp_path / "other")


def test_too_few_videos_is_one_line():
    with pytest.raises(UsageError, match="needs 4"):
        train_temporal([episode(n, True) for n in range(3)])
