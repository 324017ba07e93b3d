"""Reads a quantized network by docs/quantization.md, and holds it against logits and ONNX Runtime: int8.py MODEL PATCHES LOGITS

The file, run in integers by the document's equations, must give the logits to the last bit. ONNX Runtime, which adds up f32 in
an order of its own, runs it twice: operator by operator, and optimized. Prints for each the share of patches whose largest logit
is the same, the largest difference of a logit, the share of levels that differ, and how far a level is at most from what its own
inputs say exactly: 0.5, and what f32 sums lose.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


class Level:
    """Integers and their scale."""

    def __init__(self, levels, scale):
        self.levels, self.scale = levels, scale


class Sum:
    """Accumulators `[N, channels, ...]` of products of levels of two scales."""

    def __init__(self, sums, activation_scale, weight_scale):
        self.sums, self.scales = sums, (activation_scale, weight_scale)

    def step(self):
        return np.float64(self.scales[0]) * np.float64(self.scales[1])

    def multiplier(self, divisor):
        # Equation (4): both operations round to f32.
        return (np.float32(self.scales[0]) * self.scales[1] / np.float32(divisor)).astype(np.float32)


def along_channels(values, like):
    return np.reshape(values, (1, -1) + (1,) * (like.ndim - 2))


def convolve(levels, weights, strides, pads):
    top, left, bottom, right = pads
    levels = np.pad(levels, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(levels, weights.shape[2:], (2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]].transpose(0, 2, 3, 1, 4, 5)
    rows = windows.reshape(*windows.shape[:3], -1).astype(np.float64)
    # Integers of this size are exact in f64, whatever the order of the sum.
    sums = rows @ weights.reshape(len(weights), -1).T.astype(np.float64)
    return sums.transpose(0, 3, 1, 2).astype(np.int64)


def run(graph, patches, forced=None):
    """Logits by the equations, all levels, and the worst distance of a `forced` level from its exact value."""
    values = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    values[graph.input[0].name] = patches
    found, worst = {}, 0.0
    for node in graph.node:
        a, *others = (values[name] for name in node.input)
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        match node.op_type:
            case "DequantizeLinear":
                value = Level(a, others[0])
            case "Conv":
                weights, bias = others
                sums = convolve(a.levels, weights.levels, attributes["strides"], attributes["pads"])
                value = Sum(sums + along_channels(bias.levels.astype(np.int64), sums), a.scale, weights.scale)
            case "Add":
                (b,) = others
                if isinstance(b, Sum):
                    assert np.allclose(a.step(), b.step(), rtol=1e-6, atol=0), "(8): both count in the same steps"
                    more = b.sums
                else:
                    # Equation (7).
                    factors = np.rint(np.float64(b.scale) / a.step())
                    assert np.allclose(factors * a.step(), b.scale, rtol=1e-6, atol=0), "(7): whole numbers"
                    more = along_channels(factors.astype(np.int64), a.sums) * b.levels
                value = Sum(a.sums + more, *a.scales)
            case "Relu":
                value = a
            case "QuantizeLinear":
                scale = others[0]
                if isinstance(a, Sum):
                    assert np.abs(a.sums).max() < 2**31, "(10)"
                    # Equation (5).
                    multiplier = along_channels(a.multiplier(scale), a.sums)
                    value = np.clip(np.rint(a.sums.astype(np.float32) * multiplier), 0, 255).astype(np.uint8)
                    exact = a.sums * along_channels(a.step(), a.sums) / np.float64(scale)
                else:
                    assert a.scale == scale
                    value, exact = a.levels, a.levels.astype(np.float64)
                if forced:
                    value = forced[node.output[0]]
                    worst = max(worst, np.abs(np.clip(exact, 0, 255) - value).max())
                found[node.output[0]] = value
            case "MaxPool":
                top, left, bottom, right = attributes["pads"]
                padded = np.pad(a.levels, ((0, 0), (0, 0), (top, bottom), (left, right)))
                windows = np.lib.stride_tricks.sliding_window_view(padded, attributes["kernel_shape"], (2, 3))
                rows, columns = attributes["strides"]
                value = Level(windows[:, :, ::rows, ::columns].max((4, 5)), a.scale)
            case "GlobalAveragePool":
                value = a
            case "Flatten":
                places = np.prod(a.levels.shape[2:])
                value = Level(a.levels.astype(np.int64).sum((2, 3)), a.scale)
            case "Gemm":
                weights, bias = others
                sums = a.levels @ weights.levels.T.astype(np.int64) + bias.levels
                # Equation (9).
                value = sums.astype(np.float32) * Sum(sums, a.scale, weights.scale).multiplier(places)
            case unknown:
                sys.exit(f"{unknown} is not in the scheme")
        values[node.output[0]] = value
    return values[graph.output[0].name], found, worst


def main():
    path, patches, logits = sys.argv[1:]
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    patches = np.fromfile(patches, np.uint8).reshape(-1, *shape[1:])
    by_document, expected, _ = run(model.graph, patches)
    ours = np.fromfile(logits, "<f4").reshape(by_document.shape)
    if not np.array_equal(ours, by_document):
        sys.exit(f"by the document's equations logits differ by {np.abs(ours - by_document).max()}")

    for name in expected:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        # Without it, processors that lack VNNI add up pairs of products in 16 bits, which saturate.
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, {session.get_inputs()[0].name: patches}), strict=True))
        theirs = outputs.pop(names[0])
        _, _, worst = run(model.graph, patches, outputs)
        different = sum(np.count_nonzero(outputs[name] != expected[name]) for name in expected)
        share = different / sum(levels.size for levels in expected.values())
        agreeing = np.mean(ours.argmax(1) == theirs.argmax(1))
        print(agreeing, np.abs(ours - theirs).max(), share, worst)


main()
