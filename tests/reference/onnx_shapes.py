"""Random models of arithmetic with shapes, as torch's two exporters write it, and of scikit-learn's scaling.

All of the shapes are constant once the first axis is symbolic.
"""

import numpy as np
from onnx import TensorProto as T, helper

from onnx_arrays import drawn_shape, expand_token
from onnx_cases import INT64_MAX, operator

# Arithmetic with shapes.


@operator("Constant")
def constant(g, op):
    """All the attributes that may hold its value; whole numbers become the shape of a Reshape."""
    n = g.size(2, 4)
    x = g.input(n)
    kind = g.pick("value", "value_float", "value_floats", "value_int", "value_ints") if g.opset >= 12 else "value"
    if kind == "value_int":
        return g("Mul", x, g.to_float(g(op, value_int=g.size(-3, 3) or 2)))
    if kind == "value_ints":
        return g("Reshape", x, g(op, value_ints=g.pick([-1, n], [0, 1, n], [-1, 1, 1, n])))
    options = dict(
        value=helper.make_tensor("v", T.FLOAT, [n], g.numbers(n).tolist()),
        value_float=g.real(-2, 2),
        value_floats=g.numbers(n).tolist(),
    )
    return g("Add", x, g(op, **{kind: options[kind]}))


@operator("ConstantOfShape")
def constant_of_shape(g, op):
    if g.chance(0.3):
        return expand_token(g, op)
    shape = drawn_shape(g)
    x = g.input(*shape)
    value = g.pick(None, 1.0, -0.5)
    tensor = None if value is None else helper.make_tensor("v", T.FLOAT, [1], [value])
    if g.chance():
        return g("Add", x, g(op, g("Shape", x), value=tensor))
    return g("Concat", x, g(op, g.vector(*g.shape_of(x, 0), *shape), value=tensor), axis=1)


@operator("Expand")
def expand(g, op):
    kind = g.pick("token", "constant", "like", "mask")
    if kind == "token":
        return expand_token(g, op)
    shape = drawn_shape(g)
    ones = [s if g.chance() else 1 for s in shape]
    if kind == "constant":
        return g(op, g.input(*ones), g.ints(1, *shape) if g.chance(0.6) else g.ints(*shape))
    x = g.input(*shape)
    if kind == "like":
        small = g.constant(g.numbers(*ones)) if g.chance() else g.input(*ones)
        return g("Mul", x, g(op, small, g("Shape", x)))
    n = shape[-1]
    mask = g(op, g.constant(np.tril(np.ones((1, n)))), g.vector(*g.shape_of(x, *range(len(shape) + 1))))
    return g("Mul", x, mask)


@operator("Shape")
def shape_arithmetic(g, op):
    a, b, c = 2 * g.size(1, 2), g.size(2, 3), g.size(2, 3)
    x = g.input(a, b, c)
    kind = g.pick("view", "slice", "merge", "heads", "chunk", "scale", "attributes", "pixels", "mean")
    if kind == "view":  # x.view(x.size(0), -1)
        return g("Reshape", x, g.vector(*g.shape_of(x, 0), -1))
    if kind == "slice":
        begin = g("Slice", g("Shape", x), g.ints(0), g.ints(g.pick(1, 2)), g.ints(0))
        return g("Reshape", x, g("Concat", begin, g.ints(-1), axis=0))
    if kind == "merge":  # x.view(n, c, h * w) by sizes
        n, channels, height, width = g.shape_of(x, 0, 1, 2, 3)
        return g("Reshape", x, g.vector(n, channels, g("Mul", height, width)))
    if kind == "heads":
        n, channels = g.shape_of(x, 0, 1)
        half = g("Div", channels, g.ints(2, scalar=True))
        half = g.to_int64(g("Floor", g.to_float(half))) if g.chance() else half
        y = g("Reshape", x, g.vector(n, 2, half, b, c))
        y = g("Transpose", y, perm=[0, 2, 1, 3, 4])  # a channel shuffle
        return g("Reshape", y, g.vector(n, *g.shape_of(x, 1, 2, 3)) if g.chance() else g("Shape", x))
    if kind == "chunk":  # x.chunk(2, 1) by Shape, Add, Div, Mul, Slice
        (channels,) = g.shape_of(x, 1)
        half = g("Div", g("Add", g.to_vector(channels), g.ints(1)), g.ints(2))
        first = g("Slice", x, g.ints(0), half, g.ints(1))
        second = g("Slice", x, half, g("Mul", half, g.ints(2)), g.ints(1))
        return g("Mul", first, g("Sigmoid", second))
    if kind == "scale":  # 1 / √d of attention
        last = g("Slice", g("Shape", x), g.ints(-1), g.ints(INT64_MAX))
        root = g("Sqrt", g.to_float(last))
        return g("Div", x, root) if g.chance() else g("Mul", x, g("Div", g.constant([1.0]), root))
    if kind == "attributes" and g.opset >= 15:
        start, end = g.pick((0, 1), (None, 2), (-4, -2), (0, -3))
        return g("Reshape", x, g("Concat", g(op, x, start=start, end=end), g.ints(-1), axis=0))
    if kind == "pixels":
        n, channels, height, width = g.shape_of(x, 0, 1, 2, 3)
        area = g("Mul", g("Mul", channels, height), width)
        return g("Reshape", x, g.vector(n, area)) if g.chance() else g("Reshape", x, g.vector(-1, area))
    (width,) = g.shape_of(x, 3)
    return g("Div", g.with_axes("ReduceSum", x, [3], 13, keepdims=0), g.to_float(width))


@operator("Mod")
def remainder(g, op):
    """Whole sizes, as attention's checks of heads are exported, and remainders of numbers (`fmod` keeps the sign)."""
    if g.chance(0.4):
        x = g.input(*drawn_shape(g), low=-9, high=9)
        divisor = g.pick(2.0, 1.5, -2.0)
        return g(op, x, g.constant(divisor), fmod=1)
    a, b = 2 * g.size(1, 2) + 1, g.size(2, 4)
    x = g.input(a, b)
    (rows,) = g.shape_of(x, 1)
    odd = g(op, rows, g.ints(g.pick(2, -2), scalar=True))
    even = g("Sub", rows, g("Abs", odd)) if g.chance() else g("Add", rows, odd)
    return g("Slice", x, g.ints(0), g.to_vector(even), g.ints(1))


@operator("CastLike", since=15)
def cast_like(g, op):
    x = g.input(*drawn_shape(g), low=-5, high=5)
    if g.chance():
        return g("Mul", x, g(op, g.constant(g.size(-3, 3), g.pick(np.int64, np.float64)), x))
    return g(op, g(op, x, g.ints(0, scalar=True)), x)


@operator("Size")
def size(g, op):
    n, m = g.sizes(2, 2, 4)
    kind = g.pick("table", "rank", "batch")
    x = g.input(n, m)
    if kind == "table":
        return g("Div", x, g.to_float(g(op, g.constant(g.numbers(n, m)))))
    if kind == "rank":
        return g("Mul", x, g.to_float(g(op, g("Shape", x))))
    rows = g("Div", g(op, x), g.ints(n * m, scalar=True))
    return g("Reshape", x, g.vector(rows, n * m))


@operator("Range")
def arange(g, op):
    t, d = g.size(2, 4), g.size(2, 3)
    x = g.input(t, d)
    zero, one = g.ints(0, scalar=True), g.ints(1, scalar=True)
    (length,) = g.shape_of(x, 1)
    kind = g.pick("positions", "float", "causal", "flip")
    if kind == "positions":
        table = g.constant(g.numbers(t + 2, d))
        return g("Add", x, g("Gather", table, g(op, zero, length, one)))
    if kind == "float":
        steps = g(op, g.constant(0.0), g.to_float(length), g.constant(1.0))
        return g("Add", x, g.with_axes("Unsqueeze", g("Mul", steps, g.constant(0.5)), [1], 13))
    if kind == "causal":
        row = g.with_axes("Unsqueeze", g(op, zero, length, one), [0], 13)
        column = g.with_axes("Unsqueeze", g(op, zero, length, one), [1], 13)
        later = g("Greater", row, column)
        products = g("MatMul", x, g("Transpose", x, perm=[0, 2, 1]))
        return g("Softmax", g("Where", later, g.constant(-1e9), products), axis=2)
    backward = g(op, g("Sub", length, one), g.ints(-1, scalar=True), g.ints(-1, scalar=True))
    return g("Gather", x, backward, axis=1)


# Features in front of scikit-learn's networks.


@operator("Scaler")
def scaler(g, op):
    d = g.size(2, 5)
    offset, scale = g.numbers(d), g.numbers(d, low=0.3)
    if g.chance(0.3):
        offset, scale = offset[:1], scale[:1]
    return g(op, g.input(d), domain="ai.onnx.ml", offset=offset.tolist(), scale=scale.tolist())


@operator("Normalizer")
def normalizer(g, op):
    low = g.pick(-2.0, 0.1)
    return g(op, g.input(g.size(2, 5), low=low), domain="ai.onnx.ml", norm=g.pick("MAX", "L1", "L2"))


@operator("LabelEncoder")
def label_encoder(g, op):
    x = g.input(g.size(1, 4), low=0, high=3.99)
    ids = g("Cast", x, to=T.INT64)
    values = g.numbers(3).tolist()
    if g.chance():
        return g(
            op, ids, domain="ai.onnx.ml", keys_int64s=[0, 1, 2], values_floats=values, default_float=g.pick(-1.0, 0.5)
        )
    options = dict(keys_floats=[0.0, 1.0, 2.0], values_floats=values, default_float=9.0)
    return g(op, g.to_float(ids), domain="ai.onnx.ml", **options)
