//! Manifests of models.

use std::cell::OnceCell;

use hemapatch::model::Manifest;
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Any bytes are a manifest that is what it says, or an error that names the file.
pub fn read(input: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(super::series::memory_folder).path();
        std::fs::write(folder.join("model.toml"), input).expect("memory takes everything");
        if let Err(error) = Manifest::read(folder) {
            assert!(error.to_string().contains("model.toml"), "{error}");
        }
    });
}
