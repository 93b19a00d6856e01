"""A small ONNX file with numbers of every type, in typed fields and raw, and attributes of every kind.

The onnx package writes it; it is no network that could run. Run in this folder; it writes onnx_small.onnx.
"""

import onnx
from onnx import TensorProto as T, helper as h

tensor = h.make_tensor
NUMBERS = [0.5, -1.25, 65504.0]
typed = [
    tensor("f32", T.FLOAT, [3], NUMBERS),
    tensor("f64", T.DOUBLE, [3], NUMBERS),
    tensor("f16", T.FLOAT16, [3], NUMBERS),
    tensor("bf16", T.BFLOAT16, [3], NUMBERS),
    tensor("i8", T.INT8, [2], [-128, 127]),
    tensor("i16", T.INT16, [2], [-32768, 32767]),
    tensor("i32", T.INT32, [2], [-(2**31), 2**31 - 1]),
    tensor("i64", T.INT64, [2], [-(2**63), 2**63 - 1]),
    tensor("u8", T.UINT8, [2], [0, 255]),
    tensor("u16", T.UINT16, [2], [0, 65535]),
    tensor("u32", T.UINT32, [2], [0, 2**32 - 1]),
    tensor("u64", T.UINT64, [2], [0, 2**63 - 1]),
    tensor("bool", T.BOOL, [2], [True, False]),
    tensor("text", T.STRING, [2], ["ab", ""]),
    tensor("none", T.FLOAT, [0, 3], []),
]
to_array, from_array = onnx.numpy_helper.to_array, onnx.numpy_helper.from_array
raw = [from_array(to_array(t), t.name + "_raw") for t in typed if t.name != "text"]
far = T(name="far", data_type=T.FLOAT, dims=[2], data_location=T.EXTERNAL)
for key, value in [("location", "sub/far.bin"), ("offset", "4"), ("length", "8")]:
    far.external_data.add(key=key, value=value)

foo = h.make_node(
    "Foo", ["x", ""], ["y", "z"], name="foo", domain="own", doc_string="Says nothing.",
    i=-7, f=0.5, s="text", ints=[1, -2], floats=[1.5, -2.5], strings=["a", "b"], t=tensor("", T.INT64, [1], [5]),
    bytes=b"\xff", body=h.make_graph([], "inner", [], []),
)  # fmt: skip
constant = h.make_node("Constant", [], ["c"], value=tensor("v", T.FLOAT, [1, 2], [1, 2]))
graph = h.make_graph(
    [constant, foo],
    "small",
    [h.make_tensor_value_info("x", T.FLOAT, ["batch", 3, None])],
    [h.make_tensor_value_info("y", T.FLOAT, None), h.make_tensor_sequence_value_info("z", T.FLOAT, None)],
    typed + raw + [far],
    value_info=[h.make_tensor_value_info("c", T.FLOAT, [1, 2])],
)
graph.quantization_annotation.add(tensor_name="y")
opsets = [h.make_opsetid("", 17), h.make_opsetid("own", 2)]
model = h.make_model(graph, producer_name="hand", producer_version="1", ir_version=8, opset_imports=opsets)
h.set_model_props(model, {"key": "value", "other": "thing"})
with open("onnx_small.onnx", "wb") as file:
    file.write(model.SerializeToString())
