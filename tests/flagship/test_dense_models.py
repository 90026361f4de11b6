"""DINOv3 and Depth Anything through the real loading path equal direct transformers calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import normalised

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stpe.errors import ModelError  # noqa: E402
from stpe.models.backends.transformers import depth_anything, dinov3  # noqa: E402

Save = Callable[..., tuple[Path, Any]]


def tiny_dinov3() -> Any:
    return transformers.DINOv3ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        patch_size=16,
        image_size=64,
        num_register_tokens=4,
    )


def test_dinov3_equals_transformers(save: Save, picture: np.ndarray) -> None:
    folder, model = save("DINOv3ViTModel", tiny_dinov3())
    embedder = dinov3.load({"repository": folder}, {"patches": 60, "dtype": "float32"})
    first, second = embedder.embed([picture, picture[:, ::-1].copy()])
    with torch.inference_mode():
        tokens = model(pixel_values=normalised(picture, 96, 160)).last_hidden_state[0]
    expected = tokens[0] / tokens[0].norm()
    np.testing.assert_allclose(first.global_D, expected, atol=1e-4)
    np.testing.assert_allclose(first.dense_hwD.reshape(60, 32), tokens[5:], atol=2e-3)
    assert first.dense_hwD.shape == (6, 10, 32)
    assert not np.allclose(first.global_D, second.global_D)
    # A batch is prepared at once, and nothing but its pixels travels to the device.
    network, done = embedder._network, []

    class Told(TorchDispatchMode):
        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), named: Any = None) -> Any:
            done.append(op.__name__.partition(".")[0])
            return op(*args, **(named or {}))

    with Told():
        network.pixels([picture, picture[::-1].copy(), picture], (64, 96), embedder._settings)
    assert [name for name in done if "upsample" in name] == ["_upsample_bicubic2d_aa"]
    assert done.count("lift_fresh") == 1, "only the one new image is brought there"
    assert embedder.dimension == 32


def tiny_depth(kind: str) -> Any:
    backbone = transformers.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=14,
        image_size=70,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=32,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        depth_estimation_type=kind,
        max_depth=20,
    )


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_depth_anything_equals_transformers(save: Save, picture: np.ndarray, kind: str) -> None:
    folder, model = save("DepthAnythingForDepthEstimation", tiny_depth(kind))
    estimator = depth_anything.load({"repository": folder}, {"side": 98, "dtype": "float32"})
    (depth,) = estimator.depth([picture])
    assert depth.depth_HW.shape == (96, 160)
    assert (depth.depth_HW > 0).all()
    with torch.inference_mode():
        raw = model(pixel_values=normalised(picture, 98, 168)).predicted_depth
        raw = torch.nn.functional.interpolate(raw[:, None], (96, 160), mode="bilinear")[0, 0]
    if kind == "metric":
        assert depth.unit == "metres"
        np.testing.assert_allclose(depth.depth_HW, raw, atol=1e-4)
    else:
        assert depth.unit == "relative"
        inverse = 1 / torch.maximum(raw, raw.max() * 1e-2)
        np.testing.assert_allclose(depth.depth_HW, inverse / inverse.median(), rtol=1e-3)


def test_in_bfloat16_depth_has_no_bands(save: Save, picture: np.ndarray) -> None:
    folder, model = save("DepthAnythingForDepthEstimation", tiny_depth("metric"))
    with torch.no_grad():  # wide enough that the picture is to be seen in the depth
        for weights in model.parameters():
            weights.mul_(3 if weights.dim() > 1 else 1)
    model.save_pretrained(folder)
    estimator = depth_anything.load({"repository": folder}, {"side": 98, "dtype": "bfloat16"})
    pixels = normalised(picture, 98, 168)
    with torch.inference_mode():
        exact, ours = (m(pixel_values=pixels) for m in (model, estimator._network.model))
        wholly = model.to(torch.bfloat16)(pixel_values=pixels.bfloat16())
    depths = [each.predicted_depth for each in (exact, ours, wholly)]
    steps = [len(depth.unique()) for depth in depths]
    assert steps[1] > 10 * steps[2], steps
    off = [float((depth.float() - depths[0]).abs().max()) for depth in depths[1:]]
    assert 0 < off[0] < off[1] / 3, off


@pytest.mark.parametrize("shape", [(480, 854), (854, 480), (240, 320), (1080, 1920), (96, 160)])
def test_depth_has_the_size_of_the_checkpoints_own_preprocessing(shape: tuple[int, int]) -> None:
    from transformers.models.dpt.image_processing_pil_dpt import get_resize_output_image_size

    kept = {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True}
    theirs = get_resize_output_image_size(np.zeros((3, *shape)), (518, 518), True, 14)
    assert depth_anything.input_size(*shape, {**kept, "ensure_multiple_of": 14}) == (
        theirs.height, theirs.width,
    )  # fmt: skip
    stretched = {"size": {"height": 384, "width": 512}, "keep_aspect_ratio": False}
    assert depth_anything.input_size(*shape, stretched) == (384, 512)


def test_damaged_folders_are_one_line_errors(save: Save, tmp_path: Path) -> None:
    folder, _ = save("DINOv3ViTModel", tiny_dinov3())
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="another model"):
        dinov3.load({"repository": folder}, {})
    weights.unlink()
    with pytest.raises(ModelError, match="has no safetensors"):
        dinov3.load({"repository": folder}, {})
    weights.write_bytes(whole)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="preprocessor_config"):
        dinov3.load({"repository": folder}, {})
    with pytest.raises(ModelError):
        dinov3.load({"repository": tmp_path / "nothing"}, {})
