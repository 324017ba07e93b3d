//! The report as a structured report.
//!
//! # Source
//! DICOM PS3.3 A.35.13, Comprehensive 3D SR; PS3.16 TID 1500, Measurement Report, with TID 1501, 1411 and 4019.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::codes::{self, Code};
use super::data_set::{DataSet, Series, begin, decimal, single};
use super::findings::SliceFinding;
use super::seg::{parameters, reference};
use super::{About, HEMATOMA_PATCHES, ResultObject};
use crate::label::Class;
use crate::output::RESEARCH_USE;
use crate::study::Outcome;

pub fn object(about: &About<'_>, has_segmentation: bool) -> Result<ResultObject, String> {
    let series = Series {
        modality: "SR",
        uid: about.uid("reports"),
        number: "9901",
        description: &about.description("report"),
        is_placed: false,
    };
    let tree = Tree { about, has_segmentation };
    let bytes = begin(about.origin, &series)
        .text(tags::INSTANCE_NUMBER, VR::IS, "1")
        .items(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![])
        .items(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, vec![])
        // Nobody has looked at it.
        .text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE")
        .text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED")
        .text(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY")
        .items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, tree.evidence())
        .text(tags::VALUE_TYPE, VR::CS, "CONTAINER")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, codes::REPORT)
        .text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")
        .items(tags::CONTENT_TEMPLATE_SEQUENCE, vec![template("1500")])
        .items(tags::CONTENT_SEQUENCE, tree.root())
        .file(uids::COMPREHENSIVE3_DSR_STORAGE, &about.uid("report"))?;
    Ok(ResultObject { name: "report.dcm".to_owned(), bytes })
}

fn template(identifier: &str) -> DataSet {
    DataSet::new().text(tags::MAPPING_RESOURCE, VR::CS, "DCMR").text(
        tags::TEMPLATE_IDENTIFIER,
        VR::CS,
        identifier,
    )
}

/// How an item belongs to the one that it stands in.
#[derive(Clone, Copy)]
enum Relation {
    Contains,
    HasContext,
    HasModifier,
}

impl Relation {
    fn name(self) -> &'static str {
        match self {
            Relation::Contains => "CONTAINS",
            Relation::HasContext => "HAS OBS CONTEXT",
            Relation::HasModifier => "HAS CONCEPT MOD",
        }
    }
}

use Relation::{Contains, HasContext, HasModifier};

fn item(relation: Relation, kind: &str, name: Code) -> DataSet {
    DataSet::new()
        .text(tags::RELATIONSHIP_TYPE, VR::CS, relation.name())
        .text(tags::VALUE_TYPE, VR::CS, kind)
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, name)
}

fn text(relation: Relation, name: Code, value: &str) -> DataSet {
    item(relation, "TEXT", name).text(tags::TEXT_VALUE, VR::UT, value)
}

fn code(relation: Relation, name: Code, value: Code) -> DataSet {
    item(relation, "CODE", name).code(tags::CONCEPT_CODE_SEQUENCE, value)
}

fn uid(relation: Relation, name: Code, value: &str) -> DataSet {
    item(relation, "UIDREF", name).text(tags::UID, VR::UI, value)
}

fn number(name: Code, value: f64, unit: Code) -> DataSet {
    let measured = DataSet::new()
        .text(tags::NUMERIC_VALUE, VR::DS, &decimal(value))
        .code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
    item(Contains, "NUM", name).items(tags::MEASURED_VALUE_SEQUENCE, vec![measured])
}

fn image(name: Code, slice: &SliceFinding) -> DataSet {
    item(Contains, "IMAGE", name).items(tags::REFERENCED_SOP_SEQUENCE, vec![reference(slice, slice.frame)])
}

fn container(name: Code, identifier: Option<&str>, items: Vec<DataSet>) -> DataSet {
    let container = item(Contains, "CONTAINER", name)
        .text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")
        .items(tags::CONTENT_SEQUENCE, items);
    match identifier {
        Some(identifier) => container.items(tags::CONTENT_TEMPLATE_SEQUENCE, vec![template(identifier)]),
        None => container,
    }
}

struct Tree<'a> {
    about: &'a About<'a>,
    has_segmentation: bool,
}

impl Tree<'_> {
    /// TID 1500.
    fn root(&self) -> Vec<DataSet> {
        let report = self.about.report;
        let mut items = vec![
            code(HasModifier, codes::LANGUAGE, codes::ENGLISH),
            code(HasContext, codes::OBSERVER_TYPE, codes::DEVICE),
            uid(HasContext, codes::DEVICE_UID, crate::dicom::IMPLEMENTATION_UID),
            // What stands first on every page.
            text(HasContext, codes::DEVICE_NAME, "hemapatch, research use only"),
            text(HasContext, codes::DEVICE_MANUFACTURER, "hemapatch"),
            text(HasContext, codes::DEVICE_MODEL, &report.trace.program),
            code(HasModifier, codes::PROCEDURE, codes::CT_OF_HEAD),
        ];
        let mut groups = vec![self.study()];
        groups.extend(self.has_segmentation.then(|| self.volume()));
        let slices = self.about.findings.slices().iter().zip(&report.slices);
        groups.extend(slices.zip(1..).map(|((slice, told), place)| {
            let hematoma = f64::from(told.counts[Class::Hematoma.index()]);
            let mut group = self.tracked(&format!("slice {place}"), hematoma > 0.0, true);
            group.push(number(codes::PROBABILITY, single(told.score), codes::NO_UNITS));
            group.push(number(codes::PATCHES, hematoma, codes::PATCH));
            group.push(image(codes::SOURCE_OF_MEASUREMENT, slice));
            container(codes::GROUP, Some("1501"), group)
        }));
        items.push(container(codes::MEASUREMENTS, None, groups));
        let mut comment = vec![RESEARCH_USE.to_owned()];
        comment.extend(report.trace.notice.map(str::to_owned));
        comment.extend(report.warnings.iter().map(|warning| format!("warning: {}", warning.code)));
        items.extend(comment.iter().map(|line| text(Contains, codes::COMMENT, line)));
        items
    }

    /// What a group is of, in the order of TID 1501 and 1411.
    ///
    /// A finding is named only where there is one: whoever reads no further must not take a clean head for another.
    fn tracked(&self, what: &str, is_found: bool, is_of_slice: bool) -> Vec<DataSet> {
        let is_found = is_found && matches!(self.about.report.outcome, Outcome::Alert { .. });
        let mut items = vec![
            text(HasContext, codes::TRACKING, what),
            uid(HasContext, codes::TRACKING_UID, &self.about.tracking_uid(what)),
        ];
        items.extend(is_found.then(|| code(Contains, codes::FINDING, codes::HEMORRHAGE)));
        // TID 4019
        items.push(text(HasModifier, codes::ALGORITHM_NAME, "hemapatch"));
        items.push(text(HasModifier, codes::ALGORITHM_VERSION, &self.about.report.trace.program));
        // Once for the study and once for the segment, not for each slice: the reader looks for the slices' own numbers.
        let parameters = if is_of_slice { Vec::new() } else { parameters(self.about) };
        items.extend(parameters.iter().map(|line| text(HasModifier, codes::ALGORITHM_PARAMETERS, line)));
        items.push(code(HasModifier, codes::SITE, codes::BRAIN));
        items
    }

    fn study(&self) -> DataSet {
        let report = self.about.report;
        let mut group = self.tracked("study", true, false);
        let (outcome, probability) = match &report.outcome {
            Outcome::Alert { probability } => (codes::ALERT, Some(*probability)),
            Outcome::NoAlert { probability } => (codes::NO_ALERT, Some(*probability)),
            Outcome::Refused(_) => (codes::REFUSED, None),
        };
        group.extend(probability.map(|value| number(codes::PROBABILITY, single(value), codes::NO_UNITS)));
        if probability.is_some() {
            group.push(number(codes::PATCHES, f64::from(report.hematoma_patches), codes::PATCH));
            // Where there is a segmentation, the volume is measured on it.
            group.extend((!self.has_segmentation).then(|| self.volume_item()).flatten());
        }
        group.push(code(Contains, codes::OUTCOME, outcome));
        if let Outcome::Refused(refusal) = &report.outcome {
            // The detail names files.
            group.push(text(Contains, codes::COMMENT, &format!("refused: {}", refusal.code.as_str())));
        }
        container(codes::GROUP, Some("1501"), group)
    }

    /// TID 1411: the volume of the segment.
    fn volume(&self) -> DataSet {
        let segment = DataSet::new()
            .text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE)
            .text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &self.about.uid("segmentation"))
            .short(tags::REFERENCED_SEGMENT_NUMBER, 1);
        let mut group = self.tracked(HEMATOMA_PATCHES, true, false);
        group.push(
            item(Contains, "IMAGE", codes::REFERENCED_SEGMENT)
                .items(tags::REFERENCED_SOP_SEQUENCE, vec![segment]),
        );
        let slices = self.about.findings.slices().iter().filter(|slice| !slice.patches.is_empty());
        group.extend(slices.map(|slice| image(codes::SOURCE_FOR_SEGMENTATION, slice)));
        group.extend(self.volume_item());
        container(codes::GROUP, Some("1411"), group)
    }

    /// To the thousandth, as in the report.
    fn volume_item(&self) -> Option<DataSet> {
        let volume = self.about.report.hematoma_volume_ml?;
        Some(number(codes::VOLUME, (volume * 1000.0).round() / 1000.0, codes::MILLILITERS))
    }

    /// All objects that the tree names, by series.
    fn evidence(&self) -> Vec<DataSet> {
        let series = |uid: &str, objects: Vec<DataSet>| {
            DataSet::new().items(tags::REFERENCED_SOP_SEQUENCE, objects).text(
                tags::SERIES_INSTANCE_UID,
                VR::UI,
                uid,
            )
        };
        let mut named: Vec<&SliceFinding> = Vec::new();
        for slice in self.about.findings.slices() {
            if !named.iter().any(|known| known.sop_instance_uid == slice.sop_instance_uid) {
                named.push(slice);
            }
        }
        let mut referenced = Vec::new();
        if !named.is_empty() {
            let objects = named.into_iter().map(|slice| reference(slice, None)).collect();
            referenced.push(series(&self.about.report.series_uid, objects));
        }
        if self.has_segmentation {
            let segmentation = DataSet::new()
                .text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE)
                .text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &self.about.uid("segmentation"));
            referenced.push(series(&self.about.uid("segmentations"), vec![segmentation]));
        }
        if referenced.is_empty() {
            return Vec::new();
        }
        let study = DataSet::new().items(tags::REFERENCED_SERIES_SEQUENCE, referenced).text(
            tags::STUDY_INSTANCE_UID,
            VR::UI,
            &self.about.report.study_uid,
        );
        vec![study]
    }
}
