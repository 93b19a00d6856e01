"""Examples as NumPy users save them, in .npz and .npy files of every type and order, and images as PIL resizes them.

Each case holds the bytes of a file (compressed, base64) and either what it holds, numbers in row-major order, or words of
the error that is due.
"""

import base64
import io
import zlib

import numpy as np
from PIL import Image

from common import write

RNG = np.random.default_rng(18)
CASES = []


def case(name, file, **what):
    CASES.append({"name": name, "file": base64.b64encode(zlib.compress(file, 9)).decode(), **what})


def saved(arrays, save=np.savez):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def numbers(x):
    return {"shape": list(x.shape), "x": np.ascontiguousarray(x).astype(float).ravel()}


# Every type, either byte order.
for code in "b1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8".split():
    for order in "<>":
        kind = np.dtype(order + code)
        if kind.itemsize == 1 and order == ">":
            continue
        x = (RNG.integers(0, 2, (3, 2)) if code[0] == "b" else RNG.integers(0, 100, (3, 2))).astype(kind)
        if code[0] == "f":
            x = (RNG.standard_normal((3, 2)) * 10).astype(kind)
        y = np.array([0, 2, 1]).astype(">i4" if order == ">" else "i8")
        case(f"type {kind.str}", saved({"x": x, "y": y}), **numbers(x), y=y.astype(float))

# Orders of axes, packed and not.
for shape in [(4, 3), (2, 3, 4), (2, 3, 4, 5), (4, 1), (1, 3)]:
    for save in (np.savez, np.savez_compressed):
        for kind in ("<f4", ">f8", "u1", "<i4"):
            x = np.asfortranarray(RNG.integers(0, 200, shape).astype(kind))
            case(f"columns first {shape} {kind} {save.__name__}", saved({"x": x}, save), **numbers(x))
x = RNG.standard_normal((6, 4)).astype("f4")
case("a transposed view", saved({"x": x.T, "y": np.arange(4.0)}), **numbers(x.T), y=np.arange(4.0))
case("every second row", saved({"x": x[::2]}), **numbers(x[::2]))

# Targets.
words = ["cat", "dog", "ant", "dog", "Emu", "cat"]
for name, y in {
    "<U3": np.array(words),
    ">U3": np.array(words, dtype=">U3"),
    "S3": np.array(words, dtype="S"),
    "column": np.array(words)[:, None],
    "letters": np.array(["été", "naïve", "日本", "été", "naïve", "日本"]),
}.items():
    case(f"words {name}", saved({"x": x, "y": y}), **numbers(x), words=[str(w) for w in np.array(y, str).ravel()])
case("values", saved({"x": x, "y": x[:, :3]}), **numbers(x), y=x[:, :3].astype(float).ravel())
case("one column", saved({"x": x, "y": x[:, :1]}), **numbers(x), y=x[:, 0].astype(float))
case("other arrays", saved({"x": x, "a/x": x, "x_test": x}), **numbers(x), notice="the arrays `a/x`, `x_test` are not read")

# What is no data.
objects = np.array([1.0, "a"], dtype=object)
for name, arrays, error in [
    ("objects", {"x": objects}, ["array `x`", "Python objects", "not executed"]),
    ("ragged labels", {"x": x, "y": np.array([1, [2]] * 3, dtype=object)}, ["array `y`", "Python objects"]),
    ("records", {"x": np.zeros(3, dtype=[("a", "f4")])}, ["array `x`", "records"]),
    ("complex", {"x": x.astype("c8")}, ["array `x`", "<c8"]),
    ("dates", {"x": np.zeros((2, 2), "M8[s]")}, ["array `x`", "<M8[s]"]),
    ("text", {"x": np.array([["a"], ["b"]])}, ["array `x`", "found text"]),
    ("other names", {"a": x, "b": x}, ["array `x`", '["a", "b"]', "numpy.savez(path, x=…, y=…)"]),
    ("no name", {"arr_0": x}, ["array `x`", '["arr_0"]']),
    ("no rows", {"x": np.zeros((0, 4))}, ["array `x`", "at least one row"]),
    ("no axes", {"x": np.float32(3)}, ["array `x`", "expected shape (m, n)"]),
    ("one axis", {"x": np.arange(3.0)}, ["array `x`", "expected shape (m, n)"]),
    ("not a number", {"x": np.array([[1, 2], [3, np.nan]])}, ["array `x`, row 1, column 1", "NaN"]),
    ("infinite", {"x": x, "y": np.array([1, 2, np.inf, 4, 5, 6])}, ["array `y`, row 2, column 0", "inf"]),
    ("too few labels", {"x": x, "y": np.arange(5)}, ["array `y`", "(6,)", "[5]"]),
    ("rounded", {"x": np.array([[2**53 + 1]])}, ["array `x`", "2^53", "9007199254740993"]),
    ("empty words", {"x": x, "y": np.array(["a", "", "b"] * 2)}, ["array `y`, row 1", "empty text"]),
    ("two words", {"x": x, "y": np.array([["a", "b"]] * 6)}, ["array `y`", "one class an example"]),
]:
    case(name, saved(arrays), error=error)
case("a bomb", saved({"x": np.zeros((200, 1 << 20), "u1")}, np.savez_compressed), error=["256 times", "numpy.savez"])


# Single arrays.
def single(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


for version in [(1, 0), (2, 0), (3, 0)]:
    case(f"version {version[0]}", single(x, version), **numbers(x))
case("two arrays", single(x) + single(x), error=["array `x`", "more than one array"])
case("cut short", single(x)[:-1], error=["array `x`", "damaged"])

# Images: PIL rounds after each axis, so that levels may differ by one.
image = (np.add.outer(np.arange(9) * 20, np.arange(14) * 5)[..., None] + [0, 10, 20]).astype("u1")
for mode in ("RGB", "L"):
    picture = Image.fromarray(image).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    resized = np.asarray(picture.resize((6, 4), Image.Resampling.BILINEAR).convert("RGB")).transpose(2, 0, 1)
    case(f"image {mode}", buffer.getvalue(), levels=resized.astype(float).ravel())

write(CASES)
