"""Image features: the self-supervised backbone (DINOv2 ViT-S/14) under a saliency network.

The saliency fine-tune bends the last blocks, so embedding and dense features are read after
block 9 of 12; the saliency map itself is the network's own output.
Paper: Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.backends.openvino.fit import fit_size, resized
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32, ImageFeatures
from stpe.video.frame import ImageHW3

PATCH = 14
TOKENS = 576  # 18 x 32 at 16:9
RESIZE = "/backbone/embeddings/Resize"
BLOCK_9 = "/backbone/encoder/layer.8/Add_1"
NORM_10 = "/backbone/encoder/layer.9/norm1/Add_1"
SALIENCY = "/decoder/final_conv/Conv"
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> VitFocus:
    """`files` holds `vit_s_focus.onnx`; `options` may set `saliency` to false, a third cheaper."""
    return VitFocus(files["vit_s_focus.onnx"], saliency=bool(options.get("saliency", True)))


class VitFocus:
    """Role `image_embedder`. Frames of one size share one compiled graph.

    Args:
        path: the ONNX file.
        saliency: also run the last three blocks and the saliency head.

    Raises:
        ModelError: the file is not that network.
    """

    dimension = 384

    def __init__(self, path: Path, *, saliency: bool = True) -> None:
        try:
            network = ov.Core().read_model(str(path))
        except RuntimeError as error:
            raise ModelError(f"{path.name}: the graph cannot be read: {error}") from error
        nodes = {node.get_friendly_name(): node for node in network.get_ops()}
        wanted = [BLOCK_9, NORM_10] + [SALIENCY] * saliency
        missing = [name for name in [RESIZE, *wanted] if name not in nodes]
        if missing:
            raise ModelError(f"{path.name}: not the network expected: it has no {missing[0]}")
        _resize_in_two_axes(nodes[RESIZE])
        outputs = [nodes[name].output(0) for name in wanted]
        self._session = Session(ov.Model(outputs, network.get_parameters()), name="vit_s_focus")
        self._input = network.inputs[0].any_name

    def embed(self, images: Sequence[ImageHW3]) -> list[ImageFeatures]:
        """Features of each image, on a grid of at most TOKENS patches that keeps its aspect.

        `global_D` is the class token as block 10 reads it (its layer norm spreads the cosines of
        unrelated images apart); `dense_hwD` the patches after block 9, layer-normalised.
        """
        return [self._embed(image) for image in images]

    def _embed(self, image: ImageHW3) -> ImageFeatures:
        width, height = fit_size(image.shape[1], image.shape[0], PATCH, TOKENS * PATCH * PATCH)
        rows, columns = height // PATCH, width // PATCH
        small = resized(image, width, height).astype(np.float32)
        pixels = np.ascontiguousarray(((small - MEAN) / STD).transpose(2, 0, 1)[None])
        block, normed, *maps = self._session.run({self._input: pixels})
        token = normed[0, 0].astype(np.float32)
        patches = block[0, 1:].reshape(rows, columns, self.dimension)
        return ImageFeatures(
            global_D=token / np.linalg.norm(token),
            dense_hwD=_standardise(patches).astype(np.float16),
            saliency_hw=_pool(maps[0][0, 0], rows, columns) if maps else None,
        )

    def close(self) -> None:
        """Free the compiled graphs."""
        self._session.close()


def _resize_in_two_axes(resize: ov.Node) -> None:
    """Have the position encoding resized in height and width alone.

    The file asks for all four axes, two of which keep their size. The values are the same, but the
    runtime, which does this once while it compiles, took four seconds for it.
    """
    axes = ov.opset11.constant(np.array([2, 3]))
    sizes = ov.opset11.gather(resize.input_value(1), axes, ov.opset11.constant(np.array(0)))
    given = resize.get_attributes()
    kept = {name: given[name] for name in given if not name.startswith("pads")}
    faster = ov.opset11.interpolate(resize.input_value(0), sizes, axes=axes, **kept)
    resize.output(0).replace(faster.output(0))


def _standardise(x: NDArray[Any]) -> F32:
    """Zero mean, unit variance over the last axis."""
    x = x.astype(np.float32)
    x = x - x.mean(-1, keepdims=True)
    return np.asarray(x / (x.std(-1, keepdims=True) + 1e-6), np.float32)


def _pool(logits: NDArray[Any], rows: int, columns: int) -> F32:
    """Saliency logits to probabilities averaged within each patch."""
    probability = 1 / (1 + np.exp(-logits.astype(np.float32)))
    return np.asarray(cv2.resize(probability, (columns, rows), interpolation=cv2.INTER_AREA))
