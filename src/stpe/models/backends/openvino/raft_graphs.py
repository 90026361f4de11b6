"""The three graphs of RAFT, from its checkpoint's tensors: encode once, update often, enlarge once.

Cells are 8x8 pixels, h x w of them; N = h * w. The correlation volume has a pyramid of four
levels, and each update looks up a 9x9 neighbourhood in each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.models.backends.openvino.graph import Graph, Value, fold_batch_norm
from stpe.models.tensors import Tensors

LEVELS = 4
RADIUS = 4
_EPSILON = 1e-5


def encode(tensors: Tensors) -> Graph:
    """Inputs `a`, `b` 1x3xHxW RGB 0..255, H and W multiples of 8.

    Outputs `corr_0` to `corr_3` (Nx1xhxw and coarser), `hidden` and `context` 1x128xhxw.
    """
    g = Graph("raft_encode")
    shape = (1, 3, "height", "width")
    a, b = (_signed(g, g.input(name, shape)) for name in ("a", "b"))
    features = _encoder(g, tensors, "fnet", g.op("Concat", a, b, axis=0), instance=True)
    size = g.op("Slice", g.op("Shape", features), np.array([2]), np.array([4]))
    first, second = g.op("Split", g.reshape(features, 0, 0, -1), axis=0, n=2)
    channels = tensors["fnet.conv2.weight"].shape[0]
    match = g.op("MatMul", g.transpose(first, 0, 2, 1), second)
    match = g.op("Mul", match, np.float32(channels**-0.5))
    level = g.op("Reshape", match, g.op("Concat", np.array([-1, 1]), size, axis=0))
    for i in range(LEVELS):
        if i:
            level = g.op("AveragePool", level, kernel_shape=[2, 2], strides=[2, 2])
        g.output(f"corr_{i}", level)
    both = _encoder(g, tensors, "cnet", a, instance=False)
    hidden, context = g.op("Split", both, axis=1, n=2)
    g.output("hidden", g.op("Tanh", hidden))
    g.output("context", g.op("Relu", context))
    return g


def update(tensors: Tensors) -> Graph:
    """One iteration.

    Inputs `corr_0` to `corr_3`, `hidden`, `context`, `flow` 1x2xhxw in cells, and `cells` Nx1x1x2,
    the (x, y) of each cell. Outputs `next_hidden` and `next_flow`.
    """
    g = Graph("raft_update")
    levels = [g.input(f"corr_{i}", ("n", 1, f"h{i}", f"w{i}")) for i in range(LEVELS)]
    hidden = g.input("hidden", (1, 128, "h", "w"))
    context = g.input("context", (1, 128, "h", "w"))
    flow = g.input("flow", (1, 2, "h", "w"))
    cells = g.input("cells", ("n", 1, 1, 2))

    moved = g.reshape(g.transpose(g.reshape(flow, 0, 0, -1), 0, 2, 1), -1, 1, 1, 2)
    target = g.op("Add", cells, moved)
    found = g.op("Concat", *(_look_up(g, x, target, i) for i, x in enumerate(levels)), axis=1)
    # N x 324 -> 1 x 324 x h x w, at the size of the flow.
    size = g.op("Slice", g.op("Shape", flow), np.array([2]), np.array([4]))
    found = g.op(
        "Reshape", g.transpose(found, 1, 0), g.op("Concat", np.array([1, -1]), size, axis=0)
    )

    def conv(name: str, x: Value, pad: int | tuple[int, int]) -> Value:
        return _conv(g, tensors, f"update_block.{name}", x, pad)

    def relu(x: Value) -> Value:
        return str(g.op("Relu", x))

    match = relu(conv("encoder.convc2", relu(conv("encoder.convc1", found, 0)), 1))
    motion = relu(conv("encoder.convf2", relu(conv("encoder.convf1", flow, 3)), 1))
    motion = relu(conv("encoder.conv", g.op("Concat", match, motion, axis=1), 1))
    inputs = g.op("Concat", context, motion, flow, axis=1)
    # A convolutional gated recurrent unit, along rows and then along columns.
    for n, pad in ((1, (0, 2)), (2, (2, 0))):
        both = g.op("Concat", hidden, inputs, axis=1)
        gate = g.op("Sigmoid", conv(f"gru.convz{n}", both, pad))
        reset = g.op("Sigmoid", conv(f"gru.convr{n}", both, pad))
        kept = g.op("Concat", g.op("Mul", reset, hidden), inputs, axis=1)
        new = g.op("Tanh", conv(f"gru.convq{n}", kept, pad))
        change = g.op("Mul", gate, g.op("Sub", new, hidden))
        hidden = g.op("Add", hidden, change)
    step = conv("flow_head.conv2", relu(conv("flow_head.conv1", hidden, 1)), 1)
    g.output("next_hidden", hidden)
    g.output("next_flow", g.op("Add", flow, step))
    return g


def enlarge(tensors: Tensors) -> Graph:
    """Convex upsampling: each of a cell's 8x8 pixels is a weighted mean of the 3x3 cells around.

    Inputs `hidden`, `flow` 1x2xhxw in cells. Output `pixels` 2x64xN in pixels; the 64 are row-major
    within the cell.
    """
    g = Graph("raft_enlarge")
    hidden = g.input("hidden", (1, 128, "h", "w"))
    flow = g.input("flow", (1, 2, "h", "w"))
    mask = g.op("Relu", _conv(g, tensors, "update_block.mask.0", hidden, 1))
    mask = g.op("Mul", _conv(g, tensors, "update_block.mask.2", mask, 0), np.float32(0.25))
    weights = g.op("Softmax", g.reshape(mask, 1, 9, 64, -1), axis=1)
    padded = g.op("Pad", flow, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    ends = (-2, -1, np.iinfo(np.int64).max)
    around = [
        g.op("Slice", padded, np.array([y, x]), np.array([ends[y], ends[x]]), np.array([2, 3]))
        for y in range(3)
        for x in range(3)
    ]
    cells = g.op("Concat", *(g.reshape(x, 2, 1, 1, -1) for x in around), axis=1)
    mixed = g.op("ReduceSum", g.op("Mul", weights, cells), np.array([1]), keepdims=0)
    g.output("pixels", g.op("Mul", mixed, np.float32(8)))
    return g


def _look_up(g: Graph, level: Value, target: Value, i: int) -> Value:
    """N x 81 samples of one level around each cell's target. Offsets run over x, then y: the
    checkpoint's order."""
    offsets = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    around = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1)[None]
    points = g.op("Add", g.op("Mul", target, np.float32(0.5**i)), around)
    size = g.op("Slice", g.op("Shape", level), np.array([2]), np.array([4]))
    last = g.op("Sub", g.op("Cast", size, to=1), np.float32(1))
    height, width = g.op("Split", last, axis=0, n=2)
    unit = g.op("Div", np.array([2], np.float32), g.op("Concat", width, height, axis=0))
    grid = g.op("Sub", g.op("Mul", points, unit), np.float32(1))
    sampled = g.op("GridSample", level, grid, align_corners=1, padding_mode="zeros")
    return g.reshape(sampled, 0, -1)


def _signed(g: Graph, image: Value) -> Value:
    return str(g.op("Sub", g.op("Mul", image, np.float32(2 / 255)), np.float32(1)))


def _conv(
    g: Graph, tensors: Tensors, name: str, x: Value, pad: int | tuple[int, int], stride: int = 1
) -> Value:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return g.conv(x, weight, bias, stride=stride, pad=pad)


def _encoder(g: Graph, tensors: Tensors, name: str, x: Value, instance: bool) -> Value:
    """1/8 size features: a 7x7 convolution, six residual blocks, a 1x1 convolution."""

    def normed(conv: str, norm: str, x: Value, pad: int, stride: int = 1) -> Value:
        weight, bias = (tensors[f"{name}.{conv}.{k}"] for k in ("weight", "bias"))
        if instance:
            y = g.conv(x, weight, bias, stride=stride, pad=pad)
            one: NDArray[np.float32] = np.ones(len(bias), np.float32)
            return str(g.op("InstanceNormalization", y, one, one * 0, epsilon=_EPSILON))
        gamma, beta, mean, var = (
            tensors[f"{name}.{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")
        )
        weight, bias = fold_batch_norm(weight, gamma, beta, mean, var, _EPSILON, bias)
        return g.conv(x, weight, bias, stride=stride, pad=pad)

    x = g.op("Relu", normed("conv1", "norm1", x, 3, 2))
    for layer, first_stride in ((1, 1), (2, 2), (3, 2)):
        for block in range(2):
            at, stride = f"layer{layer}.{block}", first_stride if block == 0 else 1
            y = g.op("Relu", normed(f"{at}.conv1", f"{at}.norm1", x, 1, stride))
            y = g.op("Relu", normed(f"{at}.conv2", f"{at}.norm2", y, 1))
            if stride != 1:
                x = normed(f"{at}.downsample.0", f"{at}.norm3", x, 0, stride)
            x = g.op("Relu", g.op("Add", x, y))
    return _conv(g, tensors, f"{name}.conv2", x, 0)
