//! A model: `models/<name>/model.toml`, read and checked, and the network file that it vouches for.
//!
//! The manifest says everything that a result depends on besides the pixels. Running the network is the
//! engine's business.

use crate::evidence::{Calibration, Pooling};
use crate::label::{Class, ClassError};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// File name, in the manifest's folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Shape of one patch, `[views, size, size]`: gray levels 0 to 255.
    pub input: [usize; 3],
    /// What the outputs (logits of one choice among them) are called, in their order.
    pub labels: Vec<String>,
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
    /// From this probability on, a patch is counted as hematoma.
    pub patch_probability: f32,
    /// Smoothing over neighbouring patches and slices.
    pub pooling: Pooling,
    /// From a slice's strongest pooled evidence to its probability.
    pub slice: Calibration,
    /// From a study's strongest pooled evidence to its probability.
    pub study: Calibration,
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
    /// A class twice, or none called hematoma.
    #[error("each class at most once, and hematoma among them")]
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
    /// A file name with a folder in it.
    #[error("must be a plain file name")]
    FileName,
}

/// A manifest that was checked, and the network file whose hash agrees with it.
pub struct Model {
    manifest: Manifest,
    labels: Vec<Class>,
    window: Window,
    network: Vec<u8>,
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
        let file = &self.network.file;
        if Path::new(file).file_name().is_none_or(|name| name != file.as_str()) {
            return Err(("network.file", FieldProblem::FileName));
        }
        self.classes()?;
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

    fn classes(&self) -> Result<Vec<Class>, (&'static str, FieldProblem)> {
        let labels = &self.network.labels;
        let classes = labels
            .iter()
            .map(|label| Class::from_name(label))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| ("network.labels", problem.into()))?;
        let repeated = (1..classes.len()).any(|i| classes[..i].contains(&classes[i]));
        if repeated || !classes.contains(&Class::Hematoma) {
            return Err(("network.labels", FieldProblem::Labels));
        }
        Ok(classes)
    }

    fn window(&self) -> Result<Window, WindowError> {
        let [a_hu, b_hu] = self.preparation.window_hu;
        Window::new(a_hu, b_hu)
    }
}

impl Model {
    /// Reads the manifest of `folder` and the network that it names, and compares the hash.
    ///
    /// # Errors
    /// [`ModelError`]. What is in the network file is checked by the engine, after the hash.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let manifest = Manifest::read(folder)?;
        let in_field = |(field, problem)| ModelError::Field { path: folder.join(MANIFEST), field, problem };
        let labels = manifest.classes().map_err(in_field)?;
        let window = manifest.window().map_err(|e| in_field(("preparation.window_hu", e.into())))?;
        let path = folder.join(&manifest.network.file);
        let network = read_bounded(&path)?;
        let found = sha256_hex(&network);
        if !found.eq_ignore_ascii_case(&manifest.network.sha256) {
            return Err(ModelError::Hash { path, expected: manifest.network.sha256, found });
        }
        Ok(Self { manifest, labels, window, network })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The classes of the network's outputs, in their order.
    pub fn labels(&self) -> &[Class] {
        &self.labels
    }

    /// The manifest's window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The network file.
    pub fn network(&self) -> &[u8] {
        &self.network
    }
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
