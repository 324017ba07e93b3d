//! What a peer says in an association: nearly right, so that the fuzzer reaches what lies behind the first checks.

use std::sync::LazyLock;

use hemapatch::dimse::{self, field};

use crate::choices::Choices;
use crate::objects::{self, CT, DataSet, ENHANCED_CT, Place, SYNTAXES};

/// The calling title of whoever may send.
pub const CALLING: &str = "CT1";
/// Bytes of the longest unit that is agreed on.
pub const UNIT_BYTES: u32 = 8192;

const ECHO: &str = "1.2.840.10008.1.1";
const ECHO_CONTEXT: u8 = 1;
const REPORT_CONTEXT: u8 = 3;
const FIRST_STORE_CONTEXT: u8 = 5;

/// A request for an association with a context for each class and transfer syntax.
static REQUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let implicit = "1.2.840.10008.1.2";
    let mut items = item(0x10, dimse::APPLICATION_CONTEXT.as_bytes());
    items.extend(context(ECHO_CONTEXT, ECHO, implicit));
    items.extend(context(REPORT_CONTEXT, dimse::COMMITMENT.0, implicit));
    for class in [CT, ENHANCED_CT] {
        for (syntax, ..) in SYNTAXES {
            items.extend(context(store_context(class, syntax), class, syntax));
        }
    }
    let role = [&[0, 20][..], dimse::COMMITMENT.0.as_bytes(), &[0, 1]].concat();
    let user = [item(0x51, &[0, 0, 0x40, 0]), item(0x52, b"1.2.3"), item(0x54, &role)].concat();
    items.extend(item(0x50, &user));
    let titles = format!("{:16}{CALLING:16}", "HEMAPATCH");
    unit(1, &[&[0, 1, 0, 0][..], titles.as_bytes(), &[0; 32], &items].concat())
});

fn item(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn context(id: u8, class: &str, syntax: &str) -> Vec<u8> {
    let names = [item(0x30, class.as_bytes()), item(0x40, syntax.as_bytes())].concat();
    item(0x20, &[&[id, 0, 0, 0][..], &names].concat())
}

fn store_context(class: &str, syntax: &str) -> u8 {
    let at = SYNTAXES.iter().position(|(other, ..)| *other == syntax).unwrap_or_default() as u8;
    let classes = if class == ENHANCED_CT { SYNTAXES.len() as u8 } else { 0 };
    FIRST_STORE_CONTEXT + 2 * (classes + at)
}

fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

fn value(context: u8, control: u8, part: &[u8]) -> Vec<u8> {
    [&(part.len() as u32 + 2).to_be_bytes()[..], &[context, control], part].concat()
}

/// A command set; its number is always the same.
fn command(field: u16, has_data_set: bool, class: &str, instance: &str) -> Vec<u8> {
    let element = |number: u16, value: &[u8]| {
        let mut value = value.to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        [&[0, 0][..], &number.to_le_bytes(), &(value.len() as u32).to_le_bytes(), &value].concat()
    };
    let data_set = if has_data_set { 0u16 } else { 0x0101 };
    [
        element(0x0002, class.as_bytes()),
        element(0x0100, &field.to_le_bytes()),
        element(0x0110, &7u16.to_le_bytes()),
        element(0x0800, &data_set.to_le_bytes()),
        element(0x1000, instance.as_bytes()),
    ]
    .concat()
}

/// All that a peer says, as the choices say.
pub fn conversation(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut said = REQUEST.clone();
    spoil(&mut said, choices);
    for _ in 0..=choices.below(6) {
        let start = said.len();
        step(&mut said, choices);
        spoil(&mut said[start..], choices);
    }
    said
}

fn spoil(bytes: &mut [u8], choices: &mut Choices<'_>) {
    if choices.rarely() && !bytes.is_empty() {
        let at = usize::from(choices.number()) % bytes.len();
        bytes[at] = choices.byte();
    }
}

fn step(said: &mut Vec<u8>, choices: &mut Choices<'_>) {
    match choices.below(12) {
        8 => {
            said.extend(unit(4, &value(ECHO_CONTEXT, 3, &command(field::C_ECHO_RQ, false, ECHO, ""))));
        }
        9 => {
            // A question and a report are written alike: what is asked for is what is kept.
            let objects = vec![(CT.to_owned(), "1.2.3.1".to_owned()); choices.below(4)];
            let (class, instance) = dimse::COMMITMENT;
            let command = command(field::N_EVENT_REPORT_RQ, true, class, instance);
            message(said, choices, REPORT_CONTEXT, &command, &dimse::request("1.2.9", &objects));
        }
        10 => {
            let (kind, count) = (choices.below(9) as u8, choices.below(64));
            said.extend(unit(kind, choices.bytes(count)));
        }
        11 => {
            let (context, control, count) = (choices.byte(), choices.byte(), choices.below(64));
            said.extend(unit(4, &value(context, control, choices.bytes(count))));
        }
        _ => {
            let place = Place {
                study: choices.byte() % 8 / 6,
                series: 0,
                instance: choices.below(3) as u8,
                z: 5 * i16::from(choices.byte() % 4),
            };
            let DataSet { syntax, class, bytes } = objects::data_set(choices, place);
            let said_instance = if choices.rarely() { choices.byte() } else { place.instance };
            let command = command(field::C_STORE_RQ, true, class, &format!("1.2.3.{said_instance}"));
            message(said, choices, store_context(class, syntax), &command, &bytes);
        }
    }
}

/// A command and its data set, in parts, in units of one value or of many.
fn message(said: &mut Vec<u8>, choices: &mut Choices<'_>, context: u8, command: &[u8], data_set: &[u8]) {
    let command_bytes = if choices.rarely() { 1 + choices.below(40) } else { command.len() };
    let part_bytes = choices.of(&[4096, 4096, 4096, 512, 100]);
    let mut values = Vec::new();
    for (kind, bytes, most) in [(1, command, command_bytes), (0, data_set, part_bytes)] {
        let mut parts = bytes.chunks(most).peekable();
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() && !choices.rarely() { 2 } else { 0 };
            values.push(value(context, kind | last, part));
        }
    }
    if choices.rarely() {
        said.extend(unit(4, &values.concat()));
    } else {
        values.iter().for_each(|value| said.extend(unit(4, value)));
    }
}
