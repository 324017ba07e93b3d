//! The first files of the corpora: what this project writes, in small.

use std::fs;
use std::io;
use std::path::Path;

use hemapatch::dimse::{self, Command, Status};

use crate::choices::Choices;
use crate::conversation::conversation;
use crate::encoders;

/// What peers, archives and whoever writes configurations say.
fn service(put: &dyn Fn(&str, &str, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let (class, instance) = (crate::objects::CT, "1.2.3");
    let (store, commit) = (dimse::store(7, class, instance), dimse::commit(9));
    put("command", "store", &store)?;
    put("command", "commit", &commit)?;
    for (name, request) in [("store", &store), ("commit", &commit)] {
        if let Some(command) = Command::read(request) {
            put("command", &format!("{name}-answer"), &command.answer(Status::OutOfResources, "no room"))?;
        }
    }
    for count in [0, 1, 3] {
        let objects = vec![(class.to_owned(), instance.to_owned()); count];
        put("report", &format!("kept-{count}"), &dimse::request("2.25.7", &objects))?;
    }
    // PS3.5 7.5.2: a sequence of what failed, with items of undefined length.
    let failed =
        b"\x08\0\x95\x11\x06\0\0\x002.25.7\x08\0\x98\x11\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\
        \x08\0\x55\x11\x06\0\0\x001.2.3\0\x08\0\x97\x11\x02\0\0\0\x12\x01\
        \xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0";
    put("report", "failed", failed)?;
    // Choices: how it is said, how it ends, how many steps, and the first of them.
    for step in 0..12u8 {
        put("association", &format!("step-{step}"), &[0, 0, 0, 0, step])?;
    }
    for syntax in 0..18u8 {
        put("association", &format!("syntax-{syntax}"), &[0, 0, 0, 0, 0, 0, 1, 0, syntax, 4, 4])?;
    }
    for (name, choices) in [("usual", &[][..]), ("two", &[0, 4, 1]), ("deaf", &[0, 0xF1]), ("late", &[0, 2])]
    {
        put("association", name, choices)?;
        let said = conversation(&mut Choices::new(&choices[choices.len().min(2)..]));
        put("association", &format!("bytes-{name}"), &[&[3, 0][..], &said].concat())?;
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/hemapatch.toml");
    put("config", "package", &fs::read(package)?)?;
    put("config", "all", CONFIGURATION.as_bytes())?;
    put("config", "small", b"[spool]\nfolder = '/s'\n")?;
    for method in ["GET /healthz", "HEAD /healthz?x=1", "POST /metrics", "GET /KEY"] {
        let name = method.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        for first in [0, 7 << 3, 6, 7] {
            let head = format!("{method} HTTP/1.1\r\nHost: a\r\n\r\n");
            put("page", &format!("{name}-{first}"), &[&[first][..], head.as_bytes()].concat())?;
        }
    }
    for code in ["AA", "AE"] {
        let answer = format!("\x0bMSH|^~\\&|RIS||HEMAPATCH||2024||ACK|1|P|2.5.1\rMSA|{code}|7\r\x1c\r");
        put("hl7", code, &[&[3][..], answer.as_bytes()].concat())?;
    }
    Ok(())
}

/// Whatever can be set, but for what names files that are read.
const CONFIGURATION: &str = "\
[spool]
folder = '/s'
keep_free_mb = 1
[receive]
listen = '[::1]:1'
ae_title = 'A'
associations = 1
associations_per_second = 1
object_mb = 1
idle_s = 1
[[receive.peer]]
ae_title = 'B'
address = '10.0.0.0/8'
[watch]
folder = '/w'
settle_s = 1
[web]
listen = '127.0.0.1:1'
[study]
model = 'm'
threads = 1
memory_mb = 1
seconds = 1
settled_s = 0.5
quiet_s = 1e1
[retention]
days = 1
[[alert]]
name = 'a'
on = ['early', 'alert', 'no_alert', 'refused']
command = ['/c']
[[alert]]
name = 'b'
webhook = { url = 'http://a/', secret_file = '/f' }
[[alert]]
name = 'c'
hl7 = { address = 'a:1', sending_application = 'A' }
[[alert]]
name = 'd'
desktop = true
[[alert]]
name = 'e'
log = '/l'
[[deliver]]
name = 'a'
on = ['alert']
dicom = { address = '[::1]:1', ae_title = 'A', calling = 'B', commit = false }
[[deliver]]
name = 'b'
stow = { url = 'http://a/b', authorization_file = '/f' }
";

/// Writes the seeds of every target below a folder, a folder each.
///
/// # Errors
/// The disk.
pub fn write(corpora: &Path) -> io::Result<()> {
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpora.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    // The targets that choose: a few runs of bytes that choose otherwise than 0 everywhere.
    for target in ["object_structured", "series"] {
        put(target, "usual", &[0])?;
        for syntax in 0..18u8 {
            put(
                target,
                &format!("syntax-{syntax}"),
                &[&[syntax, 4, 4][..], &[0; 40], &[syntax; 60]].concat(),
            )?;
            put(target, &format!("frames-{syntax}"), &[syntax, 3, 3, 5, 0, 1, 2, 3, 4, 5, 6, 0, 1])?;
        }
    }
    for syntax in 0..9u8 {
        for frames in [0, 3] {
            // Rows, columns, frames, bits, sign, rescale, values.
            let choices = [syntax, 4, 6, frames, frames, syntax % 5, frames, 0, 0xFC, 61];
            put("honest", &format!("syntax-{syntax}-{frames}"), &choices)?;
        }
    }
    for syntax in 0..18u8 {
        let choices = [syntax, 4, 4, syntax % 7];
        let object = crate::objects::object(&mut crate::choices::Choices::new(&choices), Default::default());
        put("object", &format!("syntax-{syntax}"), &object)?;
        if syntax < 2 {
            put("deflate", &format!("data-set-{syntax}"), &[&[0][..], &object[300..]].concat())?;
            put(
                "deflate",
                &format!("stream-{syntax}"),
                &[&[1][..], &encoders::deflate(&object[300..])].concat(),
            )?;
        }
    }
    let values: Vec<u16> = (0..64).map(|at| at * 61 % 4096).collect();
    // Rows and columns as the targets read them.
    let frame = |stream: Vec<u8>| [&[7, 7][..], &stream].concat();
    for cell in [1u8, 2] {
        let stream = encoders::rle(&values, usize::from(cell));
        put("rle", &format!("cells-{cell}"), &[&[cell - 1][..], &frame(stream)].concat())?;
    }
    for predictor in 1..8 {
        put(
            "jpeg",
            &format!("lossless-{predictor}"),
            &frame(encoders::jpeg_lossless(8, 12, predictor, &values)),
        )?;
    }
    let blocks = encoders::flat_block(8, 8, 12, 100);
    put("jpeg", "sequential", &frame(encoders::jpeg::sequential(&blocks)))?;
    put(
        "jpeg",
        "progressive",
        &frame(encoders::jpeg::progressive(&blocks, &[(0, 0, 0, 1), (1, 63, 0, 0), (0, 0, 1, 0)])),
    )?;
    put("jpegls", "lossless", &frame(encoders::jpegls(8, 8, 12, &values)))?;
    put("jpegls", "near", &frame(encoders::jpegls_near(8, 8, 12, &values, 2, 0)))?;
    put("jpegls", "restarts", &frame(encoders::jpegls_near(8, 8, 12, &values, 0, 2)))?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/jpeg2000");
    for entry in fs::read_dir(fixtures)? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // T.800 A.5.1, the size segment, which comes first: the image's end and beginning.
        let size = |at: usize| {
            bytes.get(at..at + 4).map_or(0, |n| u32::from_be_bytes(n.try_into().unwrap_or_default()))
        };
        let (columns, rows) = (size(8).wrapping_sub(size(16)), size(12).wrapping_sub(size(20)));
        if bytes.starts_with(&[0xFF, 0x4F]) && (1..=64).contains(&columns) && (1..=64).contains(&rows) {
            put("jpeg2000", &name, &[&[rows as u8 - 1, columns as u8 - 1][..], &bytes].concat())?;
        }
    }
    for (name, text) in [
        ("kanji", &b"\x02\x00\x09\x00Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"[..]),
        ("hangul", b"\x02\x00\x0b\x00Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
        ("utf8", "\x01\x04\x00Wang^XiaoDong=\u{738b}^\u{5c0f}\u{6771}".as_bytes()),
        ("gb18030", b"\x01\x05\x03\xcd\xf5^\xd0\xa1\xb6\xab\\\x1b[31m"),
    ] {
        put("text", name, text)?;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/ich16/model.toml");
    put("manifest", "ich16", &fs::read(manifest)?)?;
    for members in 1..4u8 {
        let archive = crate::targets::series::archive(&mut crate::choices::Choices::new(&[members, 1, 0]));
        // The target has the first four bytes.
        put("zip", &format!("members-{members}"), &archive[4..])?;
    }
    service(&put)?;
    put("zip", "empty", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
}
