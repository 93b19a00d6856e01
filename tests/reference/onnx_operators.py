"""ONNX models of one operator (or a few, where exporters spell one thing in several) and what ONNX Runtime computes.

    python onnx_operators.py --each 20 OUT

Attributes and shapes are drawn with a fixed seed, for opsets 11, 13, 18, the one that the operator is new in, and the
newest. The first axis of every graph input is symbolic, N. Where ONNX's own reference evaluator, another program, finds
other values, the case is left out and named on standard error.
"""

import argparse
import math
import os

import numpy as np

import onnx_shapes  # noqa: F401  (this import registers its operators and those of onnx_arrays)
from onnx_cases import BATCH, MAX_NUMBERS, features, operator, write

# Dense layers and convolutions.


@operator("Gemm")
def gemm(g, _):
    n_in, n_out = g.size(2, 6), g.size(1, 5)
    transposed = g.chance()
    weight = g.constant(g.numbers(*((n_out, n_in) if transposed else (n_in, n_out))))
    bias = g.pick("", (n_out,), (1, n_out), (1,), ())
    bias = bias if bias == "" else g.constant(g.numbers(*bias))
    scales = dict(alpha=g.pick(None, 1.0, 0.5, -1.5), beta=g.pick(None, 1.0, 0.25, 2.0), transB=int(transposed) or None)
    x = g.input(n_in)
    if g.chance(0.25):
        return g("Gemm", g("Transpose", x, perm=[1, 0]), weight, bias, transA=1, **scales)
    return g("Gemm", x, weight, bias, **scales)


@operator("MatMul")
def matmul(g, _):
    n, k, m = g.sizes(3, 2, 4)
    kind = g.pick("dense", "rows", "left", "two", "heads", "vector", "stack")
    if kind == "dense":
        return g("MatMul", g.input(k), g.constant(g.numbers(k, m)))
    if kind == "rows":
        return g("MatMul", g.input(n, k), g.constant(g.numbers(k, m)))
    if kind == "left":
        return g("MatMul", g.constant(g.numbers(m, n)), g.input(n, k))
    if kind == "two":
        return g("MatMul", g.input(n, k), g.input(k, m))
    if kind == "heads":
        return g("MatMul", g.input(2, n, k), g("Transpose", g.input(2, m, k), perm=[0, 1, 3, 2]))
    if kind == "vector":
        return g("MatMul", g.input(n, k), g.constant(g.numbers(k)))
    return g("MatMul", g.input(2, n, k), g.constant(g.numbers(2, k, m)))


def window(g, sizes, kernel, dilations, pool=False):
    """Strides, dilations and padding of a sliding window, or an automatic padding."""
    rank = len(sizes)
    attributes = dict(
        strides=g.pick(None, g.sizes(rank, 1, 3)), dilations=None if dilations == [1] * rank else dilations
    )
    automatic = g.pick(None, None, "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if automatic not in (None, "NOTSET"):
        return dict(attributes, auto_pad=automatic)
    most = [k - 1 if pool else 2 for k in kernel]
    pads = [g.size(0, m) for m in most] + [g.size(0, m) for m in most]
    return dict(attributes, auto_pad=automatic, pads=g.pick(None, pads, pads))


def image(g, rank, channels, kernel, dilations):
    """Sizes that a dilated kernel fits into, and few numbers in all."""
    most = {1: 9, 2: 6}[rank]
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    sizes = [g.size(e, max(e, most)) for e in extent]
    while BATCH * channels * math.prod(sizes) > MAX_NUMBERS:
        i = int(np.argmax(np.subtract(sizes, extent)))
        if sizes[i] == extent[i]:
            return None
        sizes[i] -= 1
    return sizes


@operator("Conv", "ConvTranspose")
def conv(g, op):
    rank = g.pick(1, 2, 2)
    groups, per_group, multiplier = g.pick((1, g.size(1, 3), g.size(1, 3)), (2, 1, g.size(1, 2)), (g.size(2, 3), 1, 1))
    channels = groups * per_group
    kernel, dilations = g.sizes(rank, 1, 3), g.pick([1] * rank, g.sizes(rank, 1, 2))
    sizes = image(g, rank, channels, kernel, dilations)
    if sizes is None:
        return None
    attributes = window(g, sizes, kernel, dilations)
    attributes.update(group=groups if groups > 1 else g.pick(None, 1), kernel_shape=g.pick(None, kernel))
    outputs = groups * multiplier
    if op == "ConvTranspose":
        weight = g.numbers(channels, multiplier, *kernel)
        strides = attributes["strides"] or [1] * rank
        if "pads" in attributes and g.chance():
            attributes["output_padding"] = [g.size(0, s - 1) for s in strides]
    else:
        weight = g.numbers(outputs, per_group, *kernel)
    bias = g.constant(g.numbers(outputs)) if g.chance(0.7) else ""
    return g(op, g.input(channels, *sizes), g.constant(weight), bias, **attributes)


@operator("Einsum", since=12)
def einsum(g, _):
    equation, left, right = g.pick(
        ("nij,njk->nik", (2, 3), (3, 2)),
        ("nhid,nhjd->nhij", (2, 3, 2), (2, 2, 2)),
        ("nd,kd->nk", (4,), "k"),
        ("nchw,kc->nkhw", (2, 2, 3), "c"),
        ("btd,dk->btk", (3, 4), "d"),
        ("nid->ndi", (2, 3), None),
        ("nij->ni", (3, 4), None),
    )
    if right is None:
        return g("Einsum", g.input(*left), equation=equation)
    sizes = {"k": (3, 4), "c": (3, 2), "d": (4, 2)}
    other = g.constant(g.numbers(*sizes[right])) if isinstance(right, str) else None
    return g("Einsum", g.input(*left), other or g.input(*right), equation=equation)


# Normalization.


@operator("BatchNormalization")
def batch_norm(g, _):
    shape = features(g)
    c = shape[0]
    parameters = [g.numbers(c, low=0.5, high=2), g.numbers(c), g.numbers(c), g.numbers(c, low=0.3, high=2)]
    options = dict(epsilon=g.pick(None, 1e-3, 1e-5), momentum=g.pick(None, 0.9))
    if g.opset >= 14:
        options["training_mode"] = g.pick(None, 0)
    return g("BatchNormalization", g.input(*shape), *map(g.constant, parameters), **options)


@operator("LayerNormalization", since=17)
def layer_norm(g, _):
    shape = g.sizes(g.size(1, 3), 2, 4)
    axis = g.axis(len(shape) + 1)
    tail = [0, *shape][axis:]
    bias = g.constant(g.numbers(*tail)) if g.chance(0.7) else ""
    options = dict(axis=g.pick(axis, axis) if axis != -1 else g.pick(None, -1), epsilon=g.pick(None, 1e-6, 1e-3))
    return g("LayerNormalization", g.input(*shape), g.constant(g.numbers(*tail)), bias, **options)


def mean(g, x, axes, **attributes):
    return g.with_axes("ReduceMean", x, axes, 18, **attributes)


@operator("LayerNormalization spelled out")
def layer_norm_spelled(g, _):
    """As torch before opset 17, timm (over channels, axis 1) and Keras write it."""
    shape = g.sizes(g.size(1, 3), 2, 4)
    channels_first = len(shape) == 3 and g.chance()
    axis = 1 if channels_first else g.pick(-1, len(shape))
    parameter = (shape[0], 1, 1) if channels_first else (shape[-1],)
    x = g.input(*shape)
    centered = g("Sub", x, mean(g, x, [axis], keepdims=1))
    square = g("Pow", centered, g.constant(2.0)) if g.chance() else g("Mul", centered, centered)
    variance = g("Add", mean(g, square, [axis], keepdims=1), g.constant(g.pick(1e-5, 1e-6, 1e-3)))
    std = g("Sqrt", variance)
    y = g("Div", centered, std) if g.chance(0.7) else g("Mul", centered, g("Reciprocal", std))
    if g.chance(0.8):
        y = (
            g("Mul", y, g.constant(g.numbers(*parameter)))
            if g.chance()
            else g("Mul", g.constant(g.numbers(*parameter)), y)
        )
        y = g("Add", y, g.constant(g.numbers(*parameter)))
    return y


@operator("RMSNormalization", since=23)
def rms_norm(g, op):
    shape = g.sizes(g.size(1, 3), 2, 4)
    axis = g.axis(len(shape) + 1)
    scale = g.constant(g.numbers(*[0, *shape][axis:]))
    return g(op, g.input(*shape), scale, axis=g.pick(axis, None) if axis == -1 else axis, epsilon=g.pick(None, 1e-3))


@operator("Attention", since=23)
def attention(g, op):
    """Of rank 4 (heads apart) or 3 (heads packed), causal, masked, with fewer heads of keys, as dynamo writes it."""
    heads, queries, keys, width = g.size(1, 2), g.size(1, 3), g.size(1, 3), g.size(1, 3)
    options = dict(is_causal=g.pick(None, 0, 1), scale=g.pick(None, None, 0.5))
    mask = g.constant(g.numbers(queries, keys)) if g.chance(0.3) else ""
    if mask and g.chance():
        mask = g.constant(np.tril(np.ones((queries, keys))), np.bool_)
    if options["is_causal"]:
        mask, keys = "", queries
    if g.chance():
        many = g.pick(1, 2) * heads
        parts = g.input(many, queries, width), g.input(heads, keys, width), g.input(heads, keys, width)
        return g(op, *parts, mask, **options)
    packed = g.input(queries, heads * width), g.input(keys, heads * width), g.input(keys, heads * width)
    return g(op, *packed, mask, q_num_heads=heads, kv_num_heads=heads, **options)


@operator("GroupNormalization", since=18)
def group_norm(g, _):
    groups, each = g.size(1, 3), g.size(1, 2)
    size = groups if g.opset < 21 else groups * each
    options = dict(num_groups=groups, epsilon=g.pick(None, 1e-3))
    x = g.input(groups * each, *g.sizes(g.size(1, 2), 2, 4))
    return g("GroupNormalization", x, g.constant(g.numbers(size)), g.constant(g.numbers(size)), **options)


@operator("GroupNormalization spelled out")
def group_norm_spelled(g, _):
    """As TorchScript writes it: InstanceNormalization of reshaped groups."""
    groups, each, sizes = g.size(1, 3), g.size(1, 2), g.sizes(2, 2, 3)
    x = g.input(groups * each, *sizes)
    flat = g("Reshape", x, g.ints(0, groups, -1))
    ones, zeros = g.constant(np.ones(groups)), g.constant(np.zeros(groups))
    y = g("Reshape", g("InstanceNormalization", flat, ones, zeros, epsilon=1e-5), g("Shape", x))
    y = g("Mul", y, g.constant(g.numbers(groups * each, 1, 1)))
    return g("Add", y, g.constant(g.numbers(groups * each, 1, 1)))


@operator("InstanceNormalization")
def instance_norm(g, _):
    c = g.size(1, 3)
    scale, bias = g.constant(g.numbers(c)), g.constant(g.numbers(c))
    return g("InstanceNormalization", g.input(c, *g.sizes(g.size(1, 2), 2, 4)), scale, bias, epsilon=g.pick(None, 1e-3))


# Activations.


@operator(
    "Relu",
    "Softplus",
    "Softsign",
    "Sigmoid",
    "Tanh",
    "Neg",
    "Exp",
    "Abs",
    "Erf",
    "Floor",
    "Sign",
    "Sin",
    "Cos",
    "Identity",
)
def unary(g, op):
    return g(op, g.input(*features(g), low=-4, high=4))


@operator("Sqrt", "Log", "Reciprocal")
def unary_positive(g, op):
    x = g.input(*features(g), low=0.2, high=4)
    return g(op, g("Neg", x) if op == "Reciprocal" and g.chance() else x)


@operator("HardSwish", since=14)
def hard_swish(g, op):
    return g(op, g.input(*features(g), low=-5, high=5))


@operator("Mish", since=18)
def mish(g, op):
    return g(op, g.input(*features(g), low=-5, high=5))


@operator("LeakyRelu", "Elu")
@operator("Celu", since=12)
def activation_alpha(g, op):
    return g(op, g.input(*features(g), low=-3, high=3), alpha=g.pick(None, g.real(0.05, 2)))


@operator("Selu")
def selu(g, op):
    return g(op, g.input(*features(g), low=-3, high=3), alpha=g.pick(None, 1.2), gamma=g.pick(None, 1.5))


@operator("HardSigmoid")
def hard_sigmoid(g, op):
    options = g.pick({}, dict(alpha=1 / 6, beta=0.5), dict(alpha=g.real(0.1, 0.5)), dict(beta=g.real(0, 1)))
    return g(op, g.input(*features(g), low=-5, high=5), **options)


@operator("PRelu")
def prelu(g, op):
    shape = features(g)
    slope = g.pick((1,), (shape[0],) + (1,) * (len(shape) - 1), tuple(shape), (1,) * len(shape))
    return g(op, g.input(*shape), g.constant(g.numbers(*slope, low=-0.5, high=1)))


@operator("Gelu", since=20)
def gelu(g, op):
    return g(op, g.input(*features(g), low=-4, high=4), approximate=g.pick(None, "none", "tanh", "tanh"))


@operator("Gelu spelled out")
def gelu_spelled(g, _):
    """0.5 x (1 + erf(x / √2)), or with tanh(√(2/π) (x + 0.044715 x³)), in the orders that exporters write."""
    x = g.input(*features(g), low=-4, high=4)
    if g.chance():
        inner = g("Div", x, g.constant(math.sqrt(2))) if g.chance() else g("Mul", x, g.constant(math.sqrt(0.5)))
        gate = g("Add", g("Erf", inner), g.constant(1.0))
    else:
        cube = g("Pow", x, g.constant(3.0)) if g.chance() else g("Mul", x, g("Mul", x, x))
        inner = g("Add", x, g("Mul", cube, g.constant(0.044715)))
        gate = g("Add", g.constant(1.0), g("Tanh", g("Mul", inner, g.constant(math.sqrt(2 / math.pi)))))
    if g.chance():
        return g("Mul", g("Mul", x, gate), g.constant(0.5))
    return g("Mul", g("Mul", g.constant([0.5]), x), gate)


@operator("Swish and Mish spelled out")
def swish_spelled(g, _):
    """SiLU, Mish and Hardswish as exporters write them where the opset has no such operator."""
    x = g.input(*features(g), low=-5, high=5)
    kind = g.pick("silu", "mish", "clip", "sigmoid")
    if kind == "silu":
        return g("Mul", x, g("Sigmoid", x))
    if kind == "mish":
        return g("Mul", x, g("Tanh", g("Softplus", x)))
    if kind == "sigmoid":
        return g("Mul", x, g("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    clipped = g("Clip", g("Add", x, g.constant(3.0)), g.constant(0.0), g.constant(6.0))
    return g("Div", g("Mul", x, clipped), g.constant(6.0))


@operator("Clip")
def clip(g, op):
    low, high = g.constant(g.real(-1.5, 0)), g.constant(g.real(0, 1.5))
    return g(op, g.input(*features(g)), *g.pick((low,), ("", high), (low, high), (low, high), ()))


@operator("Dropout")
def dropout(g, op):
    x = g.input(*features(g))
    if g.opset < 12:
        return g(op, x, ratio=g.pick(None, 0.3))
    mode = g.constant(False, np.bool_) if g.chance() else ""
    ratio = g.constant(0.3) if g.chance() else ""
    y = g(op, x, ratio, mode, outputs=g.pick(1, 2))
    return y if isinstance(y, str) else y[0]


@operator("Softmax", "LogSoftmax")
def softmax(g, op):
    shape = features(g)
    return g(op, g.input(*shape, low=-4, high=4), axis=g.pick(None, g.axis(len(shape) + 1), g.axis(len(shape) + 1)))


# Pooling and reductions.


@operator("MaxPool", "AveragePool")
def pool(g, op):
    rank, channels = g.pick(1, 2, 2), g.size(1, 2)
    kernel = g.sizes(rank, 1, 3)
    dilated = op == "MaxPool" or g.opset >= 19
    dilations = g.pick([1] * rank, g.sizes(rank, 1, 2)) if dilated else [1] * rank
    sizes = image(g, rank, channels, kernel, dilations)
    options = window(g, sizes, kernel, dilations, pool=True)
    options["kernel_shape"] = kernel
    if "pads" in options:
        options["ceil_mode"] = g.pick(None, 0, 1, 1)
    if op == "AveragePool":
        options["count_include_pad"] = g.pick(None, 0, 1)
    return g(op, g.input(channels, *sizes), **options)


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(g, op):
    return g(op, g.input(g.size(1, 3), *g.sizes(g.size(1, 2), 1, 5)))


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd")
def reduce(g, op):
    shape = g.sizes(g.size(1, 3), 1, 4)
    rank = len(shape) + 1
    since = 13 if op == "ReduceSum" else 18
    options = dict(keepdims=g.pick(None, 0, 0, 1))
    x = g.input(*shape, low=0.3 if op == "ReduceL2" else -2)
    kind = g.rng.random()
    if kind < 0.1:
        return g(op, x, **options)  # over everything, the batch too
    if kind < 0.25 and g.opset >= since:
        empty = g.ints() if g.chance() else ""
        return g(op, x, empty, noop_with_empty_axes=1)
    axes = sorted(g.rng.choice(np.arange(1, rank), g.size(1, rank - 1), replace=False).tolist())
    axes = [a - rank if g.chance() else a for a in axes]
    return g.with_axes(op, x, axes, since, **options)


@operator("CumSum")
def cumsum(g, op):
    shape = features(g)
    axis = g.ints(g.axis(len(shape) + 1), scalar=True)
    return g(op, g.input(*shape), axis, exclusive=g.pick(None, 0, 1), reverse=g.pick(None, 0, 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("output")
    options = parser.parse_args()
    command = f"python onnx_operators.py --each {options.each} {os.path.basename(options.output)}"
    write(options.output, command, options.each)
