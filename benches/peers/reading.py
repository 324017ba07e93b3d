"""Reading whole series beside pydicom, in turns: reading.py [--turns N] [FOLDER...]

Draws a head of 28 slices, writes it in every transfer syntax (tests/peers/compress.py), and reads each series to
Hounsfield units: hemapatch by `benches/reading.rs`, on one thread and on all, headers and sorting included; pydicom by
`dcmread`, `pixel_array` and `apply_rescale`, one slice after the other, as it is used, with the quickest of its decoders that
is installed; files in the page cache for both. Prints a table for docs/performance.md: milliseconds (median of the turns),
and the ratios with their least and most.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import pydicom
from pydicom.pixels import apply_rescale

ROOT = pathlib.Path(__file__).resolve().parents[2]
warnings.simplefilter("ignore")


def with_pydicom(folder, plugin):
    """Milliseconds that pydicom takes for all slices of a folder, and how many there are."""
    started = time.perf_counter()
    slices = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            dataset = pydicom.dcmread(path)
            if plugin:
                dataset.pixel_array_options(decoding_plugin=plugin)
            slices.append((dataset.get("ImagePositionPatient", [0, 0, 0])[2], dataset))
    slices.sort(key=lambda pair: pair[0])
    volume = [apply_rescale(dataset.pixel_array, dataset) for _, dataset in slices]
    frames = sum(array.shape[0] if array.ndim == 3 else 1 for array in volume)
    return (time.perf_counter() - started) * 1e3, frames


def plugins_for(folder):
    """The decoders of pydicom that can read the folder; None where it needs none."""
    path = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return [None]
    working = []
    try:
        plugins = pydicom.pixels.get_decoder(syntax).available_plugins
    except NotImplementedError:
        return working
    for plugin in plugins:
        try:
            with_pydicom(folder, plugin)
            working.append(plugin)
        except Exception:  # a decoder that does not read this file
            pass
    return working


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--bin", "hemapatch"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "bench", "--no-run", "--bench", "reading"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        program = ROOT / "target/release/hemapatch"
        subprocess.run([program, "phantom", "-o", made / "explicit", "--site", "putamen"], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([sys.executable, ROOT / "tests/peers/compress.py", made / "explicit", made / "ways"], check=True)
        folders = [*arguments.folders, made / "explicit", *sorted((made / "ways").iterdir())]
        print("| series | slices | hemapatch, ms | GB/s of pixels | pydicom, ms | decoder | ratio | all threads, ms | ratio |")
        print("|---|---|---|---|---|---|---|---|---|")
        for folder in folders:
            plugins = plugins_for(folder)
            ours, theirs = [], {plugin: [] for plugin in plugins}
            for _ in range(arguments.turns):
                line = subprocess.run(["cargo", "bench", "-q", "--bench", "reading", "--", folder.resolve()], cwd=ROOT,
                                      check=True, capture_output=True, text=True).stdout
                ours.append(json.loads(line.splitlines()[-1]))
                for plugin in plugins:
                    theirs[plugin].append(with_pydicom(folder, plugin)[0])
            milliseconds = [turn["ms"] for turn in ours]
            together = [turn["threads_ms"] for turn in ours]
            speed = statistics.median(turn["gb_per_s"] for turn in ours)
            name = folder.name.removeprefix("exact-")
            row = f"| {name} | {ours[0]['slices']} | {statistics.median(milliseconds):.1f} | {speed:.2f} |"
            if not plugins:
                print(row, f"none reads it | | | {statistics.median(together):.1f} | |")
                continue
            plugin = min(plugins, key=lambda plugin: statistics.median(theirs[plugin]))
            print(row, f"{statistics.median(theirs[plugin]):.0f} | {plugin or ''} | "
                  f"{ratio(theirs[plugin], milliseconds)} | {statistics.median(together):.1f} | "
                  f"{ratio(theirs[plugin], together)} |", flush=True)


def ratio(theirs, ours):
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"


main()
