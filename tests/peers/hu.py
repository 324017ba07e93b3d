"""Compares Hounsfield units with pydicom's: hu.py PADDING (FILE DUMP)...

A dump holds a slice's Hounsfield units as little-endian 16-bit integers. Padding pixels, which pydicom rescales like any
other, must be PADDING in the dump exactly where the stored value is the file's padding.
"""

import sys

import numpy as np
import pydicom
from pydicom.pixels import apply_rescale


def padding_of(dataset):
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(dataset.pixel_array.shape, bool)
    bounds = sorted([value, dataset.get("PixelPaddingRangeLimit", value)])
    return (dataset.pixel_array >= bounds[0]) & (dataset.pixel_array <= bounds[1])


def main():
    mark, pairs = int(sys.argv[1]), sys.argv[2:]
    for path, dump in zip(pairs[::2], pairs[1::2], strict=True):
        dataset = pydicom.dcmread(path)
        theirs = apply_rescale(dataset.pixel_array, dataset)
        ours = np.fromfile(dump, "<i2").reshape(theirs.shape)
        padding = padding_of(dataset)
        if not np.array_equal(ours == mark, padding):
            sys.exit(f"{path}: padding differs in {np.count_nonzero((ours == mark) != padding)} pixels")
        wrong = np.count_nonzero(np.abs(ours - theirs)[~padding] > 0)
        if wrong:
            sys.exit(f"{path}: {wrong} pixels differ")
    print(len(pairs) // 2, "slices equal")


main()
