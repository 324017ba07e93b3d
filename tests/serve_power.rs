//! Whatever was acknowledged survives a power cut at any moment: of all that the service asked of the disk, only what was made
//! durable before counts.
//!
//! The service runs under strace; its system calls are followed in their order, on a disk that forgets names and bytes until
//! they are synced.

mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Instant;

use service::program::{BLEED, hemapatch, phantom};
use service::{Service, configure, slices};

/// What a disk has for sure.
#[derive(Default)]
struct Disk {
    /// Bytes that were written to a file, by its first name, and how many of them are durable.
    files: BTreeMap<String, (usize, usize)>,
    /// Names that were given, and are not durable yet, with what they are names of.
    names: BTreeMap<String, String>,
    /// Names that are durable, with what they are names of.
    durable: BTreeMap<String, String>,
    /// Names that are durable and were taken away, which is not.
    gone: BTreeSet<String>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Disk {
    fn name(&mut self, path: &str, of: &str) {
        self.names.insert(path.to_owned(), of.to_owned());
    }

    /// What has a name, as whoever looks for it now finds it.
    fn known(&self, path: &str) -> Option<&String> {
        let durable = || self.durable.get(path).filter(|_| !self.gone.contains(path));
        self.names.get(path).or_else(durable)
    }

    /// The file that has a name, if that is known.
    fn file(&self, path: &str) -> String {
        self.known(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    /// A file that is opened to be written: a new one, or one that is added to.
    fn open(&mut self, path: &str) {
        if self.known(path).is_none() {
            // Another one may have had this name before.
            let file =
                (0..).map(|n| format!("{path} {n}")).find(|file| !self.files.contains_key(file)).unwrap();
            self.files.insert(file.clone(), (0, 0));
            self.name(path, &file);
        }
    }

    /// A name that a file has no longer. Synced before it is given again, it never was one.
    fn unname(&mut self, path: &str) {
        self.names.remove(path);
        if self.durable.contains_key(path) {
            self.gone.insert(path.to_owned());
        }
    }

    fn sync(&mut self, path: &str) {
        let file = self.file(path);
        if let Some((written, durable)) = self.files.get_mut(&file) {
            *durable = *written;
            return;
        }
        let (gone, left) = std::mem::take(&mut self.gone).into_iter().partition(|name| parent(name) == path);
        self.gone = left;
        BTreeSet::into_iter(gone).for_each(|name| drop(self.durable.remove(&name)));
        let named: Vec<String> = self.names.keys().filter(|name| parent(name) == path).cloned().collect();
        for name in named {
            let of = self.names.remove(&name).unwrap();
            self.durable.insert(name, of);
        }
    }

    /// Bytes that whoever looks for this name finds after a power cut; None where the name is gone, or one above it.
    fn survives(&self, path: &str, root: &str) -> Option<usize> {
        let mut folder = parent(path);
        while folder != root {
            self.durable.get(folder)?;
            folder = parent(folder);
        }
        self.files.get(self.durable.get(path)?).map(|(_, durable)| *durable)
    }
}

/// The value of a string of a JSON document that a call writes.
fn told<'a>(call: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = call.split_once(&format!("\\\"{name}\\\":\\\""))?;
    rest.split_once("\\\"").map(|(value, _)| value)
}

/// The strings in quotes of a call, and the path behind its first descriptor.
fn parts(call: &str) -> (Vec<&str>, Option<&str>) {
    let quoted = call.split('"').skip(1).step_by(2).collect();
    let descriptor = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
    (quoted, descriptor)
}

/// How many bytes a call wrote.
fn written(result: &str) -> usize {
    result.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_acknowledged_object_is_durable_when_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    phantom(&folder.join("bleed"), BLEED);
    let config = configure(&folder, "[study]\nsettled_s = 0\n");
    let log = folder.join("calls");
    let calls = "openat,write,writev,fsync,fdatasync,mkdir,link,linkat,rename,renameat,renameat2,sendto";
    let mut command = Command::new("strace");
    // As a process of its own beside the service; what judges is followed as well.
    command.args(["-D", "-f", "-y", "-s", "512", "-e"]).arg(format!("trace={calls}")).arg("-o").arg(&log);
    let program = hemapatch();
    command.arg(program.get_program()).args(program.get_args()).arg("serve").arg("--config").arg(&config);
    let service = Service::start_as(command);
    let slices = slices(&folder.join("bleed"));
    // Two at once, so that what one makes durable does not hide what the other forgot.
    std::thread::scope(|scope| {
        for half in slices.chunks(slices.len().div_ceil(2)) {
            let service = &service.address;
            scope.spawn(move || {
                let mut sender = service::associate(service).unwrap();
                half.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
                sender.release();
            });
        }
    });
    while service.wait_for("told")["notice"] != "1-alert" {}
    let id = service.id().to_string();
    service.kill();
    // What follows it writes to the end.
    let since = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&log).unwrap();
        assert!(since.elapsed().as_secs() < 120, "strace does not end");
        // The number is padded where it is short.
        let ended = |line: &str| {
            line.split_once(' ')
                .is_some_and(|(thread, end)| thread == id && end.trim_start() == "+++ killed by SIGKILL +++")
        };
        if text.lines().any(ended) {
            break text;
        }
        std::thread::yield_now();
    };

    let root = folder.join("spool");
    let root = root.to_str().unwrap();
    let mut disk = Disk::default();
    // Calls that were not ended when another thread's began.
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    // The object that a thread keeps.
    let mut keeping: BTreeMap<&str, String> = BTreeMap::new();
    // Notices, in the order in which they are told, and those of which it is noted that they were.
    let (mut acknowledged, mut telling, mut noted) = (BTreeSet::new(), Vec::new(), 0);
    let notice = |state: &str, id: &str| format!("{root}/alerts/log/{state}/{id}.json");
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let mut whole = call.to_owned();
        if let Some(call) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, call.to_owned());
            continue;
        }
        if let Some((_, rest)) = call.split_once(" resumed>") {
            whole = begun.remove(thread).unwrap_or_default() + rest;
        }
        let Some((name, arguments)) = whole.split_once('(') else { continue };
        let result = arguments.rsplit_once(" = ").map_or("", |(_, result)| result);
        // Failed, or cut off by the kill.
        if result.starts_with(['-', '?']) || result.is_empty() {
            continue;
        }
        let (quoted, descriptor) = parts(arguments);
        match name {
            "openat" if arguments.contains("O_CREAT") => {
                if let Some(path) = quoted.first().filter(|path| path.starts_with(root)) {
                    disk.open(path);
                }
            }
            "mkdir" => disk.name(quoted[0], quoted[0]),
            "link" | "linkat" | "rename" | "renameat" | "renameat2" => {
                let (from, to) = (quoted[0], quoted[1]);
                let of = disk.file(from);
                disk.name(to, &of);
                if name.starts_with("link") {
                    keeping.insert(thread, to.to_owned());
                } else {
                    disk.unname(from);
                }
            }
            "write" | "writev" | "sendto" => {
                let to = descriptor.unwrap_or_default();
                if to.starts_with("TCP") || to.starts_with("socket") {
                    // An answer: the object that this thread keeps is there, as it was sent.
                    let Some(object) = keeping.remove(thread) else { continue };
                    let bytes = disk.survives(&object, root);
                    let sent = fs::metadata(&object).unwrap().len() as usize;
                    assert_eq!(bytes, Some(sent), "acknowledged, and gone after a power cut: {object}");
                    acknowledged.insert(object);
                } else if to == folder.join("alerts.jsonl").to_str().unwrap() {
                    // Whoever is told is told of a notice, and of a verdict, that are there.
                    let (id, count) = (told(arguments, "id").unwrap(), written(result));
                    let there = disk.survives(&notice("pending", id), root);
                    assert_eq!(there, Some(count - 1), "told before it was noted: {id}");
                    if !id.ends_with("-early") {
                        let study = told(arguments, "study_uid").unwrap();
                        let verdict = disk.survives(&format!("{root}/studies/{study}/verdict.json"), root);
                        assert!(verdict.is_some_and(|bytes| bytes > 0), "told before the verdict is there");
                    }
                    telling.push((id.to_owned(), count - 1));
                } else {
                    if to == format!("{root}/audit.jsonl") && told(arguments, "event") == Some("told") {
                        // It is not told again.
                        let (id, bytes): &(String, usize) = telling.last().unwrap();
                        let done = disk.survives(&notice("done", id), root);
                        assert_eq!(
                            done,
                            Some(*bytes),
                            "noted as told, and told again after a power cut: {id}"
                        );
                        noted += 1;
                    }
                    let file = disk.file(to);
                    disk.files.entry(file).or_default().0 += written(result);
                }
            }
            "fsync" | "fdatasync" => {
                disk.sync(descriptor.unwrap_or_default());
            }
            _ => {}
        }
    }
    assert_eq!(acknowledged.len(), slices.len());
    assert_eq!((telling.len(), noted), (2, 2), "the early alert and the verdict");
}
