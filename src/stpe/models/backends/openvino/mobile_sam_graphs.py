"""MobileSAM's two networks as ONNX graphs: a TinyViT image encoder and SAM's mask decoder.

Both take any input whose sides are multiples of 16: the window padding of the attention blocks is
computed inside the graph. Papers: Zhang et al., Faster Segment Anything, 2023 (MobileSAM);
Wu et al., TinyViT, 2022; Kirillov et al., Segment Anything, 2023.

Shape legend: N prompts, T tokens, C channels, H W feature rows and columns, L = H * W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.backends.openvino.graph import Graph, Value, fold_batch_norm

Tensors = Mapping[str, NDArray[Any]]
Size = tuple[Value, Value]  # rows and columns as one-element int64 tensors

WINDOWS = {1: 7, 2: 14, 3: 7}
HEADS = {1: 4, 2: 5, 3: 10}
DEPTHS = {1: 2, 2: 6, 3: 2}
DECODER_HEADS = 8
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


def encoder(tensors: Tensors) -> Graph:
    """`image` 1x3xHxW, RGB normalised by PIXEL_MEAN and PIXEL_STD -> `embedding` 1x256xH/16xW/16.

    Raises:
        ModelError: a tensor is missing.
    """
    return _Encoder(_Weights(tensors, "image_encoder.")).build()


def decoder(tensors: Tensors) -> Graph:
    """SAM's mask decoder for a batch of prompts on one image.

    Inputs: `embedding` 1x256xHxW; `position` 1xLx256, its position encoding; `prompts` NxPx256.
    Outputs: `masks` Nx4x4Hx4W logits (0 for an unambiguous prompt, 1 to 3 part to whole);
    `quality` Nx4 predicted IoU.

    Raises:
        ModelError: a tensor is missing.
    """
    return _Decoder(_Weights(tensors, "mask_decoder."), tensors).build()


def prompt_weights(tensors: Tensors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fourier frequencies 2x128, and the 5x256 embeddings of background point, foreground point,
    box corners (top left, bottom right) and padding.

    Raises:
        ModelError: a tensor is missing.
    """
    w = _Weights(tensors, "prompt_encoder.")
    kinds = [w(f"point_embeddings.{i}.weight") for i in range(4)] + [w("not_a_point_embed.weight")]
    frequencies = w("pe_layer.positional_encoding_gaussian_matrix")
    return np.asarray(frequencies, np.float32), np.concatenate(kinds).astype(np.float32)


class _Weights:
    """Tensors under a prefix; a missing one is a `ModelError`."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._tensors = tensors
        self._prefix = prefix

    def __call__(self, name: str) -> NDArray[Any]:
        try:
            return self._tensors[self._prefix + name]
        except KeyError:
            raise ModelError(
                f"not a MobileSAM checkpoint: it has no {self._prefix}{name}; "
                "run `stpe models verify`"
            ) from None

    def under(self, prefix: str) -> _Weights:
        return _Weights(self._tensors, f"{self._prefix}{prefix}.")


class _Encoder:
    def __init__(self, weights: _Weights) -> None:
        self.w = weights
        self.g = Graph("mobile_sam_encoder")

    def build(self) -> Graph:
        g, w = self.g, self.w
        image = g.input("image", (1, 3, "height", "width"))
        stem = w.under("patch_embed.seq")
        x = g.gelu(self.conv(image, stem.under("0"), stride=2, pad=1))
        x = self.conv(x, stem.under("2"), stride=2, pad=1)
        for block in range(2):
            x = self.inverted_bottleneck(x, w.under(f"layers.0.blocks.{block}"))
        x = self.merge(x, w.under("layers.0.downsample"), stride=2)
        for layer in (1, 2, 3):
            for block in range(DEPTHS[layer]):
                x = self.block(x, w.under(f"layers.{layer}.blocks.{block}"), layer)
            if layer < 3:  # only the first two merges halve the grid in the SAM variant
                x = self.merge(x, w.under(f"layers.{layer}.downsample"), stride=3 - layer)
        x = g.conv(x, w("neck.0.weight"))
        x = _norm_channels(g, x, w.under("neck.1"))
        x = g.conv(x, w("neck.2.weight"), pad=1)
        g.output("embedding", _norm_channels(g, x, w.under("neck.3")))
        return g

    def conv(
        self, x: Value, w: _Weights, *, stride: int = 1, pad: int = 0, groups: int = 1
    ) -> Value:
        """Convolution with its batch normalisation folded in."""
        gamma, beta, mean, var = (
            w(f"bn.{name}") for name in ("weight", "bias", "running_mean", "running_var")
        )
        weight, bias = fold_batch_norm(w("c.weight"), gamma, beta, mean, var)
        return self.g.conv(x, weight, bias, stride=stride, pad=pad, groups=groups)

    def inverted_bottleneck(self, x: Value, w: _Weights) -> Value:
        g = self.g
        y = g.gelu(self.conv(x, w.under("conv1")))
        y = g.gelu(self.conv(y, w.under("conv2"), pad=1, groups=len(w("conv2.c.weight"))))
        return g.gelu(g.op("Add", self.conv(y, w.under("conv3")), x))

    def merge(self, x: Value, w: _Weights, stride: int) -> Value:
        g = self.g
        x = g.gelu(self.conv(x, w.under("conv1")))
        groups = len(w("conv2.c.weight"))
        x = g.gelu(self.conv(x, w.under("conv2"), stride=stride, pad=1, groups=groups))
        return self.conv(x, w.under("conv3"))

    def block(self, x_1CHW: Value, w: _Weights, layer: int) -> Value:
        """Window attention, a local convolution, a perceptron; each but the second residual."""
        g = self.g
        x = g.transpose(x_1CHW, 0, 2, 3, 1)
        x = g.op("Add", x, self.window_attention(x, w.under("attn"), layer))
        x = g.transpose(x, 0, 3, 1, 2)
        groups = len(w("local_conv.c.weight"))
        x = self.conv(x, w.under("local_conv"), pad=1, groups=groups)
        x = g.transpose(x, 0, 2, 3, 1)
        y = g.layer_norm(x, w("mlp.norm.weight"), w("mlp.norm.bias"), 1e-5)
        y = g.gelu(g.linear(y, w("mlp.fc1.weight"), w("mlp.fc1.bias")))
        y = g.linear(y, w("mlp.fc2.weight"), w("mlp.fc2.bias"))
        return g.transpose(g.op("Add", x, y), 0, 3, 1, 2)

    def window_attention(self, x_1HWC: Value, w: _Weights, layer: int) -> Value:
        """Attention within windows; the grid is zero-padded to whole windows before its norm."""
        g, window, heads = self.g, WINDOWS[layer], HEADS[layer]
        area, channels = window * window, len(w("proj.bias"))
        depth = channels // heads
        rows, columns = self.size(x_1HWC)
        down, across = self.whole_windows(rows, window), self.whole_windows(columns, window)
        zero = np.zeros(1, np.int64)
        below = g.op("Sub", g.op("Mul", down, np.int64(window)), rows)
        right = g.op("Sub", g.op("Mul", across, np.int64(window)), columns)
        x = g.op("Pad", x_1HWC, self.shape(*[zero] * 5, below, right, zero))
        x = self.reshape(x, down, window, across, window, channels)
        x = self.reshape(g.transpose(x, 0, 2, 1, 3, 4), -1, area, channels)

        x = g.layer_norm(x, w("norm.weight"), w("norm.bias"), 1e-5)
        # The checkpoint interleaves q, k, v by head; whole q, k and v matrices need no split.
        weight = w("qkv.weight").reshape(heads, 3, depth, channels)
        bias = w("qkv.bias").reshape(heads, 3, depth)
        q, k, v = (
            self.reshape(
                g.linear(x, weight[:, i].reshape(channels, channels), bias[:, i].reshape(channels)),
                -1,
                area,
                heads,
                depth,
            )
            for i in range(3)
        )
        score = g.op("MatMul", g.transpose(q, 0, 2, 1, 3), g.transpose(k, 0, 2, 3, 1))
        score = g.op("Mul", score, np.float32(depth**-0.5))
        score = g.op("Add", score, w("attention_biases")[:, _offsets(window)][None])
        x = g.op("MatMul", g.op("Softmax", score, axis=-1), g.transpose(v, 0, 2, 1, 3))
        x = self.reshape(g.transpose(x, 0, 2, 1, 3), -1, area, channels)
        x = g.linear(x, w("proj.weight"), w("proj.bias"))

        x = self.reshape(x, down, across, window, window, channels)
        x = g.transpose(x, 0, 2, 1, 3, 4)
        tall, wide = g.op("Add", rows, below), g.op("Add", columns, right)
        x = self.reshape(x, 1, tall, wide, channels)
        axes = np.array([1, 2], np.int64)
        return str(
            g.op("Slice", x, np.zeros(2, np.int64), g.op("Concat", rows, columns, axis=0), axes)
        )

    def size(self, x_1HWC: Value) -> Size:
        shape = self.g.op("Shape", x_1HWC)
        rows = self.g.op("Gather", shape, np.array([1], np.int64))
        return rows, self.g.op("Gather", shape, np.array([2], np.int64))

    def whole_windows(self, length: Value, window: int) -> Value:
        rounded = self.g.op("Add", length, np.int64(window - 1))
        return str(self.g.op("Div", rounded, np.int64(window)))

    def shape(self, *parts: Value | int | NDArray[Any]) -> Value:
        whole = [np.array([p], np.int64) if isinstance(p, int) else p for p in parts]
        return str(self.g.op("Concat", *whole, axis=0))

    def reshape(self, x: Value, *parts: Value | int) -> Value:
        return str(self.g.op("Reshape", x, self.shape(*parts)))


class _Decoder:
    def __init__(self, weights: _Weights, tensors: Tensors) -> None:
        self.w = weights
        self.no_mask = _Weights(tensors, "prompt_encoder.")("no_mask_embed.weight")
        self.g = Graph("mobile_sam_decoder")

    def build(self) -> Graph:
        g, w = self.g, self.w
        embedding = g.input("embedding", (1, 256, "rows", "columns"))
        position = g.input("position", (1, "cells", 256))
        prompts = g.input("prompts", ("n", "points", 256))
        keys = g.op("Add", embedding, self.no_mask.reshape(1, 256, 1, 1))
        keys = g.transpose(g.reshape(keys, 1, 256, -1), 0, 2, 1)
        learned = np.concatenate([w("iou_token.weight"), w("mask_tokens.weight")])[None]
        count = g.op("Gather", g.op("Shape", prompts), np.array([0], np.int64))
        shape = g.op("Concat", count, np.array([1, 1], np.int64), axis=0)
        tokens = g.op("Concat", g.op("Expand", learned, shape), prompts, axis=1)

        queries = tokens
        for i in range(2):
            queries, keys = self.two_way(queries, keys, tokens, position, i)
        transformer = w.under("transformer")
        last, norm = transformer.under("final_attn_token_to_image"), "norm_final_attn"
        q, k = g.op("Add", queries, tokens), g.op("Add", keys, position)
        read = self.read_image(q, k, keys, last)
        queries = self.norm(g.op("Add", queries, read), transformer.under(norm))
        self.outputs(queries, keys, embedding)
        return g

    def two_way(
        self, queries: Value, keys: Value, tokens: Value, position: Value, index: int
    ) -> tuple[Value, Value]:
        """One block: tokens among themselves, tokens to image, perceptron, image to tokens."""
        g, w = self.g, self.w.under(f"transformer.layers.{index}")
        if index == 0:
            queries = self.attention(queries, queries, queries, w.under("self_attn"))
        else:
            q = g.op("Add", queries, tokens)
            queries = g.op("Add", queries, self.attention(q, q, queries, w.under("self_attn")))
        queries = self.norm(queries, w.under("norm1"))
        q, k = g.op("Add", queries, tokens), g.op("Add", keys, position)
        # The first block's image is the same for all prompts: projected once, it is cheapest.
        read = self.attention if index == 0 else self.read_image
        y = read(q, k, keys, w.under("cross_attn_token_to_image"))
        queries = self.norm(g.op("Add", queries, y), w.under("norm2"))
        y = g.op("Relu", g.linear(queries, w("mlp.lin1.weight"), w("mlp.lin1.bias")))
        y = g.linear(y, w("mlp.lin2.weight"), w("mlp.lin2.bias"))
        queries = self.norm(g.op("Add", queries, y), w.under("norm3"))
        q = g.op("Add", queries, tokens)
        y = self.write_image(k, q, queries, w.under("cross_attn_image_to_token"))
        return queries, self.norm(g.op("Add", keys, y), w.under("norm4"))

    def read_image(self, q_NTC: Value, k_NLC: Value, v_NLC: Value, w: _Weights) -> Value:
        """Tokens attend to the image. A few tokens go through the image's projections instead of
        thousands of cells: q (k W)^T = (q W^T) k^T and p (v W) = (p v) W, with 8 T rows for L."""
        g = self.g
        q = self.heads(q_NTC, w.under("q_proj"))
        key, value = w("k_proj.weight"), w("v_proj.weight")  # inner x C
        inner, channels = key.shape
        depth = inner // DECODER_HEADS
        # The key's bias adds the same to all of a row's scores, which the softmax ignores.
        asked = g.op("MatMul", q, key.reshape(DECODER_HEADS, depth, channels) * depth**-0.5)
        asked = g.reshape(asked, 0, -1, channels)
        share = g.op("Softmax", g.op("MatMul", asked, g.transpose(k_NLC, 0, 2, 1)), axis=-1)
        seen = g.reshape(g.op("MatMul", share, v_NLC), 0, DECODER_HEADS, -1, channels)
        weight = value.reshape(DECODER_HEADS, depth, channels).transpose(0, 2, 1)
        bias = w("v_proj.bias").reshape(DECODER_HEADS, 1, depth)
        out = g.op("Add", g.op("MatMul", seen, np.ascontiguousarray(weight)), bias)
        out = g.reshape(g.transpose(out, 0, 2, 1, 3), 0, -1, inner)
        return g.linear(out, w("out_proj.weight"), w("out_proj.bias"))

    def write_image(self, q_NLC: Value, k_NTC: Value, v_NTC: Value, w: _Weights) -> Value:
        """The image attends to the tokens, by the same exchange of products as `read_image`."""
        g = self.g
        k, v = self.heads(k_NTC, w.under("k_proj")), self.heads(v_NTC, w.under("v_proj"))
        query, out = w("q_proj.weight"), w("out_proj.weight")  # inner x C, C x inner
        inner, channels = query.shape
        depth = inner // DECODER_HEADS
        scale = depth**-0.5
        bias = w("q_proj.bias").reshape(DECODER_HEADS, depth, 1) * scale
        asked = g.op("MatMul", k, query.reshape(DECODER_HEADS, depth, channels) * scale)
        asked = g.transpose(g.reshape(asked, 0, -1, channels), 0, 2, 1)
        offset = g.reshape(g.op("MatMul", k, bias), 0, 1, -1)
        score = g.op("Add", g.op("MatMul", q_NLC, asked), offset)
        share = g.op("Softmax", g.reshape(score, 0, 0, DECODER_HEADS, -1), axis=-1)
        weight = np.ascontiguousarray(out.T.reshape(DECODER_HEADS, depth, channels))
        told = g.reshape(g.op("MatMul", v, weight), 0, -1, channels)
        y = g.op("MatMul", g.reshape(share, 0, 0, -1), told)
        return str(g.op("Add", y, w("out_proj.bias")))

    def heads(self, x_NTC: Value, w: _Weights) -> Value:
        """Projected, N x heads x T x depth."""
        x = self.g.linear(x_NTC, w("weight"), w("bias"))
        return self.g.transpose(self.g.reshape(x, 0, 0, DECODER_HEADS, -1), 0, 2, 1, 3)

    def attention(self, q: Value, k: Value, v: Value, w: _Weights) -> Value:
        """Multi-head attention. A key batch of one is shared by all prompts."""
        g = self.g
        inner = len(w("q_proj.bias"))
        depth = inner // DECODER_HEADS
        parts = [
            g.reshape(
                g.linear(x, w(f"{name}_proj.weight"), w(f"{name}_proj.bias")),
                0,
                -1,
                DECODER_HEADS,
                depth,
            )
            for x, name in ((q, "q"), (k, "k"), (v, "v"))
        ]
        score = g.op("MatMul", g.transpose(parts[0], 0, 2, 1, 3), g.transpose(parts[1], 0, 2, 3, 1))
        score = g.op("Softmax", g.op("Mul", score, np.float32(depth**-0.5)), axis=-1)
        out = g.transpose(g.op("MatMul", score, g.transpose(parts[2], 0, 2, 1, 3)), 0, 2, 1, 3)
        return g.linear(g.reshape(out, 0, -1, inner), w("out_proj.weight"), w("out_proj.bias"))

    def outputs(self, queries: Value, keys: Value, embedding: Value) -> None:
        """Masks and their quality. Channels stay last: the two transposed convolutions have the
        stride of their kernel, so each is a product that turns a cell into four."""
        g, w = self.g, self.w
        up = w.under("output_upscaling")
        x = self.quarter(keys, up.under("0"))
        x = g.gelu(g.layer_norm(x, up("1.weight"), up("1.bias"), 1e-6))
        x = g.gelu(self.quarter(x, up.under("3")))
        picks = []
        for i in range(4):
            token = g.op("Gather", queries, np.array([1 + i], np.int64), axis=1)
            picks.append(self.perceptron(token, w.under(f"output_hypernetworks_mlps.{i}")))
        masks = g.op("MatMul", g.op("Concat", *picks, axis=1), g.transpose(x, 0, 2, 1))
        rows, columns = (
            g.op("Slice", g.op("Shape", embedding), *(np.array([i], np.int64) for i in (n, n + 1)))
            for n in (2, 3)
        )
        # A pixel's place is its cell, its quarter of that, and its quarter of the quarter.
        places = g.op(
            "Concat", np.array([-1, 4], np.int64), rows, columns, np.full(4, 2, np.int64), axis=0
        )
        masks = g.transpose(g.op("Reshape", masks, places), 0, 1, 2, 4, 6, 3, 5, 7)
        size = [g.op("Mul", side, np.int64(4)) for side in (rows, columns)]
        whole = g.op("Concat", np.array([-1, 4], np.int64), *size, axis=0)
        g.output("masks", g.op("Reshape", masks, whole))
        token = g.op("Gather", queries, np.array([0], np.int64), axis=1)
        g.output(
            "quality", g.reshape(self.perceptron(token, w.under("iou_prediction_head")), -1, 4)
        )

    def quarter(self, x_NLC: Value, w: _Weights) -> Value:
        """A 2x2 transposed convolution of stride 2: Nx(4L)xC', each cell's quarters in a row."""
        weight = w("weight")  # C x C' x 2 x 2
        channels = weight.shape[1]
        product = weight.transpose(2, 3, 1, 0).reshape(4 * channels, -1)
        y = self.g.linear(x_NLC, product, np.tile(w("bias"), 4))
        return self.g.reshape(y, 0, -1, channels)

    def perceptron(self, x: Value, w: _Weights) -> Value:
        g = self.g
        for i in range(2):
            x = g.op("Relu", g.linear(x, w(f"layers.{i}.weight"), w(f"layers.{i}.bias")))
        return g.linear(x, w("layers.2.weight"), w("layers.2.bias"))

    def norm(self, x: Value, w: _Weights) -> Value:
        return self.g.layer_norm(x, w("weight"), w("bias"), 1e-5)


def _norm_channels(g: Graph, x_NCHW: Value, w: _Weights) -> Value:
    """Layer normalisation over the channels of an image."""
    y = g.layer_norm(g.transpose(x_NCHW, 0, 2, 3, 1), w("weight"), w("bias"), 1e-6)
    return g.transpose(y, 0, 3, 1, 2)


def _offsets(window: int) -> NDArray[np.int64]:
    """Index of the learned bias for each pair of cells: absolute offsets, in order of first use.

    Row-major enumeration from the first cell meets the offset (dy, dx) as dy * window + dx.
    """
    y, x = np.divmod(np.arange(window * window), window)
    return np.asarray(np.abs(y[:, None] - y) * window + np.abs(x[:, None] - x), np.int64)
