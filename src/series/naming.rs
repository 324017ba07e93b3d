//! What the free texts and the size of a series say of it: whether it shows a head, whether with contrast.
//! How much that weighs is left to `choose`.

use super::Series;

/// Fields of view up to this, in mm, are those of heads; bodies need more.
const HEAD_FIELD_MM: f64 = 320.0;

const HEAD_WORDS: &[&str] = &[
    "HEAD",
    "BRAIN",
    "SKULL",
    "CRANIUM",
    "CRANIAL",
    "CRANE",
    "CRANEO",
    "CEREBRAL",
    "CEREBRUM",
    "CEREBRO",
    "CEREBRALE",
    "NEURO",
    "STROKE",
    "KOPF",
    "SCHAEDEL",
    "HIRN",
    "CCT",
    "TETE",
    "CABEZA",
    "TESTA",
];

const OTHER_WORDS: &[&str] = &[
    "CHEST",
    "THORAX",
    "LUNG",
    "HEART",
    "CARDIAC",
    "CORONARY",
    "AORTA",
    "ABDOMEN",
    "ABD",
    "LIVER",
    "PELVIS",
    "COLON",
    "KIDNEY",
    "SPINE",
    "CSPINE",
    "TSPINE",
    "LSPINE",
    "NECK",
    "SHOULDER",
    "ARM",
    "ELBOW",
    "WRIST",
    "HAND",
    "HIP",
    "LEG",
    "KNEE",
    "ANKLE",
    "FOOT",
    "EXTREMITY",
    "SINUS",
    "SINUSES",
    "ORBIT",
    "ORBITS",
    "TEMPORAL",
    "IAC",
    "FACE",
    "FACIAL",
    "DENTAL",
    "JAW",
    "MANDIBLE",
    "MAXILLA",
];

/// How a series was recognised as a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeadEvidence {
    /// Body part or description name something else, or the field of view is too large.
    Other,
    /// Nothing speaks for or against it but a field of view of a head's size, or not even that.
    FieldOfView,
    /// Body part, description or protocol name the head or the brain.
    Named,
}

/// The words of body part, description and protocol.
fn words(series: &Series) -> Vec<String> {
    let Some(header) = series.header() else {
        return Vec::new();
    };
    [&header.body_part, &header.series_description, &header.protocol_name]
        .into_iter()
        .flatten()
        .flat_map(|text| text.split(|letter: char| !letter.is_alphabetic()))
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
        .collect()
}

/// What speaks for or against a head.
pub(super) fn head_evidence(series: &Series) -> HeadEvidence {
    let words = words(series);
    let names = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if names(HEAD_WORDS) {
        return HeadEvidence::Named;
    }
    if names(OTHER_WORDS) {
        return HeadEvidence::Other;
    }
    let field_mm = series.pixel_spacing_mm.map_or(0.0, |[rows, columns]| {
        (rows * f64::from(series.rows)).max(columns * f64::from(series.columns))
    });
    if field_mm > HEAD_FIELD_MM {
        return HeadEvidence::Other;
    }
    HeadEvidence::FieldOfView
}

/// The agent's tag, or an angiography by its name: not every scanner is told about the injection.
pub(super) fn has_contrast(series: &Series) -> bool {
    const ENHANCED: [&str; 6] = ["CTA", "ANGIO", "CONTRAST", "POST", "VENOUS", "ARTERIAL"];
    const PLAIN: [&str; 7] = ["WITHOUT", "WO", "NO", "NON", "NATIVE", "NATIV", "PLAIN"];
    let tagged = series.slices.iter().any(|slice| slice.header.contrast_agent);
    let words = words(series);
    let names = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    tagged || (names(&ENHANCED) && !names(&PLAIN))
}
