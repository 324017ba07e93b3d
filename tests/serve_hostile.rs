//! Whatever peers do, the service lives, serves the next one, and holds no more memory, files or threads than before.
//!
//! `HEMAPATCH_HOSTILE` says how many peers there are (docs/security.md has a long run).

mod service;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use service::program::{BLEED, phantom};
use service::{Sender, Service, Slice, configure, slices};

/// How many peers are connected at once.
const AT_ONCE: usize = 8;
/// What memory may grow by between the first quarter and the end: of 10,000 peers, less than 1 KiB for each of the 7,500.
const ROOM_KIB: u64 = 6_000;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// A request for an association, as DCMTK writes it, but for what is left open.
fn request(called: &str) -> Vec<u8> {
    let title = |title: &str| format!("{title:<16}").into_bytes();
    let item = |kind: u8, value: &[u8]| [&[kind, 0], &(value.len() as u16).to_be_bytes()[..], value].concat();
    let context =
        [&[1, 0, 0, 0][..], &item(0x30, b"1.2.840.10008.5.1.4.1.1.2"), &item(0x40, b"1.2.840.10008.1.2.1")]
            .concat();
    let user = [item(0x51, &16384u32.to_be_bytes()), item(0x52, b"1.2.3")].concat();
    let body = [
        &[0, 1, 0, 0][..],
        &title(called),
        &title("CT1"),
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        &item(0x20, &context),
        &item(0x50, &user),
    ]
    .concat();
    unit(1, &body)
}

fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0], &(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A peer's misdeed. The connection may be answered, cut off or left alone: all that counts is what is left afterwards.
fn misbehave(service: &str, associate: &dyn Fn() -> Option<Sender>, slices: &[Slice], numbers: &mut Numbers) {
    let Ok(mut stream) = TcpStream::connect(service) else { return };
    let slice = &slices[numbers.below(slices.len())];
    let wrong = match numbers.below(12) {
        // Nothing at all, noise, a unit of a kind that there is not, one that claims four gigabytes.
        0 => Vec::new(),
        1 => numbers.bytes(3000),
        2 => unit(numbers.below(256) as u8, &numbers.bytes(200)),
        3 => [&[1, 0], &u32::MAX.to_be_bytes()[..], &numbers.bytes(100)].concat(),
        // A request that is cut off, to somebody else, with a bit the other way round.
        4 => {
            let request = request("HEMAPATCH");
            request[..numbers.below(request.len())].to_vec()
        }
        5 => request("SOMEBODY"),
        6 => {
            let mut request = request("HEMAPATCH");
            let index = numbers.below(request.len());
            request[index] ^= 1 << numbers.below(8);
            request
        }
        // Let in, then noise, a command that is none, a data set without a command, a value that is longer than its unit.
        7 => [request("HEMAPATCH"), numbers.bytes(3000)].concat(),
        8 => {
            let command = numbers.bytes(300);
            let value = [&(command.len() as u32 + 2).to_be_bytes()[..], &[1, 3], &command].concat();
            [request("HEMAPATCH"), unit(4, &value)].concat()
        }
        9 => {
            let control = numbers.below(4) as u8;
            let length = numbers.below(1 << 20) as u32;
            let value = [&length.to_be_bytes()[..], &[1, control], &numbers.bytes(500)].concat();
            [request("HEMAPATCH"), unit(4, &value)].concat()
        }
        // Gone within an object.
        10 => {
            if let Some(mut sender) = associate() {
                sender.begin(slice);
            }
            return;
        }
        // Objects with bytes changed, most in the header.
        _ => {
            let mut broken = slice.clone();
            for _ in 0..=numbers.below(6) {
                let part = [2000, broken.data_set.len()][numbers.below(2)];
                let index = numbers.below(part);
                broken.data_set[index] = numbers.below(256) as u8;
            }
            if numbers.below(4) == 0 {
                broken.data_set.truncate(numbers.below(broken.data_set.len()));
            }
            if let Some(mut sender) = associate() {
                let _ = sender.store(&broken);
            }
            return;
        }
    };
    // Whether all of it is taken, and what comes back, changes nothing.
    let _ = stream.write_all(&wrong);
    if numbers.below(2) == 0 {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// Memory in KiB, open files and threads.
fn held(service: &Service) -> (u64, usize, usize) {
    let status = fs::read_to_string(service.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let count = |name: &str| fs::read_dir(service.proc(name)).unwrap().count();
    (line.trim().trim_end_matches(" kB").parse().unwrap(), count("fd"), count("task"))
}

/// The same, once nobody is connected any more and nothing is judged.
fn held_at_rest(service: &Service, rest: (usize, usize)) -> (u64, usize, usize) {
    let since = std::time::Instant::now();
    loop {
        let now = held(service);
        if (now.1, now.2) <= rest || since.elapsed().as_secs() > 100 {
            return now;
        }
        // An association of our own takes a moment, and shows that it lives.
        service.associate().expect("it serves").release();
    }
}

#[test]
fn ten_thousand_hostile_peers_leave_nothing_behind() {
    let peers: usize =
        std::env::var("HEMAPATCH_HOSTILE").ok().and_then(|peers| peers.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let config = configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 1\n");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[receive]\n", "[receive]\nassociations_per_second = 1000000\n"))
        .unwrap();
    let service = Service::start(&config);
    let slices = slices(&folder.path().join("bleed"));
    let (_, files, threads) = held(&service);
    let address = service.address.clone();
    let quarter = |number: usize| {
        std::thread::scope(|scope| {
            for thread in 0..AT_ONCE {
                let (address, slices) = (&address, &slices);
                scope.spawn(move || {
                    let mut numbers = Numbers((number * AT_ONCE + thread) as u64);
                    for _ in 0..peers / 4 / AT_ONCE {
                        misbehave(address, &|| service::associate(address), slices, &mut numbers);
                    }
                });
            }
        });
    };
    quarter(0);
    let (first_kib, ..) = held_at_rest(&service, (files, threads));
    (1..4).for_each(quarter);
    let (last_kib, last_files, last_threads) = held_at_rest(&service, (files, threads));
    eprintln!("{peers} peers: {first_kib} KiB after a quarter of them, {last_kib} KiB at the end");
    assert!(last_kib < first_kib + ROOM_KIB, "memory grew from {first_kib} to {last_kib} KiB");
    assert_eq!((last_files, last_threads), (files, threads), "files and threads");
    // It serves whoever behaves. What was kept of the others' objects is another study or the same bytes.
    let mut sender = service.associate().unwrap();
    for slice in &slices {
        let fresh = Slice { data_set: of_another_study(&slice.data_set), ..slice.clone() };
        assert_eq!(fresh.data_set.len(), slice.data_set.len());
        let status = sender.store(&fresh);
        assert!(matches!(status, Some(0 | 0x0111)), "{status:x?}");
    }
    sender.release();
    assert_eq!(fs::read_dir(folder.path().join("spool/incoming")).unwrap().count(), 0);
    assert!(Path::new("/proc").join(service.id().to_string()).exists());
}

/// A data set of another study: the last digit of its UID is another one.
fn of_another_study(data_set: &[u8]) -> Vec<u8> {
    let mut data_set = data_set.to_vec();
    let at = data_set.windows(6).position(|window| window == b"\x20\0\x0D\0UI").unwrap();
    let length = usize::from(u16::from_le_bytes([data_set[at + 6], data_set[at + 7]]));
    let digit =
        data_set[at + 8..at + 8 + length].iter_mut().rev().find(|byte| byte.is_ascii_digit()).unwrap();
    *digit = if *digit == b'1' { b'2' } else { b'1' };
    data_set
}
