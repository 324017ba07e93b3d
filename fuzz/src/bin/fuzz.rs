//! libFuzzer on the target that HEMAPATCH_FUZZ names. Named `seeds`, it writes the first files of all corpora into the
//! folder that HEMAPATCH_SEEDS names, and ends.

#![no_main]

use std::env;
use std::path::Path;
use std::process::exit;
use std::sync::LazyLock;

use hemapatch_fuzz::{seeds, targets::TARGETS};

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = env::var("HEMAPATCH_FUZZ").unwrap_or_default();
    if wanted == "seeds" {
        let folder = env::var_os("HEMAPATCH_SEEDS").expect("HEMAPATCH_SEEDS names a folder");
        seeds::write(Path::new(&folder)).expect("the seeds can be written");
        exit(0);
    }
    let target = TARGETS.iter().find(|(name, _)| *name == wanted);
    let Some((_, target)) = target else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("HEMAPATCH_FUZZ has to name a target: {}", names.join(" "));
        exit(2);
    };
    *target
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| TARGET(data));
