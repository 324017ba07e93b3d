"""Writes a CT series anew in other transfer syntaxes and as enhanced objects: compress.py SERIES OUT

OUT gets a folder for each way of writing, whose name begins with `exact` where every pixel stays what it was, and with
`lossy` where not. Codestreams are made by libjpeg-turbo, CharLS, OpenJPEG, OpenJPH and pydicom.
"""

import copy
import pathlib
import sys

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

HTJ2K_LOSSLESS = UID("1.2.840.10008.1.2.4.201")
ENCAPSULATED_UNCOMPRESSED = UID("1.2.840.10008.1.2.1.98")


def raw(array):
    """The cells as they lie in memory: two's complement that a codestream takes for unsigned."""
    return np.ascontiguousarray(array).view("<u2")


def jpeg_lossless(predictor):
    return lambda array: imagecodecs.jpeg8_encode(raw(array), lossless=True, predictor=predictor, bitspersample=16)


def reversible(array):
    return imagecodecs.jpeg2k_encode(array, level=0, reversible=True, codecformat="j2k")


# Name, transfer syntax, cells to codestream.
EXACT = [
    ("rle", RLELossless, None),
    ("jpeg-57", JPEGLossless, jpeg_lossless(6)),
    ("jpeg-70", JPEGLosslessSV1, jpeg_lossless(1)),
    ("jpegls-80", JPEGLSLossless, lambda array: imagecodecs.jpegls_encode(raw(array))),
    ("j2k-90", JPEG2000Lossless, reversible),
    # Of the other sign than the header tells: some encoders do so, and the header is right.
    ("j2k-90-signed", JPEG2000Lossless, lambda array: reversible(array.view("<i2"))),
    ("htj2k-201", HTJ2K_LOSSLESS, lambda array: imagecodecs.htj2k_encode(array, reversible=True)),
    ("uncompressed-98", ENCAPSULATED_UNCOMPRESSED, lambda array: array.tobytes()),
]
LOSSY = [
    ("jpegls-81", JPEGLSNearLossless, lambda array: imagecodecs.jpegls_encode(raw(array), level=2)),
    ("j2k-91", JPEG2000, lambda array: imagecodecs.jpeg2k_encode(array, level=90, reversible=False, codecformat="j2k")),
]


def cells(dataset):
    kind = "<i2" if dataset.PixelRepresentation else "<u2"
    return np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)


def whole(codestream):
    return codestream + b"\0" * (len(codestream) % 2)


def encapsulated(dataset, syntax, codestreams):
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([whole(bytes(codestream)) for codestream in codestreams])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def to_12_bits(dataset):
    """Cells of 12 unsigned bits from -1024 HU on, as most scanners write them."""
    values = np.clip(cells(dataset) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept) + 1024, 0, 4095)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    return values.astype("<u2")


def to_8_bits(dataset):
    """Cells of 8 bits that hold -128 to 382 HU in steps of 2."""
    units = cells(dataset) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-128"
    return np.clip((units + 128) / 2, 0, 255).astype("u1")


def enhanced(slices, part=None):
    """One enhanced object of the slices; `part` is (number, total) of a concatenation."""
    first = slices[0]
    whole = copy.deepcopy(first)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                    "RescaleIntercept", "RescaleSlope", "RescaleType", "ConvolutionKernel"):
        if keyword in whole:
            del whole[keyword]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    number, total = part or (1, 1)
    whole.SOPInstanceUID = generate_uid(entropy_srcs=[first.SOPInstanceUID, str(number)])
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    if part:
        whole.ConcatenationUID = generate_uid(entropy_srcs=[first.SeriesInstanceUID])
        whole.InConcatenationNumber, whole.InConcatenationTotalNumber = number, total
    whole.NumberOfFrames = len(slices)

    def group(**keywords):
        item = Dataset()
        for keyword, value in keywords.items():
            setattr(item, keyword, value)
        return Sequence([item])

    shared = Dataset()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.PixelMeasuresSequence = group(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    shared.CTImageFrameTypeSequence = group(FrameType=list(first.ImageType))
    if "ConvolutionKernel" in first:
        shared.CTReconstructionSequence = group(ConvolutionKernel=first.ConvolutionKernel)
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for dataset in slices:
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=dataset.ImagePositionPatient)
        frame.PixelValueTransformationSequence = group(
            RescaleIntercept=dataset.RescaleIntercept, RescaleSlope=dataset.RescaleSlope, RescaleType="HU")
        frames.append(frame)
    whole.PerFrameFunctionalGroupsSequence = Sequence(frames)
    whole.PixelData = b"".join(dataset.PixelData for dataset in slices)
    return whole


def save(dataset, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / name, enforce_file_format=True)


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    paths = sorted(source.iterdir())
    slices = [pydicom.dcmread(path) for path in paths]
    for path in paths:
        for kind, ways in (("exact", EXACT), ("lossy", LOSSY)):
            for name, syntax, encode in ways:
                original, dataset = pydicom.dcmread(path), pydicom.dcmread(path)
                if encode is None:
                    dataset.compress(syntax, generate_instance_uid=False)
                else:
                    encapsulated(dataset, syntax, [encode(cells(dataset))])
                if kind == "lossy":
                    dataset.LossyImageCompression = "01"
                    dataset.LossyImageCompressionRatio = round(len(cells(original).tobytes()) / len(dataset.PixelData), 2)
                    dataset.LossyImageCompressionMethod = "ISO_14495_1" if name.startswith("jpegls") else "ISO_15444_1"
                save(dataset, out / f"{kind}-{name}", path.name)
        for name, syntax in (
            ("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian),
            ("big-endian", ExplicitVRBigEndian),
        ):
            dataset = pydicom.dcmread(path)
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = cells(dataset).byteswap().tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            folder = out / f"exact-{name}"
            folder.mkdir(parents=True, exist_ok=True)
            pydicom.dcmwrite(folder / path.name, dataset, implicit_vr=syntax == ImplicitVRLittleEndian,
                             little_endian=syntax != ExplicitVRBigEndian, enforce_file_format=True, overwrite=True)
        dataset = pydicom.dcmread(path)
        encapsulated(dataset, JPEGExtended12Bit, [imagecodecs.jpeg8_encode(to_12_bits(dataset), level=98, bitspersample=12)])
        save(dataset, out / "lossy-jpeg-51", path.name)
        dataset = pydicom.dcmread(path)
        encapsulated(dataset, JPEGBaseline8Bit, [imagecodecs.jpeg8_encode(to_8_bits(dataset), level=98)])
        save(dataset, out / "lossy-jpeg-50", path.name)
    save(enhanced(slices), out / "exact-enhanced", "all.dcm")
    half = len(slices) // 2
    for number, part in ((1, slices[:half]), (2, slices[half:])):
        save(enhanced(part, (number, 2)), out / "exact-enhanced-divided", f"{number}.dcm")
    compressed = enhanced(slices)
    encapsulated(compressed, JPEG2000Lossless, [reversible(cells(dataset)) for dataset in slices])
    save(compressed, out / "exact-enhanced-j2k-90", "all.dcm")


main()
