"""Reads result objects back with highdicom and pydicom, and holds them against the report: results.py RESULTS SLICES"""

import json
import pathlib
import sys

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes


def value(group, meaning):
    """The number of a measurement group's item of a name; None where it has none."""
    found = [item for item in group.ContentSequence
             if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeMeaning == meaning]
    assert len(found) <= 1, meaning
    return float(found[0].MeasuredValueSequence[0].NumericValue) if found else None


def close(a, b):
    return a is not None and abs(a - b) <= 1e-5 * max(1, abs(b))


def check_report(report, document, sources):
    assert document.SOPClassUID == pydicom.uid.Comprehensive3DSRStorage
    read = hd.sr.Comprehensive3DSR.from_dataset(document)
    assert read.content.get_subject_contexts() is not None if hasattr(read.content, "get_subject_contexts") else True
    tree = document.ContentSequence
    texts = [item.TextValue for item in tree if item.ValueType == "TEXT"]
    assert any("RESEARCH USE ONLY" in text for text in texts), texts
    groups = read.content.get_image_measurement_groups()
    volumes = read.content.get_volumetric_roi_measurement_groups()
    study = [group for group in groups if group.tracking_identifier == "study"]
    assert len(study) == 1
    [outcome] = [item.ConceptCodeSequence[0].CodeValue for item in study[0][0].ContentSequence
                 if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeMeaning == "Outcome of triage"]
    assert outcome == report["outcome"], outcome
    if report["outcome"] == "refused":
        assert len(groups) == 1 and not volumes
        return
    assert close(value(study[0][0], "Probability"), report["probability"])
    assert value(study[0][0], "Patches called hematoma") == report["hematoma_patches"]
    # Named where it is found alone.
    hemorrhage = pydicom.sr.coding.Code("274100004", "SCT", "Cerebral hemorrhage")
    assert study[0].finding_type == (hemorrhage if report["outcome"] == "alert" else None), study[0].finding_type
    versions = [item.TextValue for item in study[0][0].ContentSequence
                if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeMeaning == "Algorithm Parameters"]
    assert f"model sha256 {report['trace']['model_sha256']}" in versions
    # One group a slice, with its score, of the slice that the report names.
    slices = [group for group in groups if group.tracking_identifier.startswith("slice ")]
    assert len(slices) == len(report["slices"])
    for group, told in zip(slices, report["slices"]):
        assert close(value(group[0], "Probability"), told["score"])
        [image] = [item for item in group[0].ContentSequence if item.ValueType == "IMAGE"]
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == told["sop_uid"]
    measured = volumes[0][0] if volumes else study[0][0]
    # The report rounds it.
    assert abs(value(measured, "Volume") - report["hematoma_volume_ml"]) <= 0.01
    if volumes:
        assert volumes[0].referenced_segment is not None
    # Numbers that people read, not programs alone.
    numbers = [item.MeasuredValueSequence[0].NumericValue.original_string for group in groups + volumes
               for item in group[0].ContentSequence if item.ValueType == "NUM"]
    assert numbers and not any("e" in number.lower() for number in numbers), numbers
    named = {item.ReferencedSOPInstanceUID
             for series in document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
             for item in series.ReferencedSOPSequence}
    assert set(sources) <= named


def check_pictures(report, pictures):
    """Overlays are a series of their own, each tied to the slice that it is of, and say which side is which."""
    told = {item["sop_uid"] for item in report["slices"] if item["counts"]["hematoma"]}
    montages = [picture for picture in pictures if "SourceImageSequence" not in picture]
    overlays = [picture for picture in pictures if "SourceImageSequence" in picture]
    assert len(montages) == 1 and not {item.SeriesInstanceUID for item in overlays} & {montages[0].SeriesInstanceUID}
    for overlay in overlays:
        [source] = overlay.SourceImageSequence
        assert source.ReferencedSOPInstanceUID in told
        assert list(overlay.PatientOrientation) == ["L", "P"]
        assert "research use only" in overlay.ImageComments and "slice " in overlay.ImageComments


def volume_ml(segmentation):
    """By the measures of the frames, whether they share them or not."""
    [shared] = segmentation.SharedFunctionalGroupsSequence
    volume = 0
    for frame, mask in zip(segmentation.PerFrameFunctionalGroupsSequence, np.atleast_3d(segmentation.pixel_array)):
        [measures] = (frame if "PixelMeasuresSequence" in frame else shared).PixelMeasuresSequence
        row, column = measures.PixelSpacing
        volume += mask.sum() * row * column * measures.SliceThickness / 1000
    return volume


def check_segmentation(report, path, sources):
    segmentation = hd.seg.segread(path)
    assert segmentation.number_of_segments == 1
    description = segmentation.get_segment_description(1)
    assert description.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    assert description.segmented_property_type == codes.SCT.Hematoma
    told = {item["sop_uid"]: item["counts"]["hematoma"] for item in report["slices"]}
    wanted = [uid for uid, count in told.items() if count]
    pixels = segmentation.get_pixels_by_source_instance(wanted)[..., 0]
    denser, covered = [], 0
    for uid, mask in zip(wanted, pixels):
        source = sources[uid]
        assert mask.shape == (source.Rows, source.Columns)
        area = told[uid] * 16 * 16
        # Patches may hang over the slice.
        assert 0 < mask.sum() <= area, (mask.sum(), area)
        hu = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
        # Blood is denser than brain: only where it lies in the file itself can the two differ so.
        brain = (hu > 15) & (hu < 90)
        denser.append(hu[(mask > 0) & brain].mean() - hu[(mask == 0) & brain].mean())
        covered += (hu[(mask > 0)] > 50).sum()
    assert np.mean(denser) > 8, denser
    assert covered > 0
    assert abs(volume_ml(segmentation) - report["hematoma_volume_ml"]) <= 0.01 * report["hematoma_volume_ml"]
    frame = segmentation.PerFrameFunctionalGroupsSequence[0]
    uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert frame.PlanePositionSequence[0].ImagePositionPatient == sources[uid].ImagePositionPatient


def main():
    results, folder = map(pathlib.Path, sys.argv[1:])
    report = json.loads((results / "report.json").read_text())
    sources = {}
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        sources[dataset.SOPInstanceUID] = dataset
    first = next(iter(sources.values()))
    instances, pictures = set(), []
    for path in sorted((results / "dicom").iterdir()):
        dataset = pydicom.dcmread(path)
        assert dataset.SOPInstanceUID not in instances
        instances.add(dataset.SOPInstanceUID)
        # In the patient's study, as a series of its own.
        for name in ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                     "AccessionNumber", "StudyID"]:
            assert dataset.get(name) == first.get(name), name
        assert dataset.SeriesInstanceUID != first.SeriesInstanceUID
        assert dataset.SeriesDate == first.StudyDate
        assert f"{len(report['slices'])} slices, research use only" in dataset.SeriesDescription or not report["slices"]
        if "PixelData" in dataset and dataset.Modality == "OT":
            assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns, 3) and dataset.pixel_array.any()
            pictures.append(dataset)
    check_report(report, pydicom.dcmread(results / "dicom" / "report.dcm"),
                 [item["sop_uid"] for item in report["slices"]])
    check_pictures(report, pictures)
    segmentation = results / "dicom" / "segmentation.dcm"
    assert segmentation.exists() == (report["outcome"] != "refused" and report["hematoma_patches"] > 0)
    if segmentation.exists():
        check_segmentation(report, segmentation, sources)
        # What is measured in the one is what is drawn in the other.
        document = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(results / "dicom" / "report.dcm"))
        [group] = document.content.get_volumetric_roi_measurement_groups()
        assert group.tracking_uid == pydicom.dcmread(segmentation).SegmentSequence[0].TrackingUID


main()
