//! Command sets, and reports on what an archive keeps.

use hemapatch::dimse::{Command, Report, Status, request};

use crate::choices::Choices;

const STATUSES: [Status; 7] = [
    Status::Success,
    Status::SopClassNotSupported,
    Status::DuplicateInstance,
    Status::UnrecognizedOperation,
    Status::OutOfResources,
    Status::DataSetDoesNotMatchClass,
    Status::CannotUnderstand,
];

/// Any bytes are none, or a command whose answer is read back as the answer to it.
pub fn command(input: &[u8]) {
    let Some(command) = Command::read(input) else { return };
    for uid in [&command.sop_class_uid, &command.sop_instance_uid] {
        check_uid(uid);
    }
    let mut choices = Choices::new(input);
    let status = choices.of(&STATUSES);
    let comment = String::from_utf8_lossy(choices.rest());
    for comment in ["", &comment] {
        let answer = Command::read(&command.answer(status, comment)).expect("an answer is a command set");
        let expected = Command {
            field: command.field | hemapatch::dimse::field::RESPONSE,
            has_data_set: false,
            status: Some(status as u16),
            ..command.clone()
        };
        assert_eq!(answer, expected);
        assert!(answer.is_answer());
    }
}

/// Any bytes are none, or a report of UIDs that can be written again.
pub fn report(input: &[u8]) {
    let Some(report) = Report::read(input) else { return };
    assert!(!report.transaction_uid.is_empty());
    let uids = report.kept.iter().chain(report.failed.iter().map(|(uid, _)| uid));
    uids.chain([&report.transaction_uid]).for_each(|uid| check_uid(uid));
    // An item has a head of its own, and one of its element.
    assert!(report.kept.len() + report.failed.len() <= input.len() / 16);
    let objects: Vec<_> = report.kept.iter().map(|uid| ("1.2".to_owned(), uid.clone())).collect();
    let again =
        Report::read(&request(&report.transaction_uid, &objects)).expect("what was written is a report");
    assert_eq!(again, Report { failed: Vec::new(), ..report });
}

fn check_uid(uid: &str) {
    assert!(uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{uid:?}");
}
