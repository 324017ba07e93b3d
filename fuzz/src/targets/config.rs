//! Configurations of the service.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use hemapatch::serve::Config;
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Any bytes are a configuration that can be used, or an error that names the file.
pub fn read(input: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.get_or_init(super::series::memory_folder).path().join("hemapatch.toml");
        std::fs::write(&path, input).expect("memory takes everything");
        match Config::read(&path) {
            Ok(config) => check(&config),
            Err(error) => assert!(error.to_string().contains("hemapatch.toml"), "{error}"),
        }
    });
}

/// What the service relies on.
fn check(config: &Config) {
    assert!(config.spool.folder.is_absolute() && config.sha256.len() == 64);
    assert!(config.study.settled_s <= config.study.quiet_s);
    let from = |seconds: f64| Duration::try_from_secs_f64(seconds).expect("a time");
    let mut times = vec![
        from(config.study.settled_s),
        from(config.study.quiet_s),
        Duration::from_secs(config.study.seconds),
    ];
    if let Some(receive) = &config.receive {
        assert!(!receive.peer.is_empty());
        times.push(receive.settings(true).expect("what was checked").idle);
    }
    assert!(times.iter().all(|time| Instant::now().checked_add(*time).is_some()), "{times:?}");
    assert!(config.alert.iter().all(|alert| alert.way().is_some()));
    assert!(config.deliver.iter().all(|destination| destination.to().is_some()));
    assert!(config.web.as_ref().is_none_or(|web| web.listen.ip().is_loopback()));
}
