//! A model: `models/<name>/model.toml`, read and checked, and the network file that it vouches for.
//!
//! The manifest says everything that a result depends on besides the pixels. Running the network is the
//! engine's business.

use crate::evidence::{Calibration, Pooling};
use crate::label::{BagLabel, Class, ClassError, UnknownBagLabel};
use crate::patch::{PatchSize, View};
use crate::prep::Preparation;
use crate::window::{Window, WindowError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// File name of the manifest within a model's folder.
pub const MANIFEST: &str = "model.toml";
/// The manifest format that this program reads.
pub const SCHEMA: &str = "hemapatch.model/1";
/// What every model is for.
pub const INTENDED_USE: &str = "research use only";
/// A ResNet18 has 45 MB of weights; a larger file is a mistake or worse.
const LARGEST_FILE: u64 = 256 << 20;

/// What a model's manifest says. All fields are required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub name: String,
    /// Version of weights and thresholds together.
    pub version: String,
    /// What it is, in one sentence.
    pub description: String,
    /// [`INTENDED_USE`].
    pub intended_use: String,
    /// Licence of the weights.
    pub license: String,
    /// What the weights were trained on, with credit.
    pub training_data: String,
    /// The network file and its face.
    pub network: Network,
    /// What a patch is.
    pub patch: Patch,
    /// How a slice is made ready.
    pub preparation: SlicePreparation,
    /// How patch probabilities become a slice's and a study's.
    pub evidence: Evidence,
    /// When there is an alert.
    pub decision: Decision,
}

/// The network file and its face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// File name, in the manifest's folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Shape of one patch, `[views, size, size]`: gray levels 0 to 255.
    pub input: [usize; 3],
    /// What the outputs are.
    #[serde(default, skip_serializing_if = "Outputs::is_softmax")]
    pub outputs: Outputs,
    /// What the outputs are called, in their order: classes of a patch, or labels of a bag.
    pub labels: Vec<String>,
    /// The same network in integers, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<Int8>,
}

/// The network in integers, as docs/quantization.md defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Int8 {
    /// File name, in the manifest's folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// How the ranges of its activations were chosen.
    pub calibration: String,
    /// Share of validation patients' patches whose largest logit is the f32 network's.
    pub argmax_agreement: f64,
}

/// What the outputs of a network are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outputs {
    /// Logits of one choice among the labels, which are classes (P10).
    #[default]
    Softmax,
    /// A logit for each label; the labels are classes of which a patch may show several (P12).
    Sigmoid,
    /// Multiple-instance learning (P15): a patch's attention logit, then its score for each of the labels, which are
    /// those of the bag of a slice's patches, see [`crate::evidence::Bag`].
    Attention,
}

impl Outputs {
    fn is_softmax(&self) -> bool {
        *self == Outputs::Softmax
    }
}

/// Size and views of a patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Side in pixels.
    pub size: PatchSize,
    /// The views, in the order of the network's input channels.
    pub views: Vec<View>,
    /// Smallest and largest pixel spacing that the weights serve; a study outside of it gets a warning.
    ///
    /// # Units
    /// Millimetres.
    pub spacing_mm: [f64; 2],
    /// Smallest and largest distance of slices that pooling and weights serve, where that is known; a study outside
    /// of it gets a warning.
    ///
    /// # Units
    /// Millimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_mm: Option<[f64; 2]>,
}

/// Window and preparation steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlicePreparation {
    /// Equation (1)'s a and b.
    ///
    /// # Units
    /// Hounsfield units.
    pub window_hu: [i16; 2],
    /// The steps after the window.
    pub steps: Preparation,
}

/// From patch probabilities to a slice's and a study's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The outputs are divided by it before they become probabilities: above 1 a patch is less sure of itself.
    #[serde(default = "no_temperature")]
    pub temperature: f32,
    /// From this probability on, a patch is counted as hematoma.
    pub patch_probability: f32,
    /// Smoothing over neighbouring patches and slices.
    pub pooling: Pooling,
    /// From a slice's strongest pooled evidence to its probability.
    pub slice: Calibration,
    /// From a study's strongest pooled evidence to its probability.
    pub study: Calibration,
}

fn no_temperature() -> f32 {
    1.0
}

/// Which rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// One hematoma patch makes the study positive: the paper's bag rule (P13).
    Bag,
    /// The study's probability reaches [`Decision::study_probability`].
    Threshold,
}

impl Rule {
    /// As the manifest and the report spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Bag => "bag",
            Rule::Threshold => "threshold",
        }
    }
}

/// When there is an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The rule that decides.
    pub rule: Rule,
    /// Smallest study probability that alerts.
    pub study_probability: f32,
    /// Smallest slice score that is shown as positive.
    pub slice_probability: f32,
    /// What the thresholds were chosen for, in words.
    pub operating_point: String,
}

/// Why a model cannot be used. Exit code 6.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file is not there, or cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Larger than any model of this program.
    #[error("{} is larger than {LARGEST_FILE} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, a field missing, unknown or of the wrong kind.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The parser's words, with the line.
        reason: String,
    },
    /// Fields that do not go together.
    #[error("{}: {field}: {problem}", path.display())]
    Field {
        /// The manifest.
        path: PathBuf,
        /// The field, as it stands in the file.
        field: &'static str,
        /// What is wrong.
        problem: FieldProblem,
    },
    /// The network file is not the one that the manifest vouches for.
    #[error("{}: sha256 is {found}, the manifest says {expected}", path.display())]
    Hash {
        /// The network file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        found: String,
    },
}

/// What is wrong with a manifest's field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FieldProblem {
    /// A format or purpose that this program does not know.
    #[error("is {found:?}, expected {expected:?}")]
    Expected {
        /// What it should say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// A label that is no class.
    #[error(transparent)]
    Label(#[from] ClassError),
    /// A label that is none of a bag.
    #[error(transparent)]
    BagLabel(#[from] UnknownBagLabel),
    /// A label twice, none called hematoma, or one class alone.
    #[error("each label at most once, hematoma among them, and of classes at least two")]
    Labels,
    /// A window that cannot be.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A number out of its range.
    #[error("is {value}, expected {expected}")]
    Range {
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// The network in integers is the one in f32.
    #[error("is the f32 network's own file")]
    SameFile,
    /// A file name with a folder in it.
    #[error("must be a plain file name")]
    FileName,
}

/// A manifest that was checked, and the network file whose hash agrees with it.
pub struct Model {
    manifest: Manifest,
    labels: Labels,
    window: Window,
    network: Vec<u8>,
    int8: Option<Vec<u8>>,
}

/// What a network's labels stand for.
enum Labels {
    Classes(Vec<Class>),
    Bag(Vec<BagLabel>),
}

impl Manifest {
    /// Reads and checks `folder/model.toml`.
    ///
    /// # Errors
    /// [`ModelError`], naming the file and the field.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let text = String::from_utf8(read_bounded(&path)?)
            .map_err(|e| ModelError::Manifest { path: path.clone(), reason: e.to_string() })?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|e| ModelError::Manifest { path: path.clone(), reason: e.to_string() })?;
        manifest.check().map_err(|(field, problem)| ModelError::Field { path, field, problem })?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), (&'static str, FieldProblem)> {
        let expect = |field, expected: &str, found: &str| {
            let problem = FieldProblem::Expected { expected: expected.into(), found: found.into() };
            if expected == found { Ok(()) } else { Err((field, problem)) }
        };
        let range = |field, value: f64, low: f64, high: f64, expected| {
            let inside = (low..=high).contains(&value);
            if inside { Ok(()) } else { Err((field, FieldProblem::Range { value, expected })) }
        };
        expect("schema", SCHEMA, &self.schema)?;
        expect("intended_use", INTENDED_USE, &self.intended_use)?;
        let int8 = self.network.int8.as_ref();
        let files =
            [("network.file", Some(&self.network.file)), ("network.int8.file", int8.map(|int8| &int8.file))];
        for (field, file) in files {
            let Some(file) = file else { continue };
            if Path::new(file).file_name().is_none_or(|name| name != file.as_str()) {
                return Err((field, FieldProblem::FileName));
            }
        }
        self.labels()?;
        self.window().map_err(|problem| ("preparation.window_hu", problem.into()))?;
        let size = self.patch.size.pixels();
        let input = [self.patch.views.len(), size, size];
        expect("network.input", &format!("{input:?}"), &format!("{:?}", self.network.input))?;
        range("patch.views", input[0] as f64, 1.0, 9.0, "1 to 9 views")?;
        let spacings =
            [("patch.spacing_mm", Some(self.patch.spacing_mm)), ("patch.slice_mm", self.patch.slice_mm)];
        for (field, bounds) in spacings {
            if let Some([small, large]) = bounds {
                range(field, small, 0.05, large, "two ascending positive numbers")?;
            }
        }
        let evidence = &self.evidence;
        let probability = "a number from 0 to 1";
        let bags = self.network.outputs == Outputs::Attention;
        let [low, high] = if bags { [1.0, 1.0] } else { [0.05, 20.0] };
        range(
            "evidence.temperature",
            evidence.temperature.into(),
            low,
            high,
            "0.05 to 20, and 1 for attention",
        )?;
        if let Some(int8) = int8 {
            range("network.int8.argmax_agreement", int8.argmax_agreement, 0.0, 1.0, probability)?;
            if int8.file == self.network.file {
                return Err(("network.int8.file", FieldProblem::SameFile));
            }
            if bags {
                let problem = FieldProblem::Expected {
                    expected: "softmax or sigmoid".into(),
                    found: "attention".into(),
                };
                return Err(("network.outputs", problem));
            }
        }
        range("evidence.patch_probability", evidence.patch_probability.into(), 0.0, 1.0, probability)?;
        range("decision.study_probability", self.decision.study_probability.into(), 0.0, 1.0, probability)?;
        range("decision.slice_probability", self.decision.slice_probability.into(), 0.0, 1.0, probability)?;
        for (field, sigma) in [
            ("evidence.pooling.sigma_slices", evidence.pooling.sigma_slices),
            ("evidence.pooling.sigma_patches", evidence.pooling.sigma_patches),
        ] {
            range(field, sigma.into(), 0.0, 8.0, "0 to 8")?;
        }
        for (field, calibration) in [("evidence.slice", evidence.slice), ("evidence.study", evidence.study)] {
            range(field, calibration.slope.into(), 1e-3, 100.0, "a slope of 0.001 to 100")?;
            range(field, calibration.intercept.into(), -100.0, 100.0, "an intercept of -100 to 100")?;
        }
        Ok(())
    }

    fn labels(&self) -> Result<Labels, (&'static str, FieldProblem)> {
        let names = self.network.labels.iter();
        let labels = match self.network.outputs {
            Outputs::Softmax | Outputs::Sigmoid => names
                .map(|name| Class::from_name(name))
                .collect::<Result<_, _>>()
                .map(Labels::Classes)
                .map_err(FieldProblem::from),
            Outputs::Attention => names
                .map(|name| BagLabel::from_name(name))
                .collect::<Result<_, _>>()
                .map(Labels::Bag)
                .map_err(FieldProblem::from),
        };
        let labels = labels.map_err(|problem| ("network.labels", problem))?;
        let sound = match &labels {
            // A class alone has nothing to be chosen from.
            Labels::Classes(classes) => classes.len() > 1 && once_with(classes, Class::Hematoma),
            Labels::Bag(labels) => once_with(labels, BagLabel::Hematoma),
        };
        if sound { Ok(labels) } else { Err(("network.labels", FieldProblem::Labels)) }
    }

    fn window(&self) -> Result<Window, WindowError> {
        let [a_hu, b_hu] = self.preparation.window_hu;
        Window::new(a_hu, b_hu)
    }
}

impl Model {
    /// Reads the manifest of `folder` and the networks that it names, and compares their hashes.
    ///
    /// The network in integers is read here too, used or not: a folder that is not what its manifest
    /// says is refused as a whole, and 2 MB more cost some milliseconds.
    ///
    /// # Errors
    /// [`ModelError`]. What is in the network file is checked by the engine, after the hash.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let manifest = Manifest::read(folder)?;
        let in_field = |(field, problem)| ModelError::Field { path: folder.join(MANIFEST), field, problem };
        let labels = manifest.labels().map_err(in_field)?;
        let window = manifest.window().map_err(|e| in_field(("preparation.window_hu", e.into())))?;
        let network = read_vouched(folder.join(&manifest.network.file), &manifest.network.sha256)?;
        let int8 = manifest
            .network
            .int8
            .as_ref()
            .map(|int8| read_vouched(folder.join(&int8.file), &int8.sha256))
            .transpose()?;
        Ok(Self { manifest, labels, window, network, int8 })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The classes that a patch may be called: those of the network's outputs, in their order. A model of bags
    /// knows hematoma alone.
    pub fn labels(&self) -> &[Class] {
        match &self.labels {
            Labels::Classes(classes) => classes,
            Labels::Bag(_) => &[Class::Hematoma],
        }
    }

    /// The labels of a bag, in the order of the network's outputs behind the attention logit; `None` where the
    /// network labels patches.
    pub fn bag_labels(&self) -> Option<&[BagLabel]> {
        match &self.labels {
            Labels::Classes(_) => None,
            Labels::Bag(labels) => Some(labels),
        }
    }

    /// Numbers that the network gives for a patch.
    pub fn outputs(&self) -> usize {
        match &self.labels {
            Labels::Classes(classes) => classes.len(),
            Labels::Bag(labels) => 1 + labels.len(),
        }
    }

    /// The manifest's window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The network file.
    pub fn network(&self) -> &[u8] {
        &self.network
    }

    /// The network in integers, where the manifest has one.
    pub fn int8(&self) -> Option<&[u8]> {
        self.int8.as_deref()
    }
}

/// Whether no label is there twice, and `needed` once.
fn once_with<Label: PartialEq>(labels: &[Label], needed: Label) -> bool {
    let repeated = (1..labels.len()).any(|i| labels[..i].contains(&labels[i]));
    !repeated && labels.contains(&needed)
}

/// The folders below `models` that hold a manifest, in the order of their names.
///
/// # Errors
/// [`ModelError::Io`] where `models` cannot be read.
pub fn list(models: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let failed = |source| ModelError::Io { path: models.to_owned(), source };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(models).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        if folder.join(MANIFEST).is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file whose SHA-256 is `expected`.
fn read_vouched(path: PathBuf, expected: &str) -> Result<Vec<u8>, ModelError> {
    let bytes = read_bounded(&path)?;
    let found = sha256_hex(&bytes);
    if found.eq_ignore_ascii_case(expected) {
        Ok(bytes)
    } else {
        Err(ModelError::Hash { path, expected: expected.into(), found })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ModelError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}
