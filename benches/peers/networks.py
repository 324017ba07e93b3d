"""The networks that are timed, in every form that a peer may like, made of the shipped one.

Speed does not depend on the values of weights. So networks that nobody trained are made of the shipped file: of fewer
views, by leaving a view's weights out; for larger patches, by filling taps that are dead at 16x16 from a seeded
generator. The scales stay, so each is a valid file of docs/quantization.md, and every engine must give the same classes.
"""

import hashlib
import tomllib
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import tomli_w
from onnx import TensorProto, helper, numpy_helper

STAGES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Form:
    """How a network is written down; what it computes stays the same but for `halves` other than exact."""

    views: int
    size: int
    precision: str
    # live: kernels hold the taps alone that ever meet a pixel. all: 3x3 kernels throughout, as torch would export them;
    # dead taps are 0.
    taps: str = "live"
    # exact: a block's halves are added in one accumulator, as in our file. u8, s8: each is rounded to 8 bits first, which
    # some runtimes have faster kernels for, and which is another network by those roundings.
    halves: str = "exact"
    # i32: with a DequantizeLinear, as in our file; f32: as plain reals.
    biases: str = "i32"
    # What a run takes at a time: 0 for any number.
    batch: int = 0


@dataclass
class Convolution:
    """Weights with all taps of the plain network."""

    levels: np.ndarray
    reals: np.ndarray
    scales: np.ndarray
    bias_levels: np.ndarray
    bias_reals: np.ndarray
    bias_scales: np.ndarray
    stride: int

    @property
    def kernel(self):
        return self.levels.shape[-1]


class Shipped:
    """Arrays of the shipped files, by name."""

    def __init__(self, folder):
        self.int8, self.f32 = (
            {constant.name: numpy_helper.to_array(constant) for constant in onnx.load(folder / name).graph.initializer}
            for name in ("model.int8.onnx", "model.onnx")
        )

    def convolutions(self, views, size):
        """All convolutions of a network of such patches, by name."""
        generator = np.random.default_rng(32)
        found = {}
        for name, stride, kernel in names():
            levels, reals = self.int8[f"{name}_weight"], self.f32[f"{name}_weight"]
            if name == "stem":
                levels, reals = levels[:, :views], reals[:, :views]
            scales = self.int8[f"{name}_weight_scale"]
            if levels.shape[-1] < kernel:
                levels, reals = self.filled(levels, reals, scales, size, generator)
            found[name] = Convolution(
                levels,
                reals,
                scales,
                self.int8[f"{name}_bias"],
                self.f32[f"{name}_bias"],
                self.int8[f"{name}_bias_scale"],
                stride,
            )
        return found

    def filled(self, levels, reals, scales, size, generator):
        """3x3 kernels: taps that are dead at 16x16 are 0 there, and drawn where larger patches wake them."""
        outputs, inputs, live, _ = levels.shape
        # The middle tap is the first of both kernels that lost some.
        place = (slice(None), slice(None), slice(1, 1 + live), slice(1, 1 + live))
        shape = (outputs, inputs, 3, 3)
        wide = np.zeros(shape, np.int8)
        if size > 16:
            # A third of the spread, or sums over nine times as many taps would end at 255 throughout.
            spread = levels.astype(np.float32).std(axis=(1, 2, 3), keepdims=True) / 3
            drawn = np.rint(generator.standard_normal(shape, np.float32) * spread)
            wide = np.clip(drawn, -127, 127).astype(np.int8)
        wide_reals = wide * scales.reshape(-1, 1, 1, 1)
        wide[place], wide_reals[place] = levels, reals
        return wide, wide_reals


def names():
    """Every convolution in order: name, stride and width of the plain network's kernel."""
    yield "stem", 2, 7
    for stage in range(len(STAGES)):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            yield f"layer{stage + 1}_{block}_conv1", stride, 3
            yield f"layer{stage + 1}_{block}_conv2", 1, 3
            if stride == 2:
                yield f"layer{stage + 1}_{block}_shortcut", 2, 1


def live_taps(size, kernel, stride):
    """First and last tap that meets a pixel of `size` somewhere, and the map behind the convolution."""
    padding = kernel // 2
    behind = (size + 2 * padding - kernel) // stride + 1
    live = [tap for tap in range(kernel) if any(0 <= at * stride - padding + tap < size for at in range(behind))]
    return live[0], live[-1], behind


class Writer:
    """One ONNX graph."""

    def __init__(self, shipped, form, half_ranges):
        self.shipped, self.form, self.half_ranges = shipped, form, half_ranges
        self.nodes, self.constants = [], {}
        self.in_integers = form.precision == "int8"
        self.convolutions = shipped.convolutions(form.views, form.size)

    def constant(self, name, values):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def reals(self, name, levels, scales):
        """Levels of a constant with their scales, one a channel."""
        inputs = [
            self.constant(name, levels),
            self.constant(f"{name}_scale", scales),
            self.constant(f"{name}_zero", np.zeros(len(scales), levels.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, f"{name}_real", axis=0)

    def weighted(self, name, levels, reals, scales, bias_levels, bias_reals, bias_scales):
        """Inputs behind the first of a convolution or of the head."""
        if not self.in_integers:
            return [self.constant(f"{name}_weight", reals), self.constant(f"{name}_bias", bias_reals)]
        weights = self.reals(f"{name}_weight", levels, scales)
        if self.form.biases == "i32":
            return [weights, self.reals(f"{name}_bias", bias_levels, bias_scales)]
        return [weights, self.constant(f"{name}_bias", (bias_levels * bias_scales.astype(np.float64)).astype(np.float32))]

    def rounded(self, source, name, scale, zero):
        if not self.in_integers:
            return source
        pair = [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"zero_{zero.dtype}_{zero}", zero)]
        level = self.node("QuantizeLinear", [source, *pair], f"{name}_level")
        return self.node("DequantizeLinear", [level, *pair], f"{name}_real")

    def activation(self, source, name):
        scale = self.shipped.int8[f"{name}_scale"] if self.in_integers else None
        return self.rounded(source, name, scale, np.uint8(0))

    def half(self, source):
        """A convolution in front of an addition."""
        if self.form.halves == "exact" or not self.in_integers:
            return source
        zero = {"u8": np.uint8(128), "s8": np.int8(0)}[self.form.halves]
        return self.rounded(source, f"{source}_half", self.half_ranges[source] / 127, zero)

    def convolve(self, name, source, size):
        own = self.convolutions[name]
        first, last, behind = live_taps(size, own.kernel, own.stride)
        levels, reals, padding = own.levels, own.reals, own.kernel // 2
        before, after = padding, padding
        # The stem's windows are cut at the border too, but each of its taps meets a pixel somewhere.
        if self.form.taps == "live" and (first, last) != (0, own.kernel - 1):
            kept = (slice(None), slice(None), slice(first, last + 1), slice(first, last + 1))
            levels, reals = levels[kept], reals[kept]
            before = padding - first
            after = (behind - 1) * own.stride + (last - first + 1) - size - before
        # A stride over a map of one place says nothing, but moves some runtimes to rewrite it into slower operators.
        stride = 1 if self.form.taps == "live" and size == 1 else own.stride
        kernel = levels.shape[-1]
        inputs = self.weighted(name, levels, reals, own.scales, own.bias_levels, own.bias_reals, own.bias_scales)
        output = self.node(
            "Conv",
            [source, *inputs],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride] * 2,
            pads=[before, before, after, after],
        )
        return output, behind

    def block(self, name, source, size):
        hidden, behind = self.convolve(f"{name}_conv1", source, size)
        hidden = self.activation(self.node("Relu", [hidden], f"{name}_relu1"), f"{name}_hidden")
        main, _ = self.convolve(f"{name}_conv2", hidden, behind)
        main = self.half(main)
        if f"{name}_shortcut" in self.convolutions:
            source = self.half(self.convolve(f"{name}_shortcut", source, size)[0])
        added = self.node("Add", [main, source], f"{name}_add")
        return self.activation(self.node("Relu", [added], f"{name}_relu2"), name), behind

    def write(self):
        form = self.form
        source, size = "x", form.size
        if self.in_integers:
            pair = [self.constant("x_scale", np.float32(1)), self.constant("zero_uint8_0", np.uint8(0))]
            source = self.node("DequantizeLinear", ["x", *pair], "x_real")
        source, size = self.convolve("stem", source, size)
        source = self.activation(self.node("Relu", [source], "stem_relu"), "stem")
        source = self.node("MaxPool", [source], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        source = self.activation(source, "pool")
        size = (size - 1) // 2 + 1
        for stage in range(len(STAGES)):
            for block in range(2):
                source, size = self.block(f"layer{stage + 1}_{block}", source, size)
        assert size == 1, "the head reads one place"
        source = self.node("Flatten", [source], "features", axis=1)
        int8, f32 = self.shipped.int8, self.shipped.f32
        inputs = self.weighted(
            "head",
            int8["head_weight"],
            f32["head_weight"],
            int8["head_weight_scale"],
            int8["head_bias"],
            f32["head_bias"],
            int8["head_bias_scale"],
        )
        self.node("Gemm", [source, *inputs], "logits", transB=1)
        kind = TensorProto.UINT8 if self.in_integers else TensorProto.FLOAT
        batch = form.batch or "N"
        graph = helper.make_graph(
            self.nodes,
            "hemapatch",
            [helper.make_tensor_value_info("x", kind, [batch, form.views, form.size, form.size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, len(int8["head_bias"])])],
            list(self.constants.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(shipped, form, half_ranges=None):
    """A network as an ONNX model."""
    return Writer(shipped, form, half_ranges).write()


def model_folder(shipped_folder, folder, views, size):
    """A folder that hemapatch loads: the shipped manifest with other patches."""
    shipped = Shipped(shipped_folder)
    manifest = tomllib.loads((shipped_folder / "model.toml").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    network = manifest["network"]
    for entry, precision in ((network, "f32"), (network["int8"], "int8")):
        contents = write(shipped, Form(views, size, precision)).SerializeToString()
        (folder / entry["file"]).write_bytes(contents)
        entry["sha256"] = hashlib.sha256(contents).hexdigest()
    network["input"] = [views, size, size]
    manifest["patch"]["size"] = size
    manifest["patch"]["views"] = manifest["patch"]["views"][:views]
    manifest["name"] = f"views{views}size{size}"
    manifest["description"] = "Made for timing alone: nobody trained it."
    (folder / "model.toml").write_text(tomli_w.dumps(manifest))


def half_ranges(shipped, views, size, patches):
    """The largest value in front of each addition, on some patches: the ends for halves of 8 bits."""
    model = write(shipped, Form(views, size, "f32"))
    ends = [name for name, _, _ in names() if name.endswith(("conv2", "shortcut"))]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(ends, {"x": patches.astype(np.float32)})
    return {name: float(np.abs(values).max()) for name, values in zip(ends, found, strict=True)}
