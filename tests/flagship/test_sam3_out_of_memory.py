"""SAM 3 where memory runs out: less at once, the same answers, a note; and never half a step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import save_sam3, tiny_sam3
from sam3_clip import HEIGHT, TEXTS, WIDTH, Clip, save_tiny_video_model

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import OutOfMemoryError  # noqa: E402
from stpe.models.backends.transformers import dinov3, sam3, sam3_detection, sam3_video  # noqa: E402
from stpe.models.memory import planner  # noqa: E402
from stpe.models.notes import noted  # noqa: E402
from stpe.models.roles import VideoFrame, VideoPrompt  # noqa: E402

CONCEPTS = ["person", "red ball", "a small dog", "door"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model of another test on the device."""
    monkeypatch.setattr(planner, "_planners", {})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """limited(owner, method, count of) -> [n]: as on a device that holds n at once there."""

    def limit(owner: Any, method: str, count: Callable[..., int]) -> list[int]:
        there, holds = getattr(owner, method), [1 << 30]

        def small(*args: Any, **named: Any) -> Any:
            if count(*args, **named) > holds[0]:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
            return there(*args, **named)

        monkeypatch.setattr(owner, method, small)
        return holds

    return limit


def test_prompts_of_an_image_are_halved(
    tmp_path: Path, picture: np.ndarray, limited: Callable[..., list[int]]
) -> None:
    torch.manual_seed(0)
    save_sam3(transformers.Sam3VideoModel(tiny_sam3()).eval(), tmp_path)
    segmenter = sam3.load({"repository": tmp_path}, {"dtype": "float32", "prompts": 4})
    words = limited(sam3, "decode", lambda model, scene, words, *_: len(words))
    prompts = limited(
        transformers.Sam3TrackerModel,
        "forward",
        lambda _, input_boxes=None, input_points=None, **__: (
            input_boxes if input_points is None else input_points
        ).shape[1],
    )
    passes = limited(segmenter._detector.model.vision_encoder, "forward", lambda *_: 1)
    boxes = np.array([[10, 10, 60 + i, 60] for i in range(4)], np.float32)
    points, labels = boxes.reshape(4, 2, 2), np.ones((4, 2), np.int32)

    def answers() -> list[Any]:
        encoded = segmenter.encode(picture)
        found, masks = segmenter.from_text(encoded, CONCEPTS, 0.0)
        kinds = segmenter.from_boxes(encoded, boxes), segmenter.from_points(encoded, points, labels)
        return [found.boxes_N4, masks.scores_N, *(k.masks_NHW for k in kinds)]

    answers()  # what one takes is measured before there is a batch
    whole = answers()
    words[0], prompts[0] = 2, 1
    with noted() as notes:
        halved = answers()
    for expected, found in zip(whole, halved, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    for told in ("concept in 160x96", "box in 160x96", "prompt of 2 points in 160x96"):
        assert any(f"4 x {told} did not fit into the memory of cpu" in n for n in notes), notes
    assert any(n.endswith("the batch was reduced to 1") for n in notes)
    with noted() as notes:
        segmenter.from_boxes(segmenter.encode(picture), boxes)
    assert notes == [], "what fits is remembered"

    folder = tmp_path / "other"
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.DINOv3ViTModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    dinov3.load({"repository": folder}, {})
    passes[0] = 0
    with noted() as notes, pytest.raises(OutOfMemoryError, match=r"needs at least 2\.68 GB"):
        segmenter.encode(picture)
    assert [n.partition(" fit into ")[2] for n in notes] == [
        "the memory of cpu beside other, which was moved out"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam3")
    save_tiny_video_model(folder)
    return folder


def same(found: list[VideoFrame], expected: list[VideoFrame], within: float = 0.0) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [(o.id, o.label) for o in one.objects] == [(o.id, o.label) for o in other.objects]
        for a, b in zip(one.objects, other.objects, strict=True):
            assert a.score == pytest.approx(b.score, abs=within)
            assert (a.mask_HW == b.mask_HW).mean() >= 1 - within


def test_a_session_does_less_at_once_and_loses_nothing(
    folder: Path, limited: Callable[..., list[int]]
) -> None:
    words = limited(sam3_detection, "decode", lambda model, scene, words, *_: len(words))
    objects = limited(
        transformers.Sam3TrackerVideoModel,
        "_encode_new_memory",
        lambda _, seen=None, masks=None, *rest, **named: len(
            named.get("pred_masks_high_res", masks)
        ),
    )
    disc = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([50, 60])[:, None, None])) < 30

    def walk(
        change: Callable[[sam3_video.Sam3Video], None],
    ) -> tuple[list[VideoFrame], list[str]]:
        model = sam3_video.load({"repository": folder}, {"dtype": "float32"})
        session = model.open(Clip(6))
        with noted() as notes:
            frames = [session.prompt(0, VideoPrompt(texts=TEXTS))]
            frames.append(session.prompt(0, VideoPrompt(mask_HW=disc)))
            change(model)
            frames += session.propagate("forward")
        model.close()
        return frames, notes

    def asked(model: sam3_video.Sam3Video) -> None:
        model.at_once.words = model.at_once.objects = 1

    def forced(model: sam3_video.Sam3Video) -> None:
        words[0] = objects[0] = 1

    whole, notes = walk(lambda model: None)
    assert max(len(frame.objects) for frame in whole) > 2
    chosen, more = walk(asked)
    assert [*notes, *more] == []
    halved, notes = walk(forced)
    assert len(notes) == 1
    assert notes[0].endswith("of cpu; now at most 1 words and 1 objects at once")
    same(halved, chosen)  # to the bit: nothing is left of the try that failed
    same(halved, whole, within=0.01)  # memories are kept in bfloat16
    words[0] = objects[0] = 1 << 30

    # A step that fails for good has changed nothing: the walk goes on from where it was.
    session = sam3_video.load({"repository": folder}, {"dtype": "float32"}).open(Clip(6))
    session.prompt(0, VideoPrompt(texts=TEXTS))
    session.prompt(0, VideoPrompt(mask_HW=disc))
    frames = list(session.propagate("forward", max_frames=2))
    held = session.held_bytes
    objects[0] = 0
    with pytest.raises(OutOfMemoryError, match=r"a frame of up to \d+ objects needs at least"):
        next(session.propagate("forward", 2))
    assert session.held_bytes <= held
    objects[0] = 1 << 30
    same([*frames, *session.propagate("forward", 2)], whole[2:], within=0.01)
