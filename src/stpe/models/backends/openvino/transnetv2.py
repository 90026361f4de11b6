"""TransNetV2 (Soucek and Lokoc 2020, arXiv:2008.04838): shot transitions from 100-frame windows.

The graph is written from the checkpoint's tensors. Its colour-histogram branch counts pixels,
which graphs do badly, so the histograms are made here and enter as an input.

Shape legend: T frames of a window, C channels, L similarity lags.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.models.backends.openvino.graph import Graph, Value, fold_batch_norm
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32
from stpe.models.tensors import Tensors, read_torch
from stpe.models.weights import derived

WINDOW = 100
CONTEXT = 25
LAGS = 101
GRAPH_VERSION = "1"
_DILATIONS = (1, 2, 4, 8)


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> TransNetV2:
    """`files` holds `transnetv2.pth`; option `precision` is "f32" or "bf16"."""
    checkpoint = files["transnetv2.pth"]
    graph = derived(
        [checkpoint],
        "transnetv2.onnx",
        GRAPH_VERSION,
        lambda path: build(read_torch(checkpoint)).save(path),
    )
    return TransNetV2(Session(graph, name="transnetv2", precision=options.get("precision")))


class TransNetV2:
    """The `shot_detector` role."""

    frame_size = (48, 27)
    context = CONTEXT

    def __init__(self, session: Session) -> None:
        self._session = session

    def transitions(self, frames_THWC: NDArray[np.uint8]) -> tuple[F32, F32]:
        """(cut_T, gradual_T) of T frames 27x48x3.

        The network sees 100 frames at once; more are covered by windows that overlap by half,
        of which the inner part counts, and fewer are completed by repeating the last frame.
        The network marks the last frame before a cut; `cut` is moved to the first one after it.
        """
        count = len(frames_THWC)
        single, many = np.zeros(count, np.float32), np.zeros(count, np.float32)
        start = 0
        while True:
            window = frames_THWC[start : start + WINDOW]
            last = start + WINDOW >= count
            repeats = WINDOW - len(window)
            if repeats:
                window = np.concatenate([window, np.repeat(window[-1:], repeats, axis=0)])
            inputs: list[NDArray[Any]] = [window[None], histogram_band(window)[None]]
            outputs = [o[0, :, 0] for o in self._session.run(inputs)]
            inner = 0 if start == 0 else CONTEXT
            outer = count - start if last else WINDOW - CONTEXT
            single[start + inner : start + outer] = outputs[0][inner:outer]
            many[start + inner : start + outer] = outputs[1][inner:outer]
            if last:
                break
            start += WINDOW - 2 * CONTEXT
        cut = np.concatenate([np.zeros(1, np.float32), single[:-1]])
        return cut, many

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()


def histogram_band(frames_THWC: NDArray[np.uint8]) -> F32:
    """Cosine similarity of 512-bin colour histograms, T x 101 lags (-50 to 50), 0 outside."""
    count = len(frames_THWC)
    r, g, b = (frames_THWC[..., c].astype(np.int64) >> 5 for c in range(3))
    bins = ((r << 6) + (g << 3) + b).reshape(count, -1) + (np.arange(count) << 9)[:, None]
    counts = np.bincount(bins.ravel(), minlength=count << 9).reshape(count, 512)
    histograms = counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    half = LAGS // 2
    similar = np.pad(histograms @ histograms.T, ((0, 0), (half, half)))
    lags = np.arange(count)[:, None] + np.arange(LAGS)
    return np.take_along_axis(similar, lags, axis=1).astype(np.float32)


def build(tensors: Tensors) -> Graph:
    """The network, window in, sigmoid of both heads out."""
    g = Graph("transnetv2")
    frames = g.input("frames", (1, WINDOW, 27, 48, 3), "uint8")
    histogram = g.input("histogram", (1, WINDOW, LAGS))
    x = g.transpose(g.op("Cast", frames, to=1), 0, 4, 1, 2, 3)
    x = g.op("Mul", x, np.float32(1 / 255))

    features = []
    for stack in range(3):
        first = g.op("Relu", _dilated(g, x, tensors, f"SDDCNN.{stack}.DDCNN.0"))
        second = g.op("Relu", _dilated(g, first, tensors, f"SDDCNN.{stack}.DDCNN.1"))
        x = g.op(
            "AveragePool", g.op("Add", second, first), kernel_shape=[1, 2, 2], strides=[1, 2, 2]
        )
        features.append(x)

    flat = g.reshape(g.transpose(x, 0, 2, 3, 4, 1), 1, WINDOW, -1)
    similarity = _similarity(g, features, tensors)
    colour = _dense(g, histogram, tensors, "color_hist_layer.fc")
    joined = g.op("Concat", g.op("Relu", colour), similarity, flat, axis=2)
    hidden = g.op("Relu", _dense(g, joined, tensors, "fc1"))
    for name, layer in (("single", "cls_layer1"), ("many", "cls_layer2")):
        g.output(name, g.op("Sigmoid", _dense(g, hidden, tensors, layer)))
    return g


def _dense(g: Graph, x: Value, tensors: Tensors, name: str) -> Value:
    return g.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _dilated(g: Graph, x: Value, tensors: Tensors, name: str) -> Value:
    """Four (2+1)-D convolutions of growing temporal dilation side by side, normalised."""
    gamma, beta, mean, var = (
        tensors[f"{name}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    spatial = [tensors[f"{name}.Conv3D_{d}.layers.0.weight"] for d in _DILATIONS]
    # One spatial convolution for all four branches, since they share their input.
    wide = g.conv(x, np.concatenate(spatial), pad=(0, 1, 1))
    branches = g.op("Split", wide, np.asarray([len(w) for w in spatial], np.int64), n=4, axis=1)
    outputs = []
    for number, (dilation, branch) in enumerate(zip(_DILATIONS, branches, strict=True)):
        weight = tensors[f"{name}.Conv3D_{dilation}.layers.1.weight"]
        part = slice(number * len(weight), (number + 1) * len(weight))
        folded, bias = fold_batch_norm(
            weight, gamma[part], beta[part], mean[part], var[part], eps=1e-3
        )
        outputs.append(
            g.conv(branch, folded, bias, pad=(dilation, 0, 0), dilation=(dilation, 1, 1))
        )
    return str(g.op("Concat", *outputs, axis=1))


def _similarity(g: Graph, features: list[Value], tensors: Tensors) -> Value:
    """Cosine similarity of every frame with those up to 50 away, through a dense layer."""
    means = [g.op("ReduceMean", f, axes=[3, 4], keepdims=0) for f in features]
    x = g.transpose(g.op("Concat", *means, axis=1), 0, 2, 1)
    x = _dense(g, x, tensors, "frame_sim_layer.projection")
    norm = g.op("ReduceL2", x, axes=[2], keepdims=1)
    x = g.op("Div", x, g.op("Max", norm, np.float32(1e-12)))
    square = g.op("MatMul", x, g.transpose(x, 0, 2, 1))
    # Row i of the band is entries i to i+100 of the padded row. Read with rows one longer than
    # they are, the padded matrix shifts by one a row, which lines the bands up in columns.
    half = LAGS // 2
    padded = g.op("Pad", square, np.asarray([0, 0, half, 0, 0, half], np.int64))
    line = g.reshape(padded, 1, -1)
    line = g.op("Pad", line, np.asarray([0, 0, 0, WINDOW], np.int64))
    shifted = g.reshape(line, 1, WINDOW, WINDOW + LAGS)
    band = g.op("Slice", shifted, *(np.asarray([v], np.int64) for v in (0, LAGS, 2)))
    return str(g.op("Relu", _dense(g, band, tensors, "frame_sim_layer.fc")))
