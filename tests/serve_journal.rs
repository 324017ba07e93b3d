//! The journal and the audit log name no patient and no UID, whatever happens to a study: also where objects or all of it are
//! refused, and somebody cannot be told.

mod service;

use service::program::{BLEED, phantom};
use service::{Service, Slice, configure, slices};

const PATIENT_NAME: [u8; 4] = [0x10, 0, 0x10, 0];
const PATIENT_ID: [u8; 4] = [0x10, 0, 0x20, 0];
const STUDY_UID: [u8; 4] = [0x20, 0, 0x0D, 0];
const SERIES_UID: [u8; 4] = [0x20, 0, 0x0E, 0];
const INSTANCE_UID: [u8; 4] = [0x08, 0, 0x18, 0];
const POSITION: [u8; 4] = [0x20, 0, 0x32, 0];

/// The bytes of a value, in explicit VR little endian.
fn value_of(slice: &mut Slice, tag: [u8; 4]) -> &mut [u8] {
    let at = slice.data_set.windows(4).position(|window| window == tag).unwrap();
    let length = u16::from_le_bytes([slice.data_set[at + 6], slice.data_set[at + 7]]);
    &mut slice.data_set[at + 8..][..usize::from(length)]
}

fn text_of(slice: &mut Slice, tag: [u8; 4]) -> String {
    let value = std::str::from_utf8(value_of(slice, tag)).unwrap();
    value.trim_end_matches(['\0', ' ']).to_owned()
}

#[test]
fn no_line_names_a_patient_or_a_uid() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    phantom(&folder.path().join("refused"), &["--seed", "4", "--trap", "no-intercept"]);
    // Nobody listens at that port.
    let more = "[study]\nsettled_s = 0\n[[alert]]\nname = 'ris'\nhl7 = { address = '127.0.0.1:1' }\n";
    let service = Service::start(&configure(folder.path(), more));
    let mut bleed = slices(&folder.path().join("bleed"));
    let mut refused = slices(&folder.path().join("refused"));
    let mut named = Vec::new();
    for slice in bleed.iter_mut().chain(&mut refused) {
        let tags = [PATIENT_NAME, PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID];
        named.extend(tags.map(|tag| text_of(slice, tag)));
    }

    let mut sender = service.associate().unwrap();
    for slice in &bleed[..8] {
        assert_eq!(sender.store(slice), Some(0));
    }
    service.wait_for("early_alert");
    // Objects that are refused, for each reason that there is: also for values that are none, but name somebody.
    let mut differs = bleed[0].clone();
    *differs.data_set.last_mut().unwrap() ^= 1;
    let announced = Slice { instance_uid: "1.2.826.0.1.987654".into(), ..bleed[8].clone() };
    let mut wrong_uid = bleed[8].clone();
    value_of(&mut wrong_uid, STUDY_UID)[10] = b'x';
    let mut wrong_number = bleed[8].clone();
    value_of(&mut wrong_number, POSITION)[..9].copy_from_slice(b"PHANTOM-1");
    let noise = Slice { data_set: vec![0xFF; 5000], ..bleed[8].clone() };
    named.extend([announced.instance_uid.clone(), text_of(&mut wrong_uid, STUDY_UID)]);
    for (slice, status) in
        [(differs, 0x0111), (announced, 0xA900), (wrong_uid, 0xC000), (wrong_number, 0xC000), (noise, 0xC000)]
    {
        assert_eq!(sender.store(&slice), Some(status));
        service.wait_for("not_stored");
    }
    assert_eq!(sender.store(&bleed[8]), Some(0));
    sender.release();
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    service.wait_for("not_told");
    service.send(&folder.path().join("refused"));
    while service.wait_for("verdict")["outcome"] != "refused" {}
    while service.wait_for("told")["notice"] != "1-refused" {}

    let journal = service.journal();
    let at = |event: &str| journal.iter().filter(|line| line["event"] == event).count();
    // From its first line on, and with all that happened.
    assert_eq!((at("started"), at("stored"), at("not_stored")), (1, 18, 5));
    let audit = std::fs::read_to_string(folder.path().join("spool/audit.jsonl")).unwrap();
    assert!(audit.contains("\"refused\"") && audit.contains("early_alert"), "{audit}");
    let lines = journal.iter().map(ToString::to_string).chain(audit.lines().map(str::to_owned));
    for line in lines {
        for name in &named {
            assert!(!name.is_empty() && !line.contains(name.as_str()), "{name} in {line}");
        }
    }
}
