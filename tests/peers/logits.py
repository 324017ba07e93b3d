"""Checks a network and prints the largest difference to ONNX Runtime's logits: logits.py MODEL PATCHES LOGITS"""

import sys

import numpy as np
import onnx
import onnxruntime

path, patches, logits = sys.argv[1:]
onnx.checker.check_model(path, full_check=True)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(network_input,) = session.get_inputs()
x = np.fromfile(patches, np.uint8).reshape(-1, *network_input.shape[1:]).astype(np.float32)
(theirs,) = session.run(None, {network_input.name: x})
ours = np.fromfile(logits, "<f4").reshape(theirs.shape)
print(np.abs(ours - theirs).max())
