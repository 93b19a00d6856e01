"""Random models of operators that move numbers and of arithmetic with broadcasting."""

import numpy as np
from onnx import TensorProto as T, helper

from onnx_cases import BATCH, INT64_MAX, operator

# Arithmetic.


def operand(g, shape, low=-2.0, high=2.0):
    """A constant that broadcasts with (N, *shape): a scalar, a trailing part of it, axes of size 1; or an input."""
    kind = g.size(0, 6)
    if kind == 0:
        return g.constant(g.numbers(low=low, high=high))
    if kind == 1:
        return g.constant(g.numbers(1, low=low, high=high))
    if kind == 2 and shape:
        return g.constant(g.numbers(*shape[g.size(0, len(shape) - 1) :], low=low, high=high))
    ones = [s if g.chance() else 1 for s in shape]
    if kind == 3:
        return g.constant(g.numbers(*ones, low=low, high=high))
    if kind == 4:
        return g.constant(g.numbers(1, *ones, low=low, high=high))
    return g.input(*(shape if kind == 5 else ones), low=low, high=high)


def drawn_shape(g):
    return g.sizes(g.size(1, 3), 1, 4)


@operator("Add", "Sub", "Mul")
def arithmetic(g, op):
    shape = drawn_shape(g)
    x = g.input(*shape)
    if g.chance(0.1):
        return g(op, x, x)
    other = operand(g, shape)
    return g(op, x, other) if g.chance(0.7) else g(op, other, x)


@operator("Div")
def division(g, op):
    shape = drawn_shape(g)
    above, below = (g.input(*shape), operand(g, shape, 0.4, 2)) if g.chance(0.7) else (operand(g, shape), None)
    below = below or g.input(*shape, low=0.4)
    return g(op, above, g("Neg", below) if g.chance(0.3) else below)


@operator("Pow")
def power(g, op):
    shape = drawn_shape(g)
    kind = g.pick("integer", "int64", "positive", "tensor", "base")
    if kind == "integer":
        return g(op, g.input(*shape), g.constant(g.pick(2.0, 3.0, [2.0], 1.0, 4.0)))
    if kind == "int64" and g.opset >= 12:
        return g(op, g.input(*shape), g.ints(g.pick(2, 3), scalar=True))
    if kind == "base":
        return g(op, g.constant(g.pick(2.0, 0.5, 10.0)), g.input(*shape))
    x = g.input(*shape, low=0.3)
    return g(op, x, operand(g, shape, 0.2, 2.5) if kind == "tensor" else g.constant(g.pick(0.5, -0.5, -1.0, 1.7)))


@operator("Min", "Max")
def extremes(g, op):
    shape = drawn_shape(g)
    inputs = [g.input(*shape)] + [operand(g, shape, -1, 1) for _ in range(g.size(0, 2))]
    return g(op, *[inputs[i] for i in g.rng.permutation(len(inputs))])


def expand_token(g, _):
    """`token.expand(batch, -1, -1)` and Concat, as TorchScript exports it."""
    t, d = g.size(1, 3), g.size(1, 3)
    x, token = g.input(t, d), g.constant(g.numbers(1, 1, d))
    wanted = g.vector(*g.shape_of(x, 0), -1, -1)
    wanted = g("Reshape", wanted, g.ints(-1)) if g.chance() else wanted
    ones = g("ConstantOfShape", g("Shape", wanted), value=helper.make_tensor("v", T.INT64, [1], [1]))
    minus = g("Mul", ones, g.ints(-1, scalar=True))
    shape = g("Where", g("Equal", wanted, minus), ones, wanted)
    return g("Concat", g("Expand", token, shape), x, axis=1)


# Comparisons.


def compared(g, op, x, shape):
    return g(op, x, operand(g, shape, -1, 1)) if g.chance(0.8) else g(op, operand(g, shape, -1, 1), x)


@operator("Greater", "Less")
def comparison(g, op):
    shape = drawn_shape(g)
    return g.to_float(compared(g, op, g.input(*shape), shape))


@operator("Equal")
def equal(g, op):
    """Of whole numbers, as masks of token ids are made, or of a shape with -1, as `expand` is exported."""
    shape = drawn_shape(g)
    if g.chance(0.4):
        return expand_token(g, op)
    x = g.input(*shape, values=np.round(g.numbers(BATCH, *shape)))
    if g.chance():
        return g.to_float(g(op, g("Cast", x, to=T.INT64), g.ints(g.size(-1, 1), scalar=True)))
    return g.to_float(g(op, x, g.constant(float(g.size(-1, 1)))))


@operator("And", "Or", "Not")
def logic(g, op):
    shape = drawn_shape(g)
    x = g.input(*shape)
    parts = [g("Greater", x, g.constant(g.real(-1.5, 0))), g("Less", x, g.constant(g.real(0, 1.5)))]
    if op == "Not":
        return g.to_float(g(op, parts[0]))
    if g.chance(0.3):
        parts[1] = g.constant(g.rng.random(shape) < 0.5, np.bool_)
    mask = g(op, *parts)
    return g.to_float(mask) if g.chance() else g("Where", mask, x, g.constant(0.0))


@operator("Where")
def where(g, op):
    shape = drawn_shape(g)
    kind = g.pick("mask", "data", "causal", "shape")
    if kind == "shape":
        return expand_token(g, op)
    if kind == "causal":
        n = g.size(2, 4)
        mask = g.constant(np.tril(np.ones((1, 1, n, n))), np.bool_)
        return g("Softmax", g(op, mask, g.input(2, n, n), g.constant(-1e9)), axis=3)
    x = g.input(*shape)
    if kind == "mask":
        mask = g.constant(g.rng.random(shape) < 0.5, np.bool_)
    else:
        mask = g("Greater", x, g.constant(g.real(-1, 1)))
    parts = [x, operand(g, shape)]
    return g(op, mask, *(parts if g.chance() else parts[::-1]))


@operator("Cast")
def cast(g, op):
    shape = drawn_shape(g)
    kind = g.pick("double", "half", "int32", "int64", "bool", "uint8", "constant", "bfloat16")
    if kind == "constant":
        constant = g.constant(g.rng.integers(-3, 4, shape), g.pick(np.int64, np.int32, np.float64, np.float16))
        return g("Mul", g.input(*shape), g.to_float(constant))
    if kind == "bool":
        return g.to_float(g(op, g.input(*shape, values=np.round(g.numbers(BATCH, *shape))), to=T.BOOL))
    x = g.input(*shape, low=0.0 if kind == "uint8" else -9.0, high=9.0)
    if kind == "double":
        return g.to_float(g("Mul", g(op, x, to=T.DOUBLE), g.constant(1 / 3, np.float64)))
    codes = dict(half=T.FLOAT16, int32=T.INT32, int64=T.INT64, uint8=T.UINT8, bfloat16=T.BFLOAT16)
    if kind == "bfloat16" and g.opset < 13:
        return None
    return g.to_float(g(op, x, to=codes[kind]))


# Moving numbers.


@operator("Flatten")
def flatten(g, op):
    shape = drawn_shape(g)
    axis = g.pick(None, 1, 1, 0, 2, -1, -len(shape))
    return None if axis is not None and axis > len(shape) + 1 else g(op, g.input(*shape), axis=axis)


@operator("Reshape")
def reshape(g, op):
    a, b, c = g.sizes(3, 2, 4)
    x = g.input(a, b, c)
    target = g.pick(
        *((-1, a * b * c), (0, -1), (0, a * b, c), (0, -1, c), (-1, a, b * c), (0, 0, -1), (0, 0, c, b)),
        *((-1, b, c), (-1, c), (0, a, 0, -1), (-1, a, 1, b, c), (0, b, a, -1)),
    )
    allow_zero = g.pick(None, 0, 1 if 0 not in target else 0) if g.opset >= 14 else None
    y = g(op, x, g.ints(*target), allowzero=allow_zero)
    if target in ((-1, b, c), (-1, c)) and g.chance():  # the batch merged with an axis and separated again
        y = g(op, g("Relu", y), g.ints(-1, a, b, c))
    return y


@operator("Transpose")
def transpose(g, op):
    shape = drawn_shape(g)
    x = g.input(*shape)
    if g.chance(0.2):
        y = g(op, x)
        return g(op, g("Relu", y)) if g.chance(0.7) else y
    if g.chance(0.2) and len(shape) > 1:  # to sequence first and back, as attention is exported
        swap = [1, 0, *range(2, len(shape) + 1)]
        return g(op, g("Mul", g(op, x, perm=swap), g.constant(2.0)), perm=swap)
    return g(op, x, perm=[0, *(g.rng.permutation(len(shape)) + 1).tolist()])


@operator("Squeeze")
def squeeze(g, op):
    shape = [1 if g.chance() else s for s in g.sizes(3, 2, 4)]
    ones = [i + 1 for i, s in enumerate(shape) if s == 1]
    if not ones:
        return None
    axes = ones if g.chance() else [g.pick(*ones)]
    axes = [a - 4 if g.chance(0.4) else a for a in axes]
    return g.with_axes(op, g.input(*shape), None if g.chance(0.15) else axes, 13)


@operator("Unsqueeze")
def unsqueeze(g, op):
    shape = drawn_shape(g)
    rank = len(shape) + 1
    axes = g.pick([g.size(1, rank)], [-1], [1, rank + 1], [g.size(1, rank), -1], [rank + 1, rank])
    if len({a % (rank + len(axes)) for a in axes}) < len(axes):
        return None
    return g.with_axes(op, g.input(*shape), axes, 13)


@operator("Concat")
def concat(g, op):
    shape = g.sizes(g.size(1, 3), 1, 3)
    axis = g.axis(len(shape) + 1)
    inputs = []
    for _ in range(g.size(1, 3)):
        own = list(shape)
        own[axis - 1 if axis > 0 else axis] = g.size(1, 3)
        inputs.append(g.input(*own))
    if g.chance(0.3):
        inputs.append(g("Relu", inputs[0]))
    return g(op, *inputs, axis=axis)


@operator("Split")
def split(g, op):
    shape = g.sizes(g.size(1, 3), 1, 3)
    axis = g.axis(len(shape) + 1)
    parts = g.size(2, 3)
    kind = g.pick("equal", "given", "uneven")
    sizes = [g.size(1, 3)] * parts if kind == "equal" else g.sizes(parts, 1, 3)
    if kind == "uneven" and g.opset >= 18:
        each = g.size(1, 3)
        sizes = [each] * (parts - 1) + [g.size(1, each)]
    shape[axis - 1 if axis > 0 else axis] = sum(sizes)
    x = g.input(*shape)
    if g.opset < 13:
        y = g(op, x, outputs=parts, axis=axis, split=None if kind == "equal" else sizes)
    elif g.opset >= 18 and kind != "given":
        y = g(op, x, outputs=parts, axis=axis, num_outputs=parts)
    else:
        y = g(op, x, "" if kind == "equal" else g.ints(*sizes), outputs=parts, axis=axis)
    return y if g.chance(0.3) else g("Concat", *y[::-1], axis=axis)


@operator("Slice")
def slices(g, op):
    shape = g.sizes(g.size(1, 3), 2, 5)
    rank = len(shape) + 1
    axes = sorted(g.rng.choice(np.arange(1, rank), g.size(1, min(2, rank - 1)), replace=False).tolist())
    starts, ends, steps = [], [], []
    for axis in axes:
        n = shape[axis - 1]
        step = g.pick(1, 1, 2, -1, -2)
        if step > 0:
            start, end = g.pick(0, 1, -1, -n, -n - 3, n - 1), g.pick(n, n + 5, INT64_MAX, -1, n - 1)
        else:
            start, end = g.pick(-1, n - 1, n + 4, INT64_MAX), g.pick(-(2**63), -n - 1, 0, -n, -n - 9)
        starts, ends, steps = starts + [start], ends + [end], steps + [step]
    if not all(np.empty(shape[a - 1])[s:e:t].size for a, s, e, t in zip(axes, starts, ends, steps)):
        return None
    dtype = g.pick(np.int64, np.int32) if max(map(abs, starts + ends)) < 2**31 else np.int64
    given = [a - rank if g.chance(0.4) else a for a in axes]
    x, unit = g.input(*shape), set(steps) == {1}
    if g.chance(0.2) and axes == list(range(1, rank)) and unit:  # no axes given: all of the batch, then the rest
        return g(op, x, g.ints(0, *starts), g.ints(INT64_MAX, *ends))
    parts = [g.constant(values, dtype) for values in (starts, ends, given)]
    return g(op, x, *parts, "" if unit and g.chance() else g.constant(steps, dtype))


@operator("Gather")
def gather(g, op):
    if g.chance(0.3):  # rows of a table by token ids
        n, d = g.size(2, 5), g.size(1, 3)
        x = g.input(g.size(1, 4), low=0, high=n - 0.01)
        return g(op, g.constant(g.numbers(n, d)), g("Cast", x, to=g.pick(T.INT64, T.INT32)), axis=g.pick(None, 0))
    shape = drawn_shape(g)
    axis = g.axis(len(shape) + 1)
    n = [0, *shape][axis]
    indices = g.rng.integers(-n, n, g.pick((), (), (1,), (2,), (3,), (2, 2)))
    return g(op, g.input(*shape), g.constant(indices, g.pick(np.int64, np.int32)), axis=axis)


@operator("GatherElements")
def gather_elements(g, op):
    n, k = g.size(2, 5), g.size(1, 3)
    ids = g("Cast", g.input(k, low=-n + 0.01, high=n - 0.01), to=T.INT64)
    return g(op, g.input(n), ids, axis=g.pick(1, -1))


@operator("Pad")
def pad(g, op):
    shape = g.sizes(g.size(1, 3), 2, 4)
    rank = len(shape) + 1
    mode = g.pick("constant", "constant", "reflect", "edge")
    low = -1 if mode == "constant" else 0
    pads = [[0, 0]] + [[g.size(low, 1 if mode == "reflect" else 2) for _ in range(2)] for _ in shape]
    if any(n + sum(p) < 1 for n, p in zip(shape, pads[1:])):
        return None
    value = g.constant(g.real(-1, 1)) if mode == "constant" and g.chance() else ""
    x = g.input(*shape)
    mode = None if mode == "constant" and g.chance() else mode
    if g.opset >= 18 and g.chance():
        axes = sorted(g.rng.choice(np.arange(1, rank), g.size(1, rank - 1), replace=False).tolist())
        flat = [pads[a][i] for i in (0, 1) for a in axes]
        return g(op, x, g.ints(*flat), value, g.ints(*[a - rank if g.chance(0.4) else a for a in axes]), mode=mode)
    return g(op, x, g.ints(*[p[i] for i in (0, 1) for p in pads]), value, mode=mode)


@operator("Trilu", since=14)
def triangle(g, op):
    """Of a constant mask, as causal attention is exported, or of the numbers."""
    n, m = g.size(2, 4), g.size(2, 4)
    diagonal = g.pick("", g.ints(g.size(-1, 1), scalar=True))
    upper = g.pick(None, 0, 1)
    if g.chance():
        mask = g("Cast", g(op, g.constant(np.ones((n, m))), diagonal, upper=upper), to=T.BOOL)
        return g("Softmax", g("Where", mask, g.input(n, m), g.constant(-1e9)), axis=-1)
    return g(op, g.input(n, m), diagonal, upper=upper)


@operator("Tile")
def tile(g, op):
    shape = g.sizes(g.size(1, 3), 1, 3)
    return g(op, g.input(*shape), g.ints(1, *g.sizes(len(shape), 1, 3)))


@operator("DepthToSpace", "SpaceToDepth")
def depth(g, op):
    block, c, h, w = 2, g.size(1, 2), g.size(1, 2), g.size(1, 2)
    if op == "DepthToSpace":
        return g(op, g.input(c * block * block, h, w), blocksize=block, mode=g.pick(None, "DCR", "CRD"))
    return g(op, g.input(c, h * block, w * block), blocksize=block)
