"""Twenty concepts against one, on SAM 3's architecture with random weights.

    python benchmarks/sam3_prompts.py [--scale 2] [--rounds 3]

The model is the real one with every width and the image's side divided by `--scale` (2 by
default, which a CPU can do; 1 is the real size), and every layer kept, so that the proportions of
encoder and decoder stay. Prints the time from pixels to masks, in CPU seconds on a CPU and wall
seconds on a GPU, for one and for twenty concepts, where no concept is present, where each has an
instance, and for one call of transformers a concept, which shares nothing.
"""

from __future__ import annotations

import argparse
import json
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from stpe.models.backends.transformers import sam3

CONCEPTS = [f"thing {letter}" for letter in string.ascii_lowercase[:20]]


def config(scale: int, side: int | None = None) -> Any:
    """The real Sam3VideoConfig, narrower by `scale`, for images of `side` (also by `scale`)."""
    real = transformers.Sam3VideoConfig().to_dict()

    def narrow(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        widths = ("hidden_size", "intermediate_size", "mlp_dim", "embed_dim", "hidden_dim")
        kept = {}
        for key, value in node.items():
            divided = str(key).endswith((*widths, "intermediate_dim"))
            kept[key] = value // scale if divided and isinstance(value, int) else narrow(value)
        return kept

    small = transformers.Sam3VideoConfig.from_dict(narrow(real))
    side = side or 1008 // scale
    vision = small.detector_config.vision_config
    small.image_size = side
    vision.backbone_config.window_size = side // 42
    vision.backbone_config.pretrain_image_size = side // 3
    cells = side // 14
    vision.backbone_feature_sizes = [[4 * cells] * 2, [2 * cells] * 2, [cells] * 2]
    small.tracker_config.vision_config = vision
    small.low_res_mask_size = 4 * cells
    return small


def save(folder: Path, config: Any) -> None:
    """A repository folder as the hub has it, with random weights."""
    torch.manual_seed(0)
    model = transformers.Sam3VideoModel(config)
    model.config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    letters = string.ascii_lowercase + string.digits
    words = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[])
    tokenizer.save_pretrained(folder)


def seconds(work: Callable[[], Any], rounds: int, on_gpu: bool) -> float:
    """Median of `rounds` after one unmeasured round."""
    clock = time.perf_counter if on_gpu else time.process_time
    taken = []
    for _ in range(rounds + 1):
        start = clock()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return float(np.median(taken[1:]))


def main() -> None:
    """Measure and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-naive", action="store_true", help="leave transformers alone out")
    asked = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    image = np.random.default_rng(0).integers(0, 255, (540, 960, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder, config(asked.scale))
        segmenter = sam3.load({"repository": folder}, {})

        def run(concepts: list[str], threshold: float) -> int:
            found, _ = segmenter.from_text(segmenter.encode(image), concepts, threshold)
            return len(found)

        # A threshold at which each concept keeps about one instance of its queries.
        encoded = segmenter.encode(image)
        encoded.height, encoded.width = 4, 4  # no need to enlarge every query's mask
        found, _ = segmenter.from_text(encoded, CONCEPTS, 0.0)
        best = [max(found.scores_N[[x == c for x in found.labels]]) for c in CONCEPTS]
        present = float(min(best)) - 1e-6
        for case, threshold in (("absent", 1.0), ("all present", present)):
            one = seconds(lambda t=threshold: run(CONCEPTS[:1], t), asked.rounds, on_gpu)
            many = seconds(lambda t=threshold: run(CONCEPTS, t), asked.rounds, on_gpu)
            count = run(CONCEPTS, threshold)
            print(
                f"{case}: 1 concept {one:.3f} s, 20 concepts {many:.3f} s, "
                f"ratio {many / one:.2f}, {count} instances",
                flush=True,
            )
        if asked.no_naive:
            return
        model = segmenter._detector.model
        words = segmenter._texts._tokenizer(
            CONCEPTS[0], padding="max_length", max_length=32, return_tensors="pt"
        ).to(model.device)
        side = 1008 // asked.scale
        pixels = torch.zeros(1, 3, side, side, device=model.device, dtype=model.dtype)
        with torch.inference_mode():
            naive = seconds(lambda: model(pixel_values=pixels, **words), asked.rounds, on_gpu)
        print(f"transformers, one call a concept: {naive:.3f} s, 20 are {20 * naive:.3f} s")


if __name__ == "__main__":
    main()
