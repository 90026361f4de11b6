"""Qwen3-VL (Qwen team 2025, arXiv 2511.21631): captions from frames and facts, in process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stpe.errors import UsageError
from stpe.models.backends.openvino.fit import fit_size
from stpe.models.captioning import SYSTEM, Level, parse, prompt
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.models.torch_runtime.transformers_module import from_transformers
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch


class Qwen3VL:
    """Role Captioner.

    Args:
        network: Qwen3VLForConditionalGeneration.
        tokens: words of an answer, at most.
        side: each image is resized to about side x side pixels, its aspect kept.
        decoding: more for `generate`; see `compiled`.
    """

    def __init__(
        self, network: Network, tokens: int, side: int, decoding: Mapping[str, Any]
    ) -> None:
        self._decoding = decoding
        self._network = network
        self._tokens = tokens
        self._side = side
        self._settings = network.processor()
        self._tokenizer = network.tokenizer()
        vision = network.config.vision_config
        self._patch = int(vision.patch_size)
        self._merge = int(vision.spatial_merge_size)
        self._steps = int(vision.temporal_patch_size)

    def caption(
        self, images: Sequence[ImageHW3], facts: str, context: str = "", previous: str = ""
    ) -> dict[Level, str]:
        """Three granularities from one greedy generation.

        Raises:
            UsageError: there is no image.
            ModelError: the images do not fit into the device's memory, or the answer is empty.
        """
        if not images:
            raise UsageError("a caption needs at least one image")
        question = prompt(facts, context, previous)

        def generate() -> Any:
            given = self._inputs(images, question)
            answer = self._network.model.generate(
                **given, max_new_tokens=self._tokens, do_sample=False, **self._decoding
            )
            return answer[0, given["input_ids"].shape[1] :].tolist()

        answer = self._network.call(f"a question about {len(images)} images", generate)
        return parse(self._tokenizer.decode(answer, skip_special_tokens=True))

    def _inputs(self, images: Sequence[ImageHW3], question: str) -> dict[str, torch.Tensor]:
        """One conversation as the model was trained on them: system, images and question."""
        torch = import_torch()
        config = self._network.config
        ids = self._ids(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")
        patches, grids = [], []
        for image in images:
            flat, (rows, columns) = self._patches(image)
            patches.append(flat)
            grids.append((1, rows, columns))
            count = rows * columns // self._merge**2
            ids += [config.vision_start_token_id, *[config.image_token_id] * count]
            ids.append(config.vision_end_token_id)
        # Words of the user's must not pass for the conversation's own marks.
        question = question.replace("<|", "< |")
        ids += self._ids(f"{question}<|im_end|>\n<|im_start|>assistant\n")
        device = self._network.device
        input_ids = torch.tensor([ids], device=device)
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == config.image_token_id).int(),
            "pixel_values": torch.cat(patches),
            "image_grid_thw": torch.tensor(grids, device=device),
        }

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _patches(self, image: ImageHW3) -> tuple[torch.Tensor, tuple[int, int]]:
        """Patches of the image, shown for a whole time step, in the order in which merge x merge
        neighbours follow each other; and their grid (rows, columns)."""
        height, width = image.shape[:2]
        cell = self._patch * self._merge
        columns, rows = fit_size(width, height, cell, self._side * self._side)
        pixels = self._network.pixels([image], (rows, columns), self._settings)[0]
        grid = (rows // self._patch, columns // self._patch)
        split = pixels.reshape(
            3, rows // cell, self._merge, self._patch, -1, self._merge, self._patch
        )
        # 3, rows, row in cell, y, columns, column in cell, x
        ordered = split.permute(1, 4, 2, 5, 0, 3, 6).unsqueeze(5)
        repeated = ordered.expand(*ordered.shape[:5], self._steps, *ordered.shape[6:])
        return repeated.reshape(grid[0] * grid[1], -1), grid

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def compiled() -> dict[str, Any]:
    """For `generate`: each step of decoding runs compiled, on a cache of one size. Not recorded as
    CUDA graphs: those of torch's compiler belong to one thread, and captions come from any."""
    config = from_transformers("CompileConfig")(mode="max-autotune-no-cudagraphs")
    return {"cache_implementation": "static", "compile_config": config}


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Qwen3VL:
    """From a hub repository's folder; `tokens` (default 512) bounds the answer, `side` (default
    640) the size of what the model sees of an image. `graphs` does what `compile` does."""
    wanted = {**options, "compile": options.get("compile") or options.get("graphs")}
    wanted["graphs"] = False
    network = Network(
        "Qwen3VLForConditionalGeneration", files["repository"], wanted, ("model.visual",)
    )
    on_gpu = network.device.startswith("cuda")
    decoding = compiled() if wanted["compile"] and on_gpu else {}
    return Qwen3VL(network, options.get("tokens", 512), options.get("side", 640), decoding)
