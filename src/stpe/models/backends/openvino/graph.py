"""Writing a network as an ONNX graph from raw tensors.

A checkpoint that is only tensors (torch, darknet, JAX) becomes a portable graph once, by calling
operators as methods: `g.conv(x, weight, bias)`. ONNX rather than a runtime's own graph, so that
the same bytes run in OpenVINO, in onnxruntime (the benchmarks' baseline) or anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
_DTYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}

Value = str  # the name of a tensor inside the graph


class Graph:
    """A graph under construction. Values are names; constants are NumPy arrays.

    >>> g = Graph("double")
    >>> x = g.input("x", (1, 3))
    >>> g.output("y", g.op("Mul", x, g.const(np.float32(2))))
    >>> [o.name for o in g.model().graph.output]
    ['y']
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> Value:
        """Declare a graph input; a string dimension is dynamic."""
        self._inputs.append(helper.make_tensor_value_info(name, _DTYPES[dtype], list(shape)))
        return name

    def output(self, name: str, value: Value, dtype: str = "float32") -> None:
        """Declare `value` as the graph output `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _DTYPES[dtype], None))

    def const(self, array: NDArray[Any] | np.generic | float | int | Sequence[int]) -> Value:
        """A constant; Python floats become float32 and ints int64; float64 is narrowed."""
        value = np.asarray(array)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        name = self._fresh("c")
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(
        self,
        kind: str,
        *inputs: Value | NDArray[Any] | np.generic | None,
        n: int = 1,
        **attributes: Any,
    ) -> Any:
        """Append an ONNX operator. Arrays among the inputs become constants; None is an absent
        optional input. Returns its output, or a list of them for `n` > 1."""
        names = ["" if x is None else x if isinstance(x, str) else self.const(x) for x in inputs]
        outputs = [self._fresh(kind) for _ in range(n)]
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self._nodes.append(helper.make_node(kind, names, outputs, **attributes))
        return outputs[0] if n == 1 else outputs

    def conv(
        self,
        x: Value,
        weight: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        stride: int | Sequence[int] = 1,
        pad: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
    ) -> Value:
        """2-D or 3-D convolution, weight (out, in/groups, *kernel). `pad` as one number, one an
        axis, or the ONNX begin-then-end list."""
        axes = weight.ndim - 2
        pads = [pad] * axes if isinstance(pad, int) else list(pad)
        return str(
            self.op(
                "Conv",
                x,
                weight,
                bias,
                strides=[stride] * axes if isinstance(stride, int) else list(stride),
                pads=pads * 2 if len(pads) == axes else pads,
                dilations=[dilation] * axes if isinstance(dilation, int) else list(dilation),
                group=groups,
            )
        )

    def linear(self, x: Value, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> Value:
        """x @ weight.T + bias, weight (out, in) as torch stores it."""
        y = self.op("MatMul", x, np.ascontiguousarray(weight.T))
        return str(y if bias is None else self.op("Add", y, bias))

    def layer_norm(self, x: Value, weight: NDArray[Any], bias: NDArray[Any], eps: float) -> Value:
        """Over the last axis."""
        return str(self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=eps))

    def gelu(self, x: Value) -> Value:
        """Exact (erf) GELU."""
        inner = self.op("Erf", self.op("Mul", x, np.float32(2**-0.5)))
        half = self.op("Mul", x, np.float32(0.5))
        return str(self.op("Mul", half, self.op("Add", inner, np.float32(1))))

    def reshape(self, x: Value, *shape: int) -> Value:
        """0 keeps a dimension, -1 infers one."""
        return str(self.op("Reshape", x, np.asarray(shape, np.int64)))

    def transpose(self, x: Value, *axes: int) -> Value:
        """Permute axes."""
        return str(self.op("Transpose", x, perm=list(axes)))

    def model(self) -> onnx.ModelProto:
        """The finished ONNX model."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._constants
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9
        )

    def save(self, path: Path) -> None:
        """Write the model; atomic is the caller's business."""
        onnx.save(self.model(), str(path))

    def _fresh(self, stem: str) -> Value:
        self._count += 1
        return f"{stem}_{self._count}"


def fold_batch_norm(
    weight: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    mean: NDArray[Any],
    var: NDArray[Any],
    eps: float = 1e-5,
    bias: NDArray[Any] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(weight, bias) of a convolution with its inference-time batch normalisation folded in."""
    scale = gamma / np.sqrt(var + eps)
    folded = weight * scale.reshape(-1, *([1] * (weight.ndim - 1)))
    shift = beta + ((0.0 if bias is None else bias) - mean) * scale
    return folded.astype(np.float32), np.asarray(shift, np.float32)
