"""One peer on one network: stays in memory, answers lines, and does nothing between them.

peer.py RUNTIME MODEL VIEWS SIZE PRECISION TAPS THREADS PATCHES RANGES

First it tries the ways to run that its users have (forms of the file, batches, ways to spread over threads) and keeps the
fastest; it prints that as a line of JSON. Then each `run TIMES` on its standard input is answered with the seconds of one
run, and `logits FILE` with the file.
"""

import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import networks
import numpy as np

BATCHES = (1, 16, 32, 64, 128, 256, 512)
# The batch at which forms are compared.
USUAL_BATCH = 64


@dataclass(frozen=True)
class Way:
    """What a peer's user would try."""

    form: networks.Form
    batch: int = USUAL_BATCH
    # Whether threads share a batch, or each has its own.
    together: bool = True
    # The precision that OpenVINO is asked to use for what is not in integers; empty for what it takes by itself.
    hint: str = ""

    def described(self):
        words = [f"batch {self.batch}"]
        if self.form.precision == "int8":
            words.append({"exact": "halves as in our file", "u8": "halves in u8", "s8": "halves in s8"}[self.form.halves])
        words += [f"hint {self.hint}"] * bool(self.hint)
        words += ["a batch for each thread"] * (not self.together)
        return ", ".join(words)


class OnnxRuntime:
    hints = ("",)

    def __init__(self, network, way, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads if way.together else 1
        # Its threads may wait busily within a run, but not while others are measured.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        self.pool = None if way.together else ThreadPoolExecutor(threads)

    def run(self, batches, logits):
        def one(pair):
            patches, logits = pair
            (logits[...],) = self.session.run(None, {"x": patches})

        pairs = zip(batches, logits, strict=True)
        for _ in (map if self.pool is None else self.pool.map)(one, pairs):
            pass


class OpenVino:
    hints = ("", "f32")

    def __init__(self, network, way, threads):
        import openvino

        core = openvino.Core()
        # Not tied to cores: on a machine that others use, a thread must be able to leave a busy one.
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1 if way.together else threads,
            "ENABLE_CPU_PINNING": False,
        }
        if way.hint:
            settings["INFERENCE_PRECISION_HINT"] = way.hint
        self.model = core.compile_model(core.read_model(network), "CPU", settings)
        self.queue = openvino.AsyncInferQueue(self.model, settings["NUM_STREAMS"])
        self.queue.set_callback(self.done)

    @staticmethod
    def done(request, logits):
        logits[...] = request.get_output_tensor(0).data

    def run(self, batches, logits):
        for patches, out in zip(batches, logits, strict=True):
            self.queue.start_async({0: patches}, out, share_inputs=True)
        self.queue.wait_all()

    def kernels(self):
        """How many convolutions run on which kernels."""
        counts = {}
        for operator in self.model.get_runtime_model().get_ordered_ops():
            entries = operator.get_rt_info()
            if entries["layerType"].astype(str) == "Convolution":
                kernel = entries["primitiveType"].astype(str)
                counts[kernel] = counts.get(kernel, 0) + 1
        return counts


class Loaded:
    """A network made ready to run in one way, with the patches in its batches."""

    def __init__(self, runtime, shipped, way, threads, patches, ranges):
        form = replace(way.form, batch=way.batch)
        self.engine = runtime(networks.write(shipped, form, ranges).SerializeToString(), way, threads)
        count = -len(patches) % way.batch
        # The last batch is filled up; it counts as what it holds of ours.
        padded = np.concatenate([patches, np.zeros((count, *patches.shape[1:]), patches.dtype)])
        self.batches = np.split(padded, len(padded) // way.batch)
        self.padded_logits = np.zeros((len(padded), 4), np.float32)
        self.logits = self.padded_logits[: len(patches)]

    def seconds(self, times=1):
        outputs = np.split(self.padded_logits, len(self.batches))
        started = time.perf_counter()
        for _ in range(times):
            self.engine.run(self.batches, outputs)
        return (time.perf_counter() - started) / times


def fastest(ways, load):
    """The way with the shortest of two runs, behind one that does not count, and what all of them took."""
    best, tried = None, []
    for way in ways:
        loaded = load(way)
        loaded.seconds()
        seconds = min(loaded.seconds(), loaded.seconds())
        tried.append((way.described(), len(loaded.logits) / seconds))
        if best is None or seconds < best[0]:
            best = seconds, way, loaded
    return best[1], best[2], tried


def main():
    runtime, model, views, size, precision, taps, threads, patches, ranges = sys.argv[1:]
    runtime = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[runtime]
    views, size, threads = int(views), int(size), int(threads)
    patches = np.fromfile(patches, np.uint8).reshape(-1, views, size, size)
    if precision == "f32":
        patches = patches.astype(np.float32)
    ranges = json.loads(Path(ranges).read_text())
    shipped = networks.Shipped(Path(model))

    def load(way):
        return Loaded(runtime, shipped, way, threads, patches, ranges)

    form = networks.Form(views, size, precision, taps)
    halves = ("exact", "s8", "u8") if precision == "int8" else ("exact",)
    # In f32 the hint is no choice: without it OpenVINO takes bf16 where the processor has it, which is another network.
    hints = ("f32",) if precision == "f32" and runtime is OpenVino else runtime.hints
    shares = (True, False) if threads > 1 else (True,)
    ways = [
        Way(replace(form, halves=half), together=together, hint=hint)
        for half, together, hint in itertools.product(halves, shares, hints)
    ]
    way, _, tried = fastest(ways, load)
    way, loaded, more = fastest([replace(way, batch=batch) for batch in BATCHES], load)
    kernels = loaded.engine.kernels() if runtime is OpenVino else {}
    print(json.dumps({"way": way.described(), "tried": tried + more, "kernels": kernels}), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["run", times]:
                print(json.dumps({"seconds": loaded.seconds(int(times))}), flush=True)
            case ["logits", path]:
                loaded.logits.tofile(path)
                print(json.dumps({"logits": loaded.logits.shape}), flush=True)


main()
