"""Compares pixels with pydicom's: pixels.py LIST

LIST is JSON: for each file either `dump`, a path beside which .cells (little-endian 32-bit stored values of all frames)
and .hu (16-bit rescaled values) lie, or `error`, why the file was refused. The last line printed counts the files.

Where pydicom has no decoder, imagecodecs (libjpeg-turbo, CharLS, OpenJPEG) decodes what pydicom has found.
"""

import json
import re
import sys
import warnings

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_rescale

warnings.simplefilter("ignore")

# Why files are refused that pydicom reads; docs/dicom-conformance.md has the same list.
REASONS = {
    "color": r"samples per pixel are not supported",
    "other than 8 and 16 bits": r"bits allocated per pixel are not supported",
    "no slice": r"the object has no pixel data|\(0008,0060\)|\(0020,000D\)|\(0020,000E\)|\(0008,0018\)|\(0008,0016\)",
    "irreversible high-throughput coding": r"high-throughput coding are not supported",
    "functional groups of more frames than there are": r"PerFrameFunctionalGroupsSequence: contradicts NumberOfFrames",
    "cut off": r"PixelData: \d+ bytes expected|ends before its last pixel",
}

# Transforms that round: decoders differ by 1.
ROUNDING = {"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}


def theirs(path):
    """The stored values, and a word where pydicom did not decode them itself; raises where nobody reads them."""
    dataset = pydicom.dcmread(path, force=True)
    if "PixelData" not in dataset:
        raise ValueError("no pixel data")
    if not getattr(dataset, "file_meta", None) or "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta = getattr(dataset, "file_meta", None) or pydicom.dataset.FileMetaDataset()
        little = dataset.original_encoding[1]
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit
            else pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    jpeg = syntax in {f"1.2.840.10008.1.2.4.{process}" for process in (50, 51, 53, 55)}
    if not jpeg or dataset.get("SamplesPerPixel", 1) > 1:
        return dataset, dataset.pixel_array, ""
    frames = [
        imagecodecs.jpeg8_decode(frame)
        for frame in generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1)))
    ]
    array = np.stack(frames)
    if dataset.PixelRepresentation:
        array = array.astype("<i2") if array.dtype.itemsize == 2 else array.astype("i1")
    return dataset, array, " (libjpeg-turbo)"


def compare(dataset, array, dump):
    """None, or in what they differ."""
    cells = np.fromfile(dump + ".cells", "<i4")
    flat = array.astype(np.int64).ravel()
    if cells.size != flat.size:
        return f"{cells.size} values, {flat.size} with pydicom"
    apart = np.abs(cells - flat).max(initial=0)
    allowed = 1 if str(dataset.file_meta.TransferSyntaxUID) in ROUNDING else 0
    if apart > allowed:
        return f"{np.count_nonzero(cells != flat)} values differ, by {apart} at most"
    if dataset.get("Modality") != "CT" or "RescaleSlope" not in dataset:
        return None
    ours = np.fromfile(dump + ".hu", "<i2").astype(np.int64)
    mask = np.int64((1 << dataset.BitsStored) - 1)
    stored = flat & mask
    if dataset.PixelRepresentation:
        stored = np.where(stored > mask >> 1, stored - mask - 1, stored)
    units = np.asarray(apply_rescale(stored, dataset))
    measured = ours != -32768
    apart = np.abs(ours - units)[measured].max(initial=0)
    slope = abs(float(dataset.RescaleSlope))
    return None if apart <= 0.5 + allowed * slope else f"Hounsfield units differ by {apart}"


def main():
    counts = {"equal": 0, "only we read": 0, "nobody reads": 0}
    failed = []
    for entry in json.load(open(sys.argv[1])):
        path = entry["file"]
        name = path.rsplit("/", 1)[-1]
        try:
            dataset, array, decoder = theirs(path)
        except Exception as error:  # pydicom raises whatever its parts raise
            key = "only we read" if "dump" in entry else "nobody reads"
            counts[key] += 1
            if key == "only we read":
                print(f"{name}: only we read it: {str(error).splitlines()[0][:100]}")
            continue
        if "dump" in entry:
            differs = compare(dataset, array, entry["dump"])
            if differs is None:
                counts["equal"] += 1
                print(f"{name}: equal{decoder}")
            else:
                failed.append(f"{name}: {differs}")
            continue
        reason = next((why for why, pattern in REASONS.items() if re.search(pattern, entry["error"])), None)
        if reason is None:
            failed.append(f"{name}: pydicom reads it, we do not: {entry['error']}")
        else:
            counts[reason] = counts.get(reason, 0) + 1
            print(f"{name}: refused, {reason}: {entry['error']}")
    for line in failed:
        print("FAILED", line)
    print(json.dumps(counts))
    sys.exit(1 if failed else 0)


main()
