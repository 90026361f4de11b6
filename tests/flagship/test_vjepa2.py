"""V-JEPA 2 through the real loading path equals direct transformers calls."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import IMAGENET, normalised

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import ModelError, UsageError  # noqa: E402
from stpe.models.backends.transformers import vjepa2  # noqa: E402
from stpe.signals import schema  # noqa: E402
from stpe.stages.clips import COLUMNS, Clips  # noqa: E402
from stpe.stages.stage import Request, Span, Window  # noqa: E402
from stpe.video.frame import Frame, SourceInfo  # noqa: E402

LABELS = ["opening", "closing", "pushing", "pulling", "lifting", "dropping"]


@pytest.fixture
def saved(save: Callable[..., tuple[Path, Any]]) -> tuple[Path, Any]:
    config = transformers.VJEPA2Config(
        patch_size=16,
        crop_size=32,
        frames_per_clip=8,
        hidden_size=48,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_pooler_layers=1,
        mlp_ratio=2,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=2,
        pred_zero_init_mask_tokens=False,
        id2label=dict(enumerate(LABELS)),
    )
    folder, model = save("VJEPA2ForVideoClassification", config)
    settings = {"resample": 2, "crop_size": {"height": 32, "width": 32}, **IMAGENET}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))
    return folder, model


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (8, 6, 10, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((1, 16, 16, 1), np.uint8))


def test_equals_transformers(saved: tuple[Path, Any], frames: np.ndarray) -> None:
    folder, model = saved
    found = vjepa2.load({"repository": folder}, {"dtype": "float32"}).classify(frames)
    # The shorter edge becomes int(32 * 256 / 224) = 36 and the centre square is taken.
    planes = torch.cat([normalised(frame, 36, 60, "bilinear") for frame in frames])
    clip = planes[None, :, :, 2:34, 14:46]
    with torch.inference_mode():
        logits = model(pixel_values_videos=clip).logits[0]
        features = model.vjepa2(pixel_values_videos=clip, skip_predictor=True).last_hidden_state
        pooled = model.pooler(features)[0]
        past = model.vjepa2(pixel_values_videos=clip[:, :4], skip_predictor=True).last_hidden_state
        ids = torch.arange(16)[None]
        foreseen = model.vjepa2.predictor(past, [ids[:, :8]], [ids[:, 8:]]).last_hidden_state
    order = logits.argsort(descending=True)[:5]
    assert [label for label, _ in found.classes] == [LABELS[i] for i in order]
    np.testing.assert_allclose([p for _, p in found.classes], logits.softmax(-1)[order], atol=1e-4)
    np.testing.assert_allclose(found.embedding_D, pooled / pooled.norm(), atol=1e-4)
    target = torch.nn.functional.layer_norm(features[:, 8:], (48,))
    assert found.surprise == pytest.approx(float((foreseen - target).abs().mean()), abs=1e-4)


def test_the_stage_writes_surprise(saved: tuple[Path, Any], frames: np.ndarray) -> None:
    model = vjepa2.load({"repository": saved[0]}, {})
    seen = tuple(Frame(i, i / 12.5, frames[i % 8]) for i in range(100))
    window = Window(
        SourceInfo("v", "file", "0", 160, 96, 12.5, 8.0, 100), Span(0, 0.0, 8.0), seen, 0, 100
    )
    table = Clips({"clip_classifier": model}, Request()).process(window).tables["clips"]
    assert table.schema == schema("clips", COLUMNS)
    # A clip lasts four seconds however many frames the model takes of it.
    assert [row["clip_id"] for row in table.to_pylist()] == [0, 50]
    assert all(row["surprise"] > 0 for row in table.to_pylist())


def test_errors_are_one_line(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    model = vjepa2.load({"repository": folder}, {})
    with pytest.raises(UsageError):
        model.classify(np.zeros((0, 9, 9, 3), np.uint8))
    (folder / "video_preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="video_preprocessor_config"):
        vjepa2.load({"repository": folder}, {})
