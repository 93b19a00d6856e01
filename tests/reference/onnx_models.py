"""What ONNX Runtime computes with a whole ONNX model, and how long a forward pass takes.

    python onnx_models.py run MODEL.onnx INPUTS.npz    a JSON line for each output
    python onnx_models.py time MODEL.onnx ...          milliseconds for 1000 images with 1 and 2 threads, 7 runs

In the npz, arrays are named as the model's inputs; any other array of an output's shape is taken for another program's
output, and the line holds the largest difference to it.
"""

import json
import os
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort

N_IMAGES, N_RUNS = 1000, 7
TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
}


def session(path, threads=0):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, inputs):
    """Prints every output that is a tensor of numbers."""
    network, arrays = session(path), np.load(inputs)
    names = {node.name: TYPES[node.type] for node in network.get_inputs()}
    outputs = network.run(None, {name: arrays[name].astype(dtype) for name, dtype in names.items()})
    for node, value in zip(network.get_outputs(), outputs):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            print(json.dumps({"output": node.name, "type": node.type}))
            continue
        line = {"output": node.name, "shape": list(value.shape), "values": value.tolist()}
        others = [key for key in arrays.files if key not in names and arrays[key].shape == value.shape]
        line["difference"] = {key: float(np.abs(arrays[key] - value).max()) for key in others}
        print(json.dumps(line))


def images(node):
    """`N_IMAGES` random images of the size that the model declares."""
    shape = [size if isinstance(size, int) else N_IMAGES for size in node.shape]
    values = np.random.default_rng(0).random((N_IMAGES, *shape[1:]))
    return values.astype(TYPES[node.type])


def milliseconds(path, threads):
    """Median and least time on the clock, and the median of the processor's time, which a busy machine changes less."""
    network = session(path, threads)
    feed = {node.name: images(node) for node in network.get_inputs()}
    network.run(None, feed)  # the first pass allocates
    clock, processor = [], []
    for _ in range(N_RUNS):
        start = time.perf_counter(), time.process_time()
        network.run(None, feed)
        clock.append(1000 * (time.perf_counter() - start[0]))
        processor.append(1000 * (time.process_time() - start[1]))
    return f"{statistics.median(clock):8.1f} {min(clock):8.1f} {statistics.median(processor):8.1f}"


def measure(paths):
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"onnxruntime {ort.__version__}, {os.cpu_count()} cores, load {load}; ms for {N_IMAGES} images, {N_RUNS} runs"
    )
    columns = f"{'median':>8} {'least':>8} {'cpu':>8}"
    print(f"{'':40}   1 thread: {columns}   2 threads: {columns}")
    for path in paths:
        print(f"{path[-40:]:40}             {milliseconds(path, 1)}              {milliseconds(path, 2)}", flush=True)


if __name__ == "__main__":
    command, *paths = sys.argv[1:] or ["help"]
    if command == "run" and len(paths) == 2:
        run(*paths)
    elif command == "time" and paths:
        measure(paths)
    else:
        sys.exit(__doc__)
