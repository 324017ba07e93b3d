//! Objects: guard, headers, pixels, who the patient is.

use std::fmt::Display;

use hemapatch::dicom::{Object, Patient, StoredValues, claims_dicom, identify};
use hemapatch::limits::Limits;
use hemapatch::stream::rescale;

use crate::choices::Choices;
use crate::encoders::deflate;
use crate::limits;
use crate::objects::{self, Place};
use crate::writer::file;

/// Any bytes.
pub fn bytes(input: &[u8]) {
    check(input, &limits());
}

/// Objects that are nearly valid.
pub fn structured(input: &[u8]) {
    check(&objects::object(&mut Choices::new(input), Place::default()), &limits());
}

/// Deflated data sets: of any bytes where the first is even, else any deflated ones.
pub fn deflated(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let data_set = if first % 2 == 0 { deflate(rest) } else { rest.to_vec() };
    check(&file("1.2.840.10008.1.2.1.99", &data_set), &limits());
}

/// An object is refused in one line, or every frame of it has as many values as its header says, twice the same.
pub fn check(bytes: &[u8], limits: &Limits) {
    claims_dicom(bytes);
    identify(bytes, limits);
    if let Ok(patient) = Patient::read(bytes, limits) {
        for text in [patient.name, patient.id, patient.study_description].into_iter().flatten() {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    let object = match Object::read(bytes, limits) {
        Ok(object) => object,
        Err(error) => return one_line(&error),
    };
    let again = Object::read(bytes, limits).expect("what was read is read again");
    assert!(object.slices == again.slices);
    assert!(!object.slices.is_empty());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (frame, header) in object.slices.iter().enumerate() {
        assert!(header.rows <= limits.rows && header.columns <= limits.columns);
        let stored = match object.stored_values(bytes, frame, limits) {
            Ok(stored) => stored,
            Err(error) => {
                one_line(&error);
                continue;
            }
        };
        let pixels = (header.rows * header.columns) as usize;
        let count = match &stored {
            StoredValues::Bits8(values) => values.len(),
            StoredValues::Bits16(values) => values.len(),
        };
        assert_eq!(count, pixels);
        if rescale(header, &stored, &mut first).is_ok() {
            assert_eq!(first.len(), pixels);
            let stored = again.stored_values(bytes, frame, limits).expect("what was read is read again");
            rescale(header, &stored, &mut second).expect("what was rescaled is rescaled again");
            assert!(first == second);
        }
    }
}

pub fn one_line(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}
