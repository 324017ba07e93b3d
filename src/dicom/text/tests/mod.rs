//! The promises of `text`, by where they come from.

mod field;
mod properties;
mod standard;

use super::{CharacterSet, Decoded, Kind};

/// `set` as it stands in a file, its values divided by backslashes.
fn decoded(set: &str, bytes: &[u8], kind: Kind) -> Decoded {
    let values: Vec<&str> = set.split('\\').collect();
    CharacterSet::of(&values).0.decode(bytes, kind)
}

fn values(set: &str, bytes: &[u8], kind: Kind) -> Vec<String> {
    decoded(set, bytes, kind).values
}

/// The one value, which must need no remark.
#[track_caller]
fn clean(set: &str, bytes: &[u8], kind: Kind) -> String {
    let Decoded { values, remarks } = decoded(set, bytes, kind);
    assert_eq!(remarks, Default::default());
    let [value] = values.try_into().unwrap();
    value
}
