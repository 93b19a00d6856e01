"""How the scripts of this folder write numbers."""

import json
import sys

import numpy as np


def plain(value):
    """Arrays as nested lists; every float as the nearest f64, which JSON keeps to the last bit."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist() if value.dtype.kind in "iu" else value.astype(float).tolist())
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    return float(value)


def write(cases):
    """A list, one case a line."""
    style = dict(allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    lines = ",\n".join(json.dumps(plain(case), **style) for case in cases)
    sys.stdout.write(f"[\n{lines}\n]\n")
