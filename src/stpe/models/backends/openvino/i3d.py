"""I3D (Carreira and Zisserman 2017, arXiv 1705.07750), RGB stream, trained on Kinetics-400.

File: `i3d.ckpt`, a pickle of NumPy arrays from a JAX port of DeepMind's network. The class names
are the dataset's, in alphabetical order, in `kinetics_400.txt` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.openvino.fit import resized
from stpe.models.backends.openvino.graph import Graph, Value, fold_batch_norm
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import ClipResult
from stpe.models.tensors import Tensors, read_numpy_pickle
from stpe.models.weights import derived

_EPSILON = 1e-3
#: Largest logit of a clip that is as likely of none of the classes, and how fast that changes.
#: Streets, desktops, robots, animals and games that show none reach 36; juggling, parkour 43.
_EVEN, _SPREAD = 40.0, 2.0
_POOLS = {  # before the block of that name: kernel and stride over time, height, width
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
_BLOCKS = (
    "Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "Mixed_3b", "Mixed_3c", "Mixed_4b",
    "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "Mixed_5b", "Mixed_5c",
)  # fmt: skip
_BRANCHES = (
    ("Branch_0/Conv3d_0a_1x1",),
    ("Branch_1/Conv3d_0a_1x1", "Branch_1/Conv3d_0b_3x3"),
    ("Branch_2/Conv3d_0a_1x1", "Branch_2/Conv3d_0b_3x3"),
    ("Branch_3/Conv3d_0b_1x1",),
)


class I3D:
    """Role ClipClassifier. It looks at the picture's centre square, as it was trained to."""

    length = 32
    fps = 12.5
    dimension = 1024
    resamples = True

    def __init__(self, session: Session, labels: tuple[str, ...], size: int) -> None:
        self.labels = labels
        self._session = session
        self._size = size

    def classify(self, frames_THWC: NDArray[np.uint8], top_k: int = 5) -> ClipResult:
        """Embed and classify T RGB frames, taken evenly if there are not `length` of them.

        Raises:
            UsageError: there is no frame.
        """
        if frames_THWC.ndim != 4 or not len(frames_THWC):
            raise UsageError("a clip needs at least one frame (T x height x width x 3)")
        count, height, width = frames_THWC.shape[:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        taken = (np.arange(self.length) + 0.5) * count / self.length
        square = frames_THWC[taken.astype(int), top : top + side, left : left + side]
        clip = np.stack([resized(frame, self._size, self._size) for frame in square])
        embedding, probabilities, logits = (x[0] for x in self._session.run([clip[None]]))
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        classes = tuple((self.labels[i], float(probabilities[i])) for i in best)
        return ClipResult(
            embedding / max(float(np.linalg.norm(embedding)), 1e-12),
            classes,
            class_confidence=class_confidence(float(logits.max()), classes[0][1]),
        )

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()


def class_confidence(largest_logit: float, probability: float) -> float:
    """Probability that a clip shows its best class: that it shows a class the network knows, which
    the largest logit tells where softmax does not (Hendrycks et al. 2022, arXiv 1911.11132), times
    the `probability` of the best among these."""
    return probability / (1 + math.exp(-(largest_logit - _EVEN) / _SPREAD))


def build(tensors: Tensors) -> Graph:
    """Input `clip` 1xTxHxWx3 uint8; outputs `embedding` 1x1024, `probabilities` and
    `logits` 1x400."""
    g = Graph("i3d")
    clip = g.op("Cast", g.input("clip", (1, "frames", "height", "width", 3), "uint8"), to=1)
    clip = g.op("Sub", g.op("Mul", clip, np.float32(2 / 255)), np.float32(1))
    x = g.transpose(clip, 0, 4, 1, 2, 3)
    for block in _BLOCKS:
        if block in _POOLS:
            x = _pool(g, x, *_POOLS[block])
        if block.startswith("Mixed"):
            x = _inception(g, tensors, block, x)
        else:
            x = _unit(g, tensors, block, x, stride=2 if block == "Conv3d_1a_7x7" else 1)
    x = g.op("ReduceMean", x, axes=[3, 4], keepdims=0)
    # The network classifies every two neighbouring time steps and averages over those.
    x = g.op("AveragePool", x, kernel_shape=[2], strides=[1])
    embedding = g.op("ReduceMean", x, axes=[2], keepdims=0)
    g.output("embedding", embedding)
    head = "params/Logits/Conv3d_0c_1x1/Conv_0/"
    weight = tensors[head + "kernel"].reshape(-1, tensors[head + "bias"].size)
    logits = g.linear(embedding, weight.T, tensors[head + "bias"])
    g.output("probabilities", g.op("Softmax", logits, axis=-1))
    g.output("logits", logits)
    return g


def _inception(g: Graph, tensors: Tensors, block: str, x: Value) -> Value:
    outputs = []
    for branch in _BRANCHES:
        y = _pool(g, x, (3, 3, 3), (1, 1, 1)) if branch is _BRANCHES[3] else x
        for unit in branch:
            y = _unit(g, tensors, f"{block}/{unit}", y)
        outputs.append(y)
    return str(g.op("Concat", *outputs, axis=1))


def _unit(g: Graph, tensors: Tensors, name: str, x: Value, stride: int = 1) -> Value:
    weight = tensors[f"params/{name}/Conv_0/kernel"].transpose(4, 3, 0, 1, 2)
    beta = tensors[f"params/{name}/BatchNorm_0/bias"]
    mean, var = (tensors[f"batch_stats/{name}/BatchNorm_0/{k}"].ravel() for k in ("mean", "var"))
    weight, bias = fold_batch_norm(weight, np.ones_like(beta), beta, mean, var, _EPSILON)
    y = g.op("Conv", x, weight, bias, strides=[stride] * 3, auto_pad="SAME_UPPER")
    return str(g.op("Relu", y))


def _pool(g: Graph, x: Value, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Value:
    return str(g.op("MaxPool", x, kernel_shape=kernel, strides=stride, auto_pad="SAME_UPPER"))


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> I3D:
    """Options: `size`, the input square's side (default 160; it was trained at 224)."""
    checkpoint = files["i3d.ckpt"]
    graph = derived(
        [checkpoint], "i3d.onnx", "2", lambda path: build(read_numpy_pickle(checkpoint)).save(path)
    )
    text = resources.files(__package__).joinpath("kinetics_400.txt").read_text(encoding="utf-8")
    session = Session(graph, name="i3d")
    return I3D(session, tuple(text.splitlines()), int(options.get("size", 160)))
