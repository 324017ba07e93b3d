//! Every level against the scalar one.
use super::*;
use std::sync::Arc;

#[test]
fn names_are_read_back_on_every_processor() {
    for level in Level::ALL {
        assert_eq!(Level::from_name(level.name()), Some(level));
    }
    assert_eq!(Level::from_name("mmx"), None);
}

#[test]
fn a_token_exists_only_for_what_is_available() {
    let available = Level::available();
    assert_eq!(available[0], Level::Scalar);
    assert_eq!(Kernels::best().level(), *available.last().unwrap());
    for level in Level::ALL {
        assert_eq!(Kernels::of(level).is_some(), available.contains(&level));
    }
}

#[test]
fn two_sources_and_a_shortcut_meet_in_one_sum() {
    let weights = Arc::new(Weights::pack(Kernels::best(), 2, 2, |channel, group| {
        [1, -1, 2, 0].map(|weight| weight * (1 + channel as i8) * if group == 0 { 1 } else { -3 })
    }));
    let runs = [
        Run { source: 0, offset: 4, weight: 1, groups: 1 },
        Run { source: 1, offset: 0, weight: 0, groups: 1 },
    ];
    let position = Position::new(&weights, &[1000, -5], &runs);
    let first = Source { levels: &[0, 0, 0, 0, 1, 2, 3, 4], stride: 8 };
    let second = Source { levels: &[10, 20, 30, 40], stride: 4 };
    let mut sums = [0; 2];
    position.sums(1, &[first, second], &mut sums, 2);
    // The first: (1 - 2 + 6) * -3 = -15; the second: 10 - 20 + 60 = 50; twice as much in channel 1.
    assert_eq!(sums, [1035, 65]);
    let shortcut = Shortcut { levels: &[255, 3], stride: 2, steps: &[2, 32767] };
    let mut levels = [0; 2];
    position.levels(1, &[first, second], Some(shortcut), &[0.1, 1e-3], &mut levels, 2);
    // 1035 + 510 = 1545 steps of 0.1; 65 + 98301 = 98366 steps of 0.001.
    assert_eq!(levels, [154, 98]);
}
