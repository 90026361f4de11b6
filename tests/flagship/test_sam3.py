"""SAM 3 through the real loading path equals direct transformers calls, prompt by prompt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import SAM3, normalised, save_sam3, tiny_sam3

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from stpe.errors import ModelError, OutOfMemoryError  # noqa: E402
from stpe.models.backends.transformers import sam3  # noqa: E402
from stpe.models.memory import planner  # noqa: E402
from stpe.models.memory.device import Cpu  # noqa: E402
from stpe.models.memory.planner import DeviceMemory  # noqa: E402
from stpe.models.roles import GuessedSegmenter  # noqa: E402

CONCEPTS = ["person", "red ball", "a small dog", "door", "person in blue"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_sam3(transformers.Sam3VideoModel(tiny_sam3()).eval(), tmp_path)
    return tmp_path


@pytest.fixture
def segmenter(folder: Path) -> sam3.Sam3:
    return sam3.load({"repository": folder}, {"dtype": "float32", "prompts": 3})


def enlarged(maps: Any) -> Any:
    return torch.nn.functional.interpolate(maps[None], (96, 160), mode="bilinear")[0]


def test_words_equal_one_call_a_concept(
    folder: Path, segmenter: sam3.Sam3, picture: np.ndarray
) -> None:
    model = transformers.Sam3Model.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = normalised(picture, 112, 112, "bilinear", SAM3)
    expected = []
    for concept in CONCEPTS:
        words = tokenizer(concept, padding="max_length", max_length=32, return_tensors="pt")
        with torch.inference_mode():
            out = model(pixel_values=pixels, **words)
        scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
        masks = enlarged(out.pred_masks[0].sigmoid()) > 0.5
        expected += [
            (concept, float(s), b.numpy(), m.numpy())
            for s, b, m in zip(scores, out.pred_boxes[0], masks, strict=True)
        ]
    expected.sort(key=lambda e: -e[1])
    threshold = (expected[20][1] + expected[21][1]) / 2
    found, masks = segmenter.from_text(segmenter.encode(picture), CONCEPTS, threshold)
    assert found.labels == tuple(e[0] for e in expected[:21])
    np.testing.assert_allclose(found.scores_N, [e[1] for e in expected[:21]], atol=1e-4)
    size = np.array([160, 96, 160, 96])
    boxes = np.clip(np.array([e[2] for e in expected[:21]]) * size, 0, size)
    np.testing.assert_allclose(found.boxes_N4, boxes, atol=1e-4 * 160)
    assert (masks.masks_NHW == np.array([e[3] for e in expected[:21]])).mean() > 0.9999
    nothing, no_masks = segmenter.from_text(segmenter.encode(picture), CONCEPTS, 1.0)
    assert len(nothing) == 0
    assert no_masks.masks_NHW.shape == (0, 96, 160)


def test_in_bfloat16_boxes_are_as_exact_as_in_float32(
    folder: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the backbone is coarse; SAM 3 wholly in bfloat16 is off by hundredfold."""
    tensors = load_file(folder / "model.safetensors")
    for weights in tensors.values():  # wide enough that what is seen decides the boxes
        weights.mul_(4 if weights.dim() > 1 else 1)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    def told(segmenter: sam3.Sam3) -> np.ndarray:
        found, _ = segmenter.from_text(segmenter.encode(picture), CONCEPTS[:1], -1.0)
        assert len(found) == 12, "every query"
        return found.boxes_N4

    def apart(boxes: np.ndarray, others: np.ndarray) -> float:
        """Pixels from a box to the nearest of the others, at most."""
        return float(np.abs(boxes[:, None] - others).max(-1).min(1).max())

    exact, mixed = (
        sam3.load({"repository": folder}, {"dtype": name}) for name in ("float32", "bfloat16")
    )
    weights = {w.dtype for w in mixed._detector.model.parameters()}
    assert weights == {torch.float32}
    seen = [s.encode(picture).tokens_1SD for s in (exact, mixed)]
    assert (seen[0] - seen[1]).abs().max() > 1e-3, "the backbone did not run in bfloat16"
    boxes = told(exact)
    off = apart(told(mixed), boxes)
    exact._detector.model.to(torch.bfloat16)
    monkeypatch.setattr(exact._detector, "dtype", torch.bfloat16)
    exact._texts.clear()
    wholly = apart(told(exact), boxes)
    assert off < 0.01 < 0.1 < wholly, (off, wholly)


def test_boxes_and_points_equal_the_tracker(
    folder: Path, segmenter: sam3.Sam3, picture: np.ndarray
) -> None:
    model = transformers.Sam3TrackerModel.from_pretrained(folder).eval()
    pixels = normalised(picture, 112, 112, "bilinear", SAM3)
    generator = np.random.default_rng(1)
    corners = generator.uniform(0, 96, (5, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    points = generator.uniform(0, 96, (2, 3, 2)).astype(np.float32)
    labels = np.array([[1, 1, 0], [1, 0, 0]], np.int32)
    to_model = np.array([112 / 160, 112 / 96], np.float32)
    encoded = segmenter.encode(picture)
    cases = [
        (segmenter.from_boxes(encoded, boxes), {"input_boxes": boxes * np.tile(to_model, 2)}),
        (
            segmenter.from_points(encoded, points, labels),
            {"input_points": points * to_model, "input_labels": labels},
        ),
        (
            segmenter.from_points(encoded, points[:, :1], labels[:, :1]),
            {"input_points": points[:, :1] * to_model, "input_labels": labels[:, :1]},
        ),
    ]
    for number, (found, prompt) in enumerate(cases):
        inputs = {name: torch.from_numpy(value)[None] for name, value in prompt.items()}
        with torch.inference_mode():
            out = model(pixel_values=pixels, multimask_output=number == 2, **inputs)
        quality, best = out.iou_scores[0].max(-1)
        masks = enlarged(out.pred_masks[0, torch.arange(len(best)), best]) > 0
        np.testing.assert_allclose(found.scores_N, quality.clamp(0, 1), atol=1e-4)
        assert found.masks_NHW.any()
        assert (found.masks_NHW == masks.numpy()).mean() > 0.9999


def test_a_guess_gets_every_mask_considered(
    folder: Path, segmenter: sam3.Sam3, picture: np.ndarray
) -> None:
    assert isinstance(segmenter, GuessedSegmenter)
    model = transformers.Sam3TrackerModel.from_pretrained(folder).eval()
    box, points = np.array([20, 10, 70, 80], "f4"), np.array([[40, 30], [50, 60]], "f4")
    found = segmenter.candidates(segmenter.encode(picture), box, points)
    to_model = np.array([112 / 160, 112 / 96], np.float32)
    with torch.inference_mode():
        out = model(
            pixel_values=normalised(picture, 112, 112, "bilinear", SAM3),
            input_boxes=torch.from_numpy(box * np.tile(to_model, 2))[None, None],
            input_points=torch.from_numpy(points * to_model)[None, None],
            input_labels=torch.ones((1, 1, 2), dtype=torch.int32),
        )
    assert found.masks_NHW.shape == (3, 96, 160)
    np.testing.assert_allclose(found.scores_N, out.iou_scores[0, 0].clamp(0, 1), atol=1e-4)
    assert (found.masks_NHW == (enlarged(out.pred_masks[0, 0]) > 0).numpy()).mean() > 0.9999


def test_the_image_is_encoded_once(
    segmenter: sam3.Sam3, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = segmenter._detector.model.vision_encoder.backbone
    assert segmenter._tracker.model.vision_encoder.backbone is backbone
    passes = []
    backbone.register_forward_hook(lambda *_: passes.append(1))
    encoded = segmenter.encode(picture)
    segmenter.from_text(encoded, CONCEPTS)
    segmenter.from_boxes(encoded, np.array([[10, 10, 60, 60]], np.float32))
    segmenter.from_points(encoded, np.full((1, 1, 2), 40, np.float32), np.ones((1, 1), np.int32))
    assert len(passes) == 1


def test_a_replayed_graph_that_writes_to_one_place_changes_no_answer(
    segmenter: sam3.Sam3, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = np.array([[20, 10, 70, 80]], np.float32)
    expected = segmenter.from_boxes(segmenter.encode(picture), box).masks_NHW
    backbone, place = segmenter._detector.model.vision_encoder.backbone, []
    forward = backbone.forward

    def replay(*args: Any, **named: Any) -> Any:
        answer = forward(*args, **named)
        place.append(answer.last_hidden_state)
        answer.last_hidden_state = place[0].copy_(answer.last_hidden_state)
        return answer

    monkeypatch.setattr(backbone, "forward", replay)
    monkeypatch.setattr(segmenter._detector, "_replayed", True)
    encoded = segmenter.encode(picture)
    segmenter.encode(np.zeros_like(picture))
    assert (segmenter.from_boxes(encoded, box).masks_NHW == expected).all()


def test_a_folder_without_tokenizer_is_one_line(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        sam3.load({"repository": folder}, {})


def test_room_for_one_network_alone_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    memory = DeviceMemory(Cpu(), limit=int(1.1 * size))
    monkeypatch.setattr(planner, "_planners", {"cpu": memory})
    with pytest.raises(OutOfMemoryError, match="its weights need"):
        sam3.load({"repository": folder}, {"dtype": "float32"})
