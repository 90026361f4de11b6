"""CUDA graphs give what the forward gives; without a GPU a forward runs as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.models.backends.transformers import dinov3  # noqa: E402
from stpe.models.torch_runtime.graphs import RECURS, Graphs  # noqa: E402


def test_without_a_gpu_the_forward_runs_as_it_is() -> None:
    calls = []
    forward = Graphs(lambda x, scale=1: calls.append(scale) or x * scale)
    for _ in range(RECURS + 2):
        assert forward(torch.ones(3), scale=2).tolist() == [2, 2, 2]
    assert calls == [2] * (RECURS + 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_a_replay_equals_the_forward(save: Any, picture: np.ndarray) -> None:
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    folder: Path = save("DINOv3ViTModel", config)[0]
    plain, graphs = (
        dinov3.load({"repository": folder}, {"patches": 60, "dtype": "float32", "graphs": on})
        for on in (False, True)
    )
    images = [np.roll(picture, i, axis=1) for i in range(6)]
    for image in images:  # the first calls of a shape are not replays
        np.testing.assert_allclose(
            graphs.embed([image])[0].global_D, plain.embed([image])[0].global_D, atol=1e-4
        )
    assert graphs._network.model.forward._graphs, "nothing was recorded"
