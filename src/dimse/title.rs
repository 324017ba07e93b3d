//! What programs that speak DICOM are called.

use serde::Deserialize;

/// The name of a program that speaks DICOM: 1 to 16 letters, without backslashes and control characters.
///
/// # Source
/// DICOM PS3.5 table 6.2-1, AE; spaces around it do not count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AeTitle(String);

impl TryFrom<String> for AeTitle {
    type Error = String;

    fn try_from(text: String) -> Result<AeTitle, String> {
        let title = text.trim_matches(' ');
        let is_letter = |byte: u8| (0x20..0x7F).contains(&byte) && byte != b'\\';
        if title.is_empty() || title.len() > 16 || !title.bytes().all(is_letter) {
            return Err(format!("{text:?} is no application entity title: 1 to 16 letters, no backslash"));
        }
        Ok(AeTitle(title.to_owned()))
    }
}

impl Default for AeTitle {
    /// Ours, where nothing else is said.
    fn default() -> AeTitle {
        AeTitle("HEMAPATCH".to_owned())
    }
}

impl AeTitle {
    /// The title, without spaces around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_have_the_standards_form() {
        let title = |text: &str| AeTitle::try_from(text.to_owned());
        assert_eq!(title(" CT1 ").unwrap().as_str(), "CT1");
        for wrong in ["", "   ", "12345678901234567", "A\\B", "A\nB", "\u{c4}"] {
            assert!(title(wrong).is_err(), "{wrong:?}");
        }
    }
}
