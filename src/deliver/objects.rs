//! Result objects, as they are sent: files that this program wrote.

use std::path::{Path, PathBuf};

use dicom_dictionary_std::uids;
use dicom_object::FileMetaTable;

use crate::dicom;
use crate::limits::Limits;

/// Bytes before the data set that the meta group's length does not count: preamble, prefix, the length itself.
const BEFORE_META: usize = 128 + 4 + 12;

/// An object.
#[derive(Debug)]
pub struct Object {
    pub path: PathBuf,
    /// The whole file.
    pub bytes: Vec<u8>,
    pub class_uid: String,
    pub instance_uid: String,
    /// UID of the transfer syntax.
    pub syntax: String,
    /// Where the data set begins.
    data_at: usize,
}

impl Object {
    /// The object that a file has.
    ///
    /// # Errors
    /// It has none, and why.
    pub fn of(path: &Path, bytes: Vec<u8>) -> Result<Object, String> {
        let meta = bytes.get(128..).ok_or("it is too short")?;
        let meta = FileMetaTable::from_reader(meta).map_err(|error| error.to_string())?;
        let uid = |text: &str| text.trim_end_matches(['\0', ' ']).to_owned();
        let data_at = BEFORE_META + meta.information_group_length as usize;
        if data_at > bytes.len() {
            return Err("it ends before its data set".to_owned());
        }
        Ok(Object {
            path: path.to_owned(),
            class_uid: uid(&meta.media_storage_sop_class_uid),
            instance_uid: uid(&meta.media_storage_sop_instance_uid),
            syntax: uid(&meta.transfer_syntax),
            data_at,
            bytes,
        })
    }

    /// One with this UID as all that it is, for tests.
    #[cfg(test)]
    pub fn sample(instance_uid: &str) -> Object {
        let (path, syntax) = (PathBuf::new(), uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned());
        let (bytes, instance_uid) = (instance_uid.as_bytes().to_vec(), instance_uid.to_owned());
        Object { path, bytes, class_uid: "1.2".to_owned(), instance_uid, syntax, data_at: 0 }
    }

    /// The data set as it is, in its own transfer syntax.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.data_at..]
    }

    /// The data set in implicit VR little endian, for archives that speak nothing else.
    ///
    /// # Errors
    /// It cannot be written so, and why.
    pub fn implicit(&self) -> Result<Vec<u8>, String> {
        match self.syntax.as_str() {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Ok(self.data().to_vec()),
            uids::EXPLICIT_VR_LITTLE_ENDIAN => {
                dicom::implicit(self.data(), &Limits::default()).map_err(|error| error.to_string())
            }
            other => Err(format!("it is in another transfer syntax: {other}")),
        }
    }
}
