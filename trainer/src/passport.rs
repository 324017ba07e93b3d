//! What a model's manifest says that no training decides: description, licence, credit, and what
//! scans the weights are for.
//!
//! PHE-SICH-CT-IDS and phantoms have passports of their own. Of any other data only its owner knows these things,
//! so nothing is assumed: the recipe or the command line says them, or there is no model.

use crate::phantoms::{self, DRAWN, Scan};
use crate::recipe::Method;
use crate::shard::Source;
use hemapatch::label::Class;
use serde::{Deserialize, Serialize};

/// What a manifest says that no training decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Passport {
    /// Version of weights and thresholds together.
    pub version: String,
    /// What it is, in one sentence.
    pub description: String,
    /// Licence of the weights.
    pub license: String,
    /// What the weights were trained on, with credit.
    pub training_data: String,
    /// Equation (1)'s a and b, in Hounsfield units, of the training pictures.
    pub window_hu: [i16; 2],
    /// Smallest and largest pixel spacing that the weights serve, mm.
    pub spacing_mm: [f64; 2],
    /// Smallest and largest distance of slices that the pooling serves, mm, where that is known.
    pub slice_mm: Option<[f64; 2]>,
}

/// What the owner of other data says of it: the recipe's `[passport]`, or the command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Statement {
    /// What the model is, in one sentence.
    pub description: Option<String>,
    /// Licence of the weights.
    pub license: Option<String>,
    /// What the weights were trained on, with credit.
    pub training_data: Option<String>,
    /// The window that the patches were cut with, in Hounsfield units.
    pub window_hu: Option<[i16; 2]>,
    /// Smallest and largest pixel spacing of the slices that were cut, mm.
    pub spacing_mm: Option<[f64; 2]>,
}

/// Why a model cannot have a passport.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassportError {
    /// Only the owner of the data can say it, and did not.
    #[error(
        "a model trained on your own data needs your word on {key}: \
         --{option}, or {key} under [passport] in the recipe"
    )]
    Missing {
        /// The recipe's key.
        key: &'static str,
        /// The command line's option.
        option: String,
    },
    /// The licence and credit of PHE-SICH-CT-IDS are not the user's to change, nor is it that phantoms are drawn.
    #[error("the shard was made of PHE-SICH-CT-IDS or of phantoms, whose passport is known: leave out {0}")]
    Known(&'static str),
}

impl Statement {
    /// This statement, completed by `other` where it is silent.
    #[must_use]
    pub fn or(self, other: &Statement) -> Statement {
        let other = other.clone();
        Statement {
            description: self.description.or(other.description),
            license: self.license.or(other.license),
            training_data: self.training_data.or(other.training_data),
            window_hu: self.window_hu.or(other.window_hu),
            spacing_mm: self.spacing_mm.or(other.spacing_mm),
        }
    }

    fn first_said(&self) -> Option<&'static str> {
        [
            ("description", self.description.is_some()),
            ("license", self.license.is_some()),
            ("training_data", self.training_data.is_some()),
            ("window_hu", self.window_hu.is_some()),
            ("spacing_mm", self.spacing_mm.is_some()),
        ]
        .into_iter()
        .find_map(|(key, said)| said.then_some(key))
    }
}

impl Passport {
    /// Window of `hemapatch patches` unless told otherwise, in Hounsfield units.
    const USUAL_WINDOW_HU: [i16; 2] = [0, 80];

    /// Of a model trained on `source`, of which its owner made `statement`.
    ///
    /// # Errors
    /// [`PassportError`].
    pub fn of(
        source: Source,
        method: Method,
        version: &str,
        statement: &Statement,
    ) -> Result<Passport, PassportError> {
        match source {
            Source::PheSich | Source::Phantoms => match (statement.first_said(), source) {
                (Some(key), _) => Err(PassportError::Known(key)),
                (None, Source::Phantoms) => Ok(Passport::phantoms(version)),
                (None, _) => Ok(Passport::phe_sich(method, version)),
            },
            Source::LabelledPatches => {
                let missing =
                    |key: &'static str| PassportError::Missing { key, option: key.replace('_', "-") };
                let said = |key, words: &Option<String>| {
                    words.clone().filter(|words| !words.trim().is_empty()).ok_or_else(|| missing(key))
                };
                Ok(Passport {
                    version: version.into(),
                    description: said("description", &statement.description)?,
                    license: said("license", &statement.license)?,
                    training_data: said("training_data", &statement.training_data)?,
                    window_hu: statement.window_hu.unwrap_or(Self::USUAL_WINDOW_HU),
                    spacing_mm: statement.spacing_mm.ok_or_else(|| missing("spacing_mm"))?,
                    // A bag of labelled patches has no slices to pool over.
                    slice_mm: None,
                })
            }
        }
    }

    /// Of a model trained on PHE-SICH-CT-IDS.
    #[must_use]
    pub fn phe_sich(method: Method, version: &str) -> Passport {
        let classes =
            |classes: &[Class]| classes.iter().map(|class| class.name()).collect::<Vec<_>>().join(", ");
        let what = match method {
            Method::Single => format!("which of these each shows: {}", classes(&Class::SINGLE)),
            Method::Multilabel => {
                format!("which of these each shows, several allowed: {}", classes(&Class::ALL))
            }
            Method::Mil => "what each adds to the verdict over its slice".into(),
        };
        let labels = match method {
            Method::Single | Method::Multilabel => {
                "Patch labels were derived from its lesion boxes and gray levels by rule, not drawn by a radiologist."
            }
            Method::Mil => "A slice was labelled by whether it has a lesion box; no patch was labelled.",
        };
        Passport {
            version: version.into(),
            description: format!("ResNet18 without dead taps on patches of non-contrast head CT, {what}."),
            license: "CC-BY-NC-4.0: trained on data published for non-commercial purpose".into(),
            training_data: format!(
                "PHE-SICH-CT-IDS by Ma D., Li C., Qiao L., Du T., Tang D., Ma Z., Shi L., Grzegorzek M., Sun H., \
                 Computers in Biology and Medicine 2024, doi:10.1016/j.compbiomed.2024.108342, data \
                 doi:10.6084/m9.figshare.23957937. {labels}"
            ),
            // The pictures were published windowed; parenchyma at gray 105 fits 0 to 80 HU.
            window_hu: [0, 80],
            // The pictures carry no spacing. Their skulls are 287 to 362 pixels wide (5 % to 95 % of
            // the patients); at an adult's 145 mm that is 0.40 to 0.51 mm, and augmentation adds
            // 10 % either way. An estimate, not the scanners' word.
            spacing_mm: [0.36, 0.56],
            // 30 slices or so from the base of the skull to the vertex, some 150 mm: 5 mm. An estimate, too.
            slice_mm: Some([3.0, 8.0]),
        }
    }
}

impl Passport {
    /// Of a model trained on phantoms, scanned as [`Scan::default`] says.
    #[must_use]
    pub fn phantoms(version: &str) -> Passport {
        let Scan { pixel_mm, spacing_mm, .. } = Scan::default();
        Passport {
            version: version.into(),
            description: format!(
                "ResNet18 without dead taps on patches of head CT, without clinical meaning: {DRAWN}."
            ),
            license: "MIT OR Apache-2.0: trained on pictures that hemapatch itself draws".into(),
            training_data: format!(
                "Heads that hemapatch invents from seeds, not patients: {DRAWN}. What the model says of a patient is \
                 worth nothing."
            ),
            window_hu: phantoms::WINDOW_HU,
            // What augmentation by 10 % either way makes of the one spacing that is drawn.
            spacing_mm: [0.9 * pixel_mm, 1.1 * pixel_mm],
            slice_mm: Some([0.6 * spacing_mm, 1.6 * spacing_mm]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            description: Some("a test".into()),
            license: Some("CC0-1.0".into()),
            training_data: Some("drawn squares".into()),
            window_hu: None,
            spacing_mm: Some([0.4, 0.5]),
        }
    }

    #[test]
    fn other_data_never_gets_the_passport_of_phe_sich() {
        let passport = Passport::of(Source::LabelledPatches, Method::Single, "1.0.0", &statement()).unwrap();
        assert_eq!(
            (passport.license.as_str(), passport.training_data.as_str()),
            ("CC0-1.0", "drawn squares")
        );
        assert_eq!((passport.window_hu, passport.spacing_mm), ([0, 80], [0.4, 0.5]));
        let blank = Statement { license: Some(" ".into()), ..statement() };
        let error = Passport::of(Source::LabelledPatches, Method::Single, "1.0.0", &blank).unwrap_err();
        assert!(error.to_string().contains("your word on license: --license"), "{error}");
        let silent = Statement { training_data: None, ..statement() };
        let error = Passport::of(Source::LabelledPatches, Method::Single, "1.0.0", &silent).unwrap_err();
        assert!(error.to_string().contains("--training-data, or training_data under [passport]"), "{error}");
    }

    #[test]
    fn the_passport_of_phe_sich_cannot_be_reworded() {
        let silent = Statement::default();
        assert_eq!(
            Passport::of(Source::PheSich, Method::Single, "1.0.0", &silent),
            Ok(Passport::phe_sich(Method::Single, "1.0.0"))
        );
        let license = Statement { license: Some("MIT".into()), ..silent };
        assert_eq!(
            Passport::of(Source::PheSich, Method::Single, "1.0.0", &license),
            Err(PassportError::Known("license"))
        );
    }

    #[test]
    fn a_model_of_phantoms_says_so_and_cannot_be_made_to_say_otherwise() {
        let passport =
            Passport::of(Source::Phantoms, Method::Single, "1.0.0", &Statement::default()).unwrap();
        for words in [&passport.description, &passport.training_data] {
            assert!(words.contains("trained on drawn phantoms; marker labels are the drawing's"), "{words}");
        }
        let reworded = Passport::of(Source::Phantoms, Method::Single, "1.0.0", &statement());
        assert_eq!(reworded, Err(PassportError::Known("description")));
    }

    #[test]
    fn the_command_line_overrules_the_recipe() {
        let line = Statement { license: Some("MIT".into()), ..Statement::default() };
        let both = line.or(&statement());
        assert_eq!((both.license.as_deref(), both.description.as_deref()), (Some("MIT"), Some("a test")));
    }
}
