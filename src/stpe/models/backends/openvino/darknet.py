"""Darknet networks (a .cfg text and a .weights file of raw float32) as ONNX graphs.

The layers and the weight order are those of AlexeyAB's darknet (github.com/AlexeyAB/darknet);
batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.backends.openvino.graph import Graph, Value, fold_batch_norm

Section = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class YoloHead:
    """How to read one [yolo] output: anchors in network-input pixels, and the centre's gain."""

    anchors_A2: NDArray[np.float32]
    classes: int
    scale_xy: float


def read_cfg(path: Path) -> list[Section]:
    """The sections of a .cfg, in order, each with its options."""
    sections: list[Section] = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.split("#")[0].strip()
        if line.startswith("["):
            sections.append((line.strip("[]"), {}))
        elif "=" in line:
            key, value = line.split("=", 1)
            sections[-1][1][key.strip()] = value.strip()
    return sections


def yolo_heads(sections: list[Section]) -> list[YoloHead]:
    """The [yolo] sections, in the order of the graph's outputs."""
    heads = []
    for kind, options in sections:
        if kind == "yolo":
            anchors = np.array(options["anchors"].split(","), np.float32).reshape(-1, 2)
            mask = [int(i) for i in options["mask"].split(",")]
            scale = float(options.get("scale_x_y", 1))
            heads.append(YoloHead(anchors[mask], int(options["classes"]), scale))
    return heads


def build(sections: list[Section], weights: Path) -> Graph:
    """The network: input `image` 1x3xHxW RGB in 0..1 (H, W multiples of the coarsest stride),
    outputs `yolo_0`, `yolo_1`, ... as 1xAx(5 + classes)xhxw before any activation.

    Raises:
        ModelError: a layer that is not known here, or weights of another network.
    """
    g = Graph("darknet")
    tensors = _Weights(weights)
    layers: list[tuple[Value, int]] = []  # value and channels of each layer
    value, channels, heads = g.input("image", (1, 3, "height", "width")), 3, 0
    for kind, options in sections[1:]:
        if kind == "convolutional":
            value = _convolution(g, value, channels, tensors, options)
            channels = int(options["filters"])
        elif kind == "route":
            value, channels = _route(g, layers, options)
        elif kind == "maxpool":
            size, stride = int(options["size"]), int(options["stride"])
            value = g.op("MaxPool", value, kernel_shape=[size] * 2, strides=[stride] * 2)
        elif kind == "upsample":
            scale = np.array([1, 1, options["stride"], options["stride"]], np.float32)
            value = g.op("Resize", value, None, scale, mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")  # fmt: skip
        elif kind == "yolo":
            g.output(f"yolo_{heads}", value)
            heads += 1
        else:
            raise ModelError(f"{weights.name}: darknet layer [{kind}] is not supported")
        layers.append((value, channels))
    tensors.check_spent()
    return g


def _convolution(
    g: Graph, x: Value, channels: int, tensors: _Weights, options: dict[str, str]
) -> Value:
    out, size = int(options["filters"]), int(options["size"])
    shape = (out, channels, size, size)
    if int(options.get("batch_normalize", 0)):
        beta, gamma, mean, var = (tensors.take(out) for _ in range(4))
        weight, bias = fold_batch_norm(tensors.take(*shape), gamma, beta, mean, var)
    else:
        bias = tensors.take(out)
        weight = tensors.take(*shape)
    pad = size // 2 if int(options.get("pad", 0)) else 0
    y = g.conv(x, weight, bias, stride=int(options.get("stride", 1)), pad=pad)
    match options.get("activation", "linear"):
        case "leaky":
            return str(g.op("LeakyRelu", y, alpha=0.1))
        case "linear":
            return y
        case other:
            raise ModelError(f"darknet activation {other!r} is not supported")


def _route(g: Graph, layers: list[tuple[Value, int]], options: dict[str, str]) -> tuple[Value, int]:
    # Negative numbers count back from this layer, others from the first.
    sources = [layers[int(i)] for i in options["layers"].split(",")]
    groups, group = int(options.get("groups", 1)), int(options.get("group_id", 0))
    parts, total = [], 0
    for value, channels in sources:
        size = channels // groups
        total += size
        if groups > 1:
            bounds = np.array([group * size]), np.array([(group + 1) * size])
            value = g.op("Slice", value, *bounds, np.array([1]))
        parts.append(value)
    return (parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)), total


class _Weights:
    """The float32 stream of a .weights file, read in the order of the layers."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        raw = path.read_bytes()
        if len(raw) < 20 or len(raw) % 4:
            raise ModelError(f"{path.name} is not a darknet weights file")
        major, minor = (int(n) for n in np.frombuffer(raw, np.int32, 2))
        header = 20 if major * 10 + minor >= 2 else 16
        self._data = np.frombuffer(raw, np.float32, offset=header)
        self._at = 0

    def take(self, *shape: int) -> NDArray[np.float32]:
        count = int(np.prod(shape))
        if self._at + count > len(self._data):
            raise ModelError(f"{self._name}: weights end early; they belong to another network")
        self._at += count
        return self._data[self._at - count : self._at].reshape(shape)

    def check_spent(self) -> None:
        if self._at != len(self._data):
            raise ModelError(f"{self._name}: weights left over; they belong to another network")
