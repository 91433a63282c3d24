"""Opens what Plimsoll wrote with the readers people use: safetensors and NumPy.

    python readers.py WEIGHTS    exits 0 when all is as expected
"""
import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

tensors = load_file(sys.argv[1])
with safe_open(sys.argv[1], framework="numpy") as file:
    metadata = file.metadata()

shapes = {name: tensor.shape for name, tensor in tensors.items()}
expected = {
    "0.weight": (8, 3, 3, 3), "0.bias": (8,), "1.weight": (8,), "1.bias": (8,), "1.running_mean": (8,),
    "1.running_var": (8,), "3.body.0.weight": (8, 8, 3, 3), "6.weight": (3, 8), "6.bias": (3,),
}
assert shapes == expected, shapes
assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values())
assert metadata["format"] == "pt", metadata
assert json.loads(metadata["plimsoll.class_names"]) == ["night", "\u00e9t\u00e9", "day"], metadata
# Values, not only shapes: the writer fills every tensor with its own ramp.
for name, tensor in tensors.items():
    ramp = np.arange(tensor.size, dtype=np.float32).reshape(tensor.shape) / 8
    assert np.array_equal(tensor, ramp), name
print("readers: safetensors and NumPy read", len(tensors), "tensors")
