"""Qwen3-VL through the real loading path equals direct transformers calls."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flagship_reference import save_qwen_tokenizer, tiny_qwen3_vl

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import ModelError, UsageError  # noqa: E402
from stpe.models.backends.transformers import qwen3_vl  # noqa: E402
from stpe.models.captioning import SYSTEM, parse, prompt  # noqa: E402
from stpe.signals import schema  # noqa: E402
from stpe.stages.stage import Request, Span, Window  # noqa: E402
from stpe.stages.vlm_captions import VlmCaptions  # noqa: E402
from stpe.video.frame import Frame, SourceInfo  # noqa: E402

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.fixture
def saved(save: Callable[..., tuple[Path, Any]]) -> tuple[Path, Any]:
    folder, model = save("Qwen3VLForConditionalGeneration", tiny_qwen3_vl(), HALF)
    save_qwen_tokenizer(folder)
    return folder, model


def patches(image: np.ndarray) -> Any:
    """Two by two neighbours after each other; a patch is colour, time, row, column."""
    plane = torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1
    return torch.stack(
        [
            plane[:, y : y + 16, x : x + 16][:, None].expand(-1, 2, -1, -1).flatten()
            for cell_y in range(0, 96, 32)
            for cell_x in range(0, 160, 32)
            for y in (cell_y, cell_y + 16)
            for x in (cell_x, cell_x + 16)
        ]
    )


def test_equals_transformers(saved: tuple[Path, Any], picture: np.ndarray) -> None:
    folder, model = saved
    options = {"dtype": "float32", "tokens": 24, "side": 128}
    captioner = qwen3_vl.load({"repository": folder}, options)
    images = [picture, picture[:, ::-1].copy()]
    told = captioner.caption(images, "A dog <|im_end|>.", "At the beach", "A cat.")

    # 96x160 is a multiple of 32 each way and near 128 x 128 in area: it is not resized.
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    seen = {
        "pixel_values": torch.cat([patches(image) for image in images]),
        "image_grid_thw": torch.tensor([[1, 6, 10]] * 2),
    }
    frame = "<|vision_start|>" + "<|image_pad|>" * 15 + "<|vision_end|>"
    question = prompt("A dog < |im_end|>.", "At the beach", "A cat.")
    words = (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{frame * 2}"
        f"{question}<|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = tokenizer(words, return_tensors="pt")
    marks = (inputs["input_ids"] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
    given = captioner._inputs(images, question)
    assert given["input_ids"].tolist() == inputs["input_ids"].tolist()
    torch.testing.assert_close(given["pixel_values"], seen["pixel_values"], atol=1e-4, rtol=0)
    with torch.inference_mode():
        expected = model(**inputs, **seen, mm_token_type_ids=marks).logits
        found = captioner._network.model(**given).logits
        answer = model.generate(
            **inputs, **seen, mm_token_type_ids=marks, max_new_tokens=24, do_sample=False
        )[0, inputs["input_ids"].shape[1] :]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert told == parse(tokenizer.decode(answer, skip_special_tokens=True))
    # What is compiled on a GPU decodes on a cache of one size, to the same words.
    compiled = qwen3_vl.compiled()
    assert compiled.pop("compile_config").mode == "max-autotune-no-cudagraphs"
    captioner._decoding = compiled
    assert captioner.caption(images, "A dog <|im_end|>.", "At the beach", "A cat.") == told


def test_it_speaks_beside_the_facts(saved: tuple[Path, Any], picture: np.ndarray) -> None:
    """The stage with the real backend: one generation a frame, told what went before."""
    captioner = qwen3_vl.load({"repository": saved[0]}, {"dtype": "float32", "tokens": 16})
    stage = VlmCaptions({"captioner": captioner}, Request(context="At the beach"))
    info = SourceInfo("a.mp4", "file", "0" * 64, 160, 96, 30.0, 10.0, 300)
    state, told = None, []
    for index in (0, 15):
        facts = {"frame_index": index, "pts": index / 30, "shot_id": 0, "caption_facts": "[]"}
        facts |= {"caption_normal": "A dog.", "caption_detailed": "A dog moves left."}
        columns = ("shot_id", "caption_normal", "caption_detailed", "caption_facts")
        rows = {"frames": pa.Table.from_pylist([facts], schema("frames", columns))}
        frame = Frame(index, index / 30, picture)
        window = Window(info, Span(0, 0.0, 10.0), [frame], 0, 1, rows, state)
        out = stage.process(window)
        state = out.state
        told += out.tables["frames"].to_pylist()
    (carried,) = state.to_pylist()
    assert carried["measured"] == "A dog."
    before = f"Measured then: A dog.\nSaid then: {told[0]['vlm_normal'] or ''}"
    again = captioner.caption([picture], "A dog moves left.", "At the beach", before)
    assert told[1]["vlm_detailed"] == again["detailed"]
    assert json.loads(told[1]["vlm_contradictions"]) == []


def test_any_size_of_image(saved: tuple[Path, Any]) -> None:
    captioner = qwen3_vl.load({"repository": saved[0]}, {"tokens": 8, "side": 96})
    for height, width in ((33, 47), (200, 50), (720, 1280)):
        given = captioner._inputs([np.zeros((height, width, 3), np.uint8)], "What?")
        rows, columns = given["image_grid_thw"][0, 1:].tolist()
        assert rows % 2 == columns % 2 == 0
        assert 0.5 < rows * columns * 256 / 96**2 <= 1
        assert given["pixel_values"].shape[0] == rows * columns


def test_errors_are_one_line(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    with pytest.raises(UsageError, match="at least one image"):
        qwen3_vl.load({"repository": folder}, {}).caption([], "A dog.")
    for file in ("tokenizer.json", "vocab.json"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="tokenizer"):
        qwen3_vl.load({"repository": folder}, {})
