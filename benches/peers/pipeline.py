"""What a user would write around ONNX Runtime to get hemapatch's verdict: pipeline.py SERIES MODEL NETWORK [--once]

pydicom reads, numpy and scipy prepare whole arrays at a time, one session runs large batches. Every step is the one of the
model's manifest, so slices get the same counts. `--once` runs equal patches once, as hemapatch does. Prints a line of JSON.
"""

import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pydicom
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

BATCH = 256
# Of src/prep/denoise.rs, for slices of 512 columns.
TISSUE, LINK, CORE, SPOT = 16, 2, 12, 2000
MARGIN = 16


def read(folder):
    """Hounsfield units `[slices, 512, 512]`, foot to head."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir()) if path.is_file()]
    row, column = np.split(np.array(slices[0].ImageOrientationPatient, float), 2)
    normal = np.cross(row, column)
    slices.sort(key=lambda one: normal @ np.array(one.ImagePositionPatient, float))
    stored = np.stack([one.pixel_array for one in slices]).astype(np.float32)
    hu = stored * float(slices[0].RescaleSlope) + float(slices[0].RescaleIntercept)
    padding = slices[0].get("PixelPaddingValue")
    if padding is not None:
        hu[stored == padding] = -32768
    return hu


def window(hu, a, b):
    """Equation (1) of the paper."""
    return np.floor(np.clip((hu - a) * (255 / (b - a)), 0, 255) + 0.5).astype(np.uint8)


def without_spots(mask):
    """Holes up to a size are filled."""
    holes, count = ndimage.label(~mask)
    area = np.bincount(holes.ravel(), minlength=count + 1)
    small = area <= SPOT
    small[0] = False
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False
    return mask | small[holes]


def head_of(gray):
    """Where the head is: not the table, not its holder."""
    tissue = without_spots(gray >= TISSUE)
    depth = ndimage.distance_transform_cdt(np.pad(tissue, 1), "taxicab")[1:-1, 1:-1]
    thick, count = ndimage.label(depth > CORE)
    if count == 0:
        return np.zeros_like(tissue)
    largest = 1 + np.bincount(thick.ravel())[1:].argmax()
    parts, _ = ndimage.label(depth > LINK)
    part = parts == parts.ravel()[(thick.ravel() == largest).argmax()]
    return ndimage.binary_fill_holes(tissue & ndimage.binary_dilation(part, iterations=LINK + 1))


def shifted(plane, down, right):
    moved = np.zeros_like(plane)
    rows, columns = plane.shape
    to = (slice(max(down, 0), rows + min(down, 0)), slice(max(right, 0), columns + min(right, 0)))
    start = (slice(max(-down, 0), rows + min(-down, 0)), slice(max(-right, 0), columns + min(-right, 0)))
    moved[to] = plane[start]
    return moved


def prepare(gray):
    """The head alone, its middle in the middle."""
    head = head_of(gray)
    area = np.count_nonzero(head)
    if area == 0:
        return np.zeros_like(gray)
    middle = [(int((np.arange(head.shape[axis]) * head.sum(1 - axis)).sum()) + area // 2) // area for axis in (0, 1)]
    return shifted(np.where(head, gray, 0), *(extent // 2 - at for extent, at in zip(gray.shape, middle, strict=True)))


def halved(slices):
    sums = slices.astype(np.uint16)
    sums = sums[:, ::2] + sums[:, 1::2]
    return ((sums[:, :, ::2] + sums[:, :, 1::2] + 2) >> 2).astype(np.uint8)


def cut(slices, size, views):
    """Patches `[slices, grid rows, grid columns, views, size, size]`."""
    scaled = {1: slices}
    scaled[2] = halved(scaled[1])
    scaled[4] = halved(scaled[2])
    planes = []
    for view in views:
        scale = view["scale"]
        at = np.clip(np.arange(len(slices)) + view["slice"], 0, len(slices) - 1)
        padded = np.pad(scaled[scale], ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))[at]
        step, first = size // scale, MARGIN - (scale - 1) * size // (2 * scale)
        rows, columns = (extent // size for extent in slices.shape[1:])
        windows = sliding_window_view(padded, (size, size), (1, 2))[:, first::step, first::step]
        planes.append(windows[:, :rows, :columns])
    return np.stack(planes, 3)


def equal_ones(patches):
    """The different patches, and which of them each place has."""
    known = {}
    places = [known.setdefault(patch.tobytes(), len(known)) for patch in patches]
    different = np.frombuffer(b"".join(known), np.uint8).reshape(-1, *patches.shape[1:])
    return different, np.array(places)


def run(network, patches):
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    kind = np.uint8 if tensor.type == "tensor(uint8)" else np.float32
    parts = np.split(patches, range(BATCH, len(patches), BATCH))
    return np.concatenate([session.run(None, {tensor.name: part.astype(kind)})[0] for part in parts])


def pooled(probabilities, sigma):
    if sigma == 0:
        return probabilities
    apart = np.abs(np.subtract.outer(*[np.arange(len(probabilities))] * 2))
    weights = np.where(apart <= np.ceil(3 * sigma), np.exp(-(apart**2) / (2 * sigma**2)), 0)
    return np.tensordot(weights / weights.sum(1, keepdims=True), probabilities, 1)


def calibrated(strength, calibration):
    strength = np.clip(strength, 1e-6, 1 - 1e-6)
    return 1 / (1 + np.exp(-(calibration["intercept"] + calibration["slope"] * np.log(strength / (1 - strength)))))


def main():
    series, folder, network, *options = sys.argv[1:]
    manifest = tomllib.loads((Path(folder) / "model.toml").read_text())
    evidence, labels = manifest["evidence"], manifest["network"]["labels"]
    size, views = manifest["patch"]["size"], manifest["patch"]["views"]

    gray = window(read(Path(series)), *manifest["preparation"]["window_hu"])
    patches = cut(np.stack([prepare(one) for one in gray]), size, views)
    grid, flat = patches.shape[:3], patches.reshape(-1, *patches.shape[3:])
    if "--once" in options:
        different, places = equal_ones(flat)
        logits = run(network, different)[places]
    else:
        logits = run(network, flat)

    hematoma = labels.index("hematoma")
    shares = np.exp((logits - logits.max(1, keepdims=True)) / evidence["temperature"])
    probability = (shares / shares.sum(1, keepdims=True))[:, hematoma]
    others = logits.copy()
    others[:, hematoma] = -np.inf
    classes = np.where(probability >= evidence["patch_probability"], hematoma, others.argmax(1)).reshape(grid)
    strength = pooled(probability.reshape(grid), evidence["pooling"]["sigma_slices"]).max((1, 2))
    study = calibrated(strength.max(), evidence["study"])
    print(
        json.dumps(
            {
                "outcome": "alert" if study >= manifest["decision"]["study_probability"] else "no_alert",
                "probability": float(study),
                "slices": [
                    {
                        "score": float(calibrated(one, evidence["slice"])),
                        "counts": {label: int(np.count_nonzero(of_slice == at)) for at, label in enumerate(labels)},
                    }
                    for one, of_slice in zip(strength, classes, strict=True)
                ],
            }
        )
    )


main()
