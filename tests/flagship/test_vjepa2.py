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
from stpe.models.catalog import catalog  # noqa: E402
from stpe.models.clip_input import ClipInput, clip_input, trained_on  # noqa: E402
from stpe.models.loader import resolve  # noqa: E402
from stpe.models.notes import noted  # noqa: E402
from stpe.signals import schema  # noqa: E402
from stpe.stages.clips import COLUMNS, Clips  # noqa: E402
from stpe.stages.stage import Request, Span, Window  # noqa: E402
from stpe.video.frame import Frame, Grid, SourceInfo  # noqa: E402

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


@pytest.mark.parametrize("length", [8, 5])
def test_equals_transformers(saved: tuple[Path, Any], frames: np.ndarray, length: int) -> None:
    folder, model = saved
    found = vjepa2.load({"repository": folder}, {"dtype": "float32"}).classify(frames[:length])
    # Every frame is seen once, as many as fill whole tubelets.
    frames = frames[: length - length % 2]
    # The shorter edge becomes int(32 * 256 / 224) = 36 and the centre square is taken.
    planes = torch.cat([normalised(frame, 36, 60, "bilinear") for frame in frames])
    clip = planes[None, :, :, 2:34, 14:46]
    with torch.inference_mode():
        logits = model(pixel_values_videos=clip).logits[0]
        features = model.vjepa2(pixel_values_videos=clip, skip_predictor=True).last_hidden_state
        pooled = model.pooler(features)[0]
        half = len(frames) // 4 * 2
        past = model.vjepa2(pixel_values_videos=clip[:, :half], skip_predictor=True)
        past, ids = past.last_hidden_state, torch.arange(2 * len(frames))[None]
        known = 2 * half  # of 2 x 2 patches a tubelet
        foreseen = model.vjepa2.predictor(past, [ids[:, :known]], [ids[:, known:]])
        foreseen = foreseen.last_hidden_state
    order = logits.argsort(descending=True)[:5]
    assert [label for label, _ in found.classes] == [LABELS[i] for i in order]
    np.testing.assert_allclose([p for _, p in found.classes], logits.softmax(-1)[order], atol=1e-4)
    np.testing.assert_allclose(found.embedding_D, pooled / pooled.norm(), atol=1e-4)
    target = torch.nn.functional.layer_norm(features[:, known:], (48,))
    assert found.surprise == pytest.approx(float((foreseen - target).abs().mean()), abs=1e-4)


def test_the_stage_shows_every_frame_once_at_the_checkpoints_rate(
    saved: tuple[Path, Any], frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"fps": 5, "crop_size": 32, **IMAGENET}
    (saved[0] / "video_preprocessor_config.json").write_text(json.dumps(settings))
    chosen = resolve("flagship", {"clip_classifier": str(saved[0])}).models
    assert Clips.grid_for(chosen) == Grid("clips", fps=5.0, short_side=36)
    assert Clips.grid_for({}) == Clips.grid
    model = vjepa2.load({"repository": saved[0]}, {})
    shown: list[np.ndarray] = []
    pixels = model._pixels
    monkeypatch.setattr(model, "_pixels", lambda clip: shown.append(clip) or pixels(clip))
    source = SourceInfo("v", "file", "0", 160, 96, 5.0, 4.0, 20)

    def rows(count: int, fps: float) -> list[dict[str, Any]]:
        seen = tuple(Frame(i, i / fps, np.full_like(frames[0], i)) for i in range(count))
        window = Window(source, Span(0, 0.0, count / fps), seen, 0, count)
        table = Clips({"clip_classifier": model}, Request()).process(window).tables["clips"]
        assert table.schema == schema("clips", COLUMNS)
        return table.to_pylist()

    with noted() as notes:
        three = rows(20, 5.0)  # of 8 frames at most
    assert [row["clip_id"] for row in three] == [0, 7, 13]
    assert all(row["surprise"] > 0 for row in three)
    assert [clip[:, 0, 0, 0].tolist() for clip in shown] == [
        list(range(6)), list(range(7, 13)), list(range(13, 19)),
    ]  # fmt: skip
    assert not notes
    assert rows(4, 5.0) == []
    with noted() as notes:
        assert len(rows(4, 2.0)) == 1
    assert "trained on 5 frames a second and the video has fewer" in notes[0]


@pytest.mark.parametrize(
    ("model", "classes", "frames", "crop", "fps"),
    [("vjepa2-vitg-ssv2", 174, 64, 384, 6.0), ("vjepa2-vitl-ssv2", 174, 16, 256, 3.0),
     (None, 48, 32, 256, 15.0), (None, 6, 8, 32, 4.0)],
)  # fmt: skip
def test_each_checkpoint_has_the_rate_and_size_of_its_recipe(
    model: str | None, classes: int, frames: int, crop: int, fps: float
) -> None:
    config = {
        "frames_per_clip": frames,
        "crop_size": crop,
        "id2label": dict.fromkeys(range(classes)),
    }
    told = trained_on(config, {"crop_size": {"height": crop, "width": crop}})
    assert told == ClipInput(frames=frames, fps=fps, short_side=int(crop * 256 / 224))
    assert model is None or clip_input(catalog().model(model)) == told
    assert trained_on(config, {"fps": 2, "size": {"shortest_edge": 2 * crop}}).fps == 2


def test_errors_are_one_line(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    model = vjepa2.load({"repository": folder}, {})
    with pytest.raises(UsageError):
        model.classify(np.zeros((0, 9, 9, 3), np.uint8))
    (folder / "video_preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="video_preprocessor_config"):
        vjepa2.load({"repository": folder}, {})
