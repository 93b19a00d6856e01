"""One random ONNX model at a time, and what ONNX Runtime computes with it: the ground of onnx_operators.py."""

import base64
import json
import math
import sys
import warnings
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(4)
NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (11, 13, 18, NEWEST)
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 17: 8, 18: 8, 20: 9}  # what exporters of that time wrote; 10 later
BATCH = 3
MAX_NUMBERS = 200  # of an input
OPERATORS = {}
INT64_MAX = 2**63 - 1


class TooLarge(Exception):
    """An input has more than MAX_NUMBERS numbers."""


class Graph:
    """A model being built: `g("Relu", x, alpha=…)` adds a node and returns the name of its output."""

    def __init__(self, rng, opset):
        self.rng, self.opset = rng, opset
        self.nodes, self.initializers, self.inputs, self.data, self.domains = [], [], [], {}, set()

    # Random choices.
    def size(self, low=1, high=5):
        return int(self.rng.integers(low, high + 1))

    def sizes(self, n, low=1, high=5):
        return [self.size(low, high) for _ in range(n)]

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, p=0.5):
        return bool(self.rng.random() < p)

    def numbers(self, *shape, low=-2.0, high=2.0):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def real(self, low, high):
        return round(float(self.rng.uniform(low, high)), 3)

    def axis(self, rank, first=1):
        """An axis from `first` on, counted from either end."""
        axis = self.size(first, rank - 1)
        return axis - rank if self.chance(0.4) else axis

    # Parts of a model.
    def input(self, *shape, low=-2.0, high=2.0, values=None):
        name = "x" if not self.inputs else f"x{len(self.inputs) + 1}"
        self.inputs.append(helper.make_tensor_value_info(name, T.FLOAT, ["N", *shape]))
        values = self.numbers(BATCH, *shape, low=low, high=high) if values is None else values
        self.data[name] = np.asarray(values, np.float32).reshape(BATCH, *shape)
        if self.data[name].size > MAX_NUMBERS:
            raise TooLarge
        return name

    def constant(self, values, dtype=np.float32):
        """An initializer or the output of a Constant node, raw or typed, as exporters have both."""
        values = np.asarray(values, dtype)
        name = f"c{len(self.initializers) + len(self.nodes)}"
        tensor = numpy_helper.from_array(values, name)
        if self.chance(0.3):
            code = helper.np_dtype_to_tensor_dtype(values.dtype)
            tensor = helper.make_tensor(name, code, values.shape, values.flatten().tolist())
        if self.chance(0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def ints(self, *values, scalar=False):
        return self.constant(values[0] if scalar else list(values), np.int64)

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"t{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        inputs = list(inputs)
        while inputs and inputs[-1] == "":
            inputs.pop()
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        self.domains.add(domain)
        return names[0] if outputs == 1 else names

    def with_axes(self, op, x, axes, since, **attributes):
        """`axes` are an attribute before opset `since` and an input from then on."""
        if self.opset < since:
            return self(op, x, axes=axes, **attributes)
        return self(op, x, self.ints(*axes) if axes is not None else "", **attributes)

    def to_float(self, x):
        return self("Cast", x, to=T.FLOAT)

    def to_int64(self, x):
        return self("Cast", x, to=T.INT64)

    def to_vector(self, scalar):
        return self.with_axes("Unsqueeze", scalar, [0], 13)

    def shape_of(self, x, *axes):
        """The sizes of some axes as TorchScript asks for them: Shape, then Gather of a scalar."""
        return [self("Gather", self("Shape", x), self.ints(axis, scalar=True), axis=0) for axis in axes]

    def vector(self, *scalars):
        """One shape of several numbers: Unsqueeze each and Concat."""
        parts = [self.to_vector(s) if isinstance(s, str) else self.ints(s) for s in scalars]
        return self("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def model(self, outputs, shapes=None):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        shapes = shapes or [None] * len(outputs)
        infos = [helper.make_tensor_value_info(name, T.FLOAT, shape) for name, shape in zip(outputs, shapes)]
        graph = helper.make_graph(self.nodes, "g", self.inputs, infos, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        if "ai.onnx.ml" in self.domains:
            opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSIONS.get(self.opset, 10))


def operator(*names, since=11):
    """Registers a function that builds one random case of an operator and returns the output or outputs."""

    def register(build):
        for name in names:
            OPERATORS[name] = (build, [o for o in sorted({*OPSETS, since}) if o >= since], name)
        return build

    return register


def features(g, low=1, high=3):
    """The shape behind the batch, few numbers in all."""
    return g.sizes(g.size(low, high), 1, 4)


# Running.


class Unconfirmed(Exception):
    """ONNX's reference evaluator finds other values."""


def runtime(model):
    """A session that computes operator by operator: no fusion, one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def packed(array):
    return {"shape": list(array.shape), "data": base64.b64encode(array.astype("<f4").tobytes()).decode()}


def is_by_example(session, data, outputs):
    """Whether each row of the outputs depends on the same row of the inputs alone."""
    for i in range(BATCH):
        try:
            alone = session.run(None, {name: values[i : i + 1] for name, values in data.items()})
        except Exception:  # a size that only fits the whole batch
            return False
        for one, rows in zip(alone, outputs):
            if rows.shape[:1] != (BATCH,) or one.shape != (1, *rows.shape[1:]):
                return False
            if not np.allclose(one[0], rows[i], 1e-5, 1e-6):
                return False
    return True


def evaluated(model, data):
    """The outputs by ONNX's reference evaluator, and by a formula where that evaluator departs from the standard."""
    node, opset = model.graph.node[-1], model.opset_import[0].version
    x = data.get("x")
    if node.op_type == "GlobalMaxPool":  # the evaluator takes other axes of a 1-D image
        return [x.max(tuple(range(2, x.ndim)), keepdims=True)]
    if node.op_type == "Normalizer" and onnx.helper.get_node_attr_value(node, "norm") == b"MAX":  # it takes max |x|
        return [x / x.max(1, keepdims=True)]
    if node.op_type in ("Softmax", "LogSoftmax") and opset < 13 and len(model.graph.node) == 1:  # it flattens nothing
        axis = {a.name: a.i for a in node.attribute}.get("axis", 1)
        flat = x.astype(np.float64).reshape(math.prod(x.shape[:axis]), -1)
        log = flat - np.log(np.exp(flat).sum(1, keepdims=True))
        return [(np.exp(log) if node.op_type == "Softmax" else log).reshape(x.shape)]
    if node.op_type == "BatchNormalization" and opset < 14:  # it trains
        newer = onnx.ModelProto()
        newer.CopyFrom(model)
        newer.opset_import[0].version = 15  # means the same
        model = newer
    return ReferenceEvaluator(model).run(None, data)


def reference_difference(model, data, outputs):
    """Largest difference to ONNX's reference evaluator over max(1, largest value); None where that cannot run."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            expected = evaluated(model, data)
    except Exception:
        return None
    largest = 0.0
    for ours, other in zip(outputs, expected):
        if ours.shape != np.shape(other):
            return math.inf
        if ours.size:
            largest = max(largest, np.abs(ours - other).max() / max(1.0, np.abs(ours).max()))
    return float(largest)


def run(name, operator_name, g, outputs):
    """One case as JSON holds it, or None where the values are of no use."""
    data, model = g.data, g.model(outputs)
    session = runtime(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, data)
    if any(not np.isfinite(v).all() or v.size == 0 or np.abs(v).max() > 1e4 for v in values):
        return None
    difference = reference_difference(model, data, values)
    if difference is not None and not difference < 1e-5:
        raise Unconfirmed(f"{difference:.1e}")
    by_example = is_by_example(session, data, values)
    if by_example:
        model = g.model(outputs, [["N", *v.shape[1:]] for v in values])
    else:
        model = g.model(outputs, [[f"d{i}" for i in range(v.ndim)] for v in values])
    if g.nodes[-1].op_type != "GroupNormalization" or g.opset >= 21:  # deprecated from 18 to 20, but written by then
        onnx.checker.check_model(model)
    return {
        "operator": operator_name,
        "opset": g.opset,
        "name": name,
        "nodes": " ".join(node.op_type for node in g.nodes),
        "confirmed": difference is not None,
        "by_example": by_example,
        "model": base64.b64encode(model.SerializeToString()).decode(),
        "inputs": {key: packed(v) for key, v in data.items()},
        "outputs": {key: packed(v) for key, v in zip(names, values)},
    }


def cases_of(operator_name, each, log):
    """`each` cases of an operator over its opsets in turn."""
    build, opsets, argument = OPERATORS[operator_name]
    found, tries, last = [], 0, None
    while len(found) < each and tries < 40 * each:
        opset = opsets[::-1][len(found) % len(opsets)]  # the newest first, so that few cases have it
        rng = np.random.default_rng([zlib.crc32(operator_name.encode()), tries])
        tries += 1
        g = Graph(rng, opset)
        try:
            outputs = build(g, argument)
        except TooLarge:
            continue
        if outputs is None:
            continue
        name = f"{operator_name}, opset {opset}, {tries}"
        try:
            case = run(name, operator_name, g, outputs)
        except Unconfirmed as error:
            log(f"{name}: not confirmed ({error}): {' '.join(str(g.nodes[-1]).split())}")
            continue
        except Exception as error:
            last = f"{name}: {str(error)[:300]}"
            log(last)
            continue
        if case:
            found.append(case)
    if len(found) < each:
        log(f"{operator_name}: only {len(found)} cases; {last}")
    return found


def write(path, command, each):
    errors = []
    names = sorted(OPERATORS, key=str.lower)
    cases = [case for name in names for case in cases_of(name, each, errors.append)]
    versions = {"python": sys.version.split()[0], "onnx": onnx.__version__, "onnxruntime": ort.__version__}
    style = dict(separators=(",", ":"), ensure_ascii=False)
    lines = ",\n".join(json.dumps(case, **style) for case in cases)
    versions = json.dumps(dict(versions, numpy=np.__version__), **style)
    with open(path, "w") as file:
        file.write(f'{{"versions":{versions},"command":{json.dumps(command)},"cases":[\n{lines}\n]}}\n')
    print(*errors, f"{len(cases)} cases of {len(names)} operators", sep="\n", file=sys.stderr)
