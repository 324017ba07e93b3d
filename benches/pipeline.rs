//! Preprocessing of a 512x512 slice, step by step, and what each step costs beside the naive way.
//!
//! `cargo bench --bench pipeline`. The ratios that README quotes are printed first: both sides run in turns in this
//! process, so that a busy machine slows both.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use hemapatch::evidence::{Pooling, pool};
use hemapatch::hu::{Rescale, StoredLayout, to_hounsfield};
use hemapatch::patch::{Grid, Neighbourhood, PatchSize, Patches, Pyramid, View};
use hemapatch::phantom::{Phantom, Spec};
use hemapatch::prep::{Bone, Centering, Preparation, Scratch};
use hemapatch::window::Window;
use ndarray::Array2;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A middle slice of a synthetic head with its table and holder, off center.
static SLICE: LazyLock<Array2<i16>> = LazyLock::new(|| {
    let spec = Spec { off_center_mm: [9.0, -7.0], ..Spec::demo(1) };
    Phantom::new(&spec).expect("a valid spec").slice(14).hu
});

fn hounsfield() -> &'static [i16] {
    SLICE.as_slice().expect("planes are in standard layout")
}

fn gray() -> Array2<u8> {
    let mut gray = Array2::zeros(SLICE.dim());
    usual_window().apply(hounsfield(), gray.as_slice_mut().expect("planes are in standard layout"));
    gray
}

fn usual_window() -> Window {
    Window::new(0, 80).expect("a valid window")
}

/// Equation (1) as one would first write it.
fn naive_window(hu: &[i16], a: f32, b: f32, gray: &mut [u8]) {
    for (gray, &hu) in gray.iter_mut().zip(hu) {
        let hu = f32::from(hu);
        *gray = if hu < a {
            0
        } else if hu > b {
            255
        } else {
            (255.0 * (hu - a) / (b - a)).round() as u8
        };
    }
}

fn main() {
    println!("ratios, both sides in turns, median (10th to 90th percentile) of 101 turns");
    window_ratio();
    println!();
    divan::main();
}

fn window_ratio() {
    let window = usual_window();
    let (mut fast, mut naive) = (vec![0; hounsfield().len()], vec![0; hounsfield().len()]);
    // A benchmark is a test too: both sides must agree before they are compared.
    window.apply(hounsfield(), &mut fast);
    naive_window(hounsfield(), 0.0, 80.0, &mut naive);
    assert_eq!(fast, naive, "the two windows differ");
    ratio(
        "window: naive f32 loop / ours",
        || naive_window(black_box(hounsfield()), black_box(0.0), black_box(80.0), black_box(&mut naive)),
        || window.apply(black_box(hounsfield()), black_box(&mut fast)),
    );
}

fn ratio(name: &str, mut slow: impl FnMut(), mut fast: impl FnMut()) {
    let time = |work: &mut dyn FnMut()| -> Duration {
        let started = Instant::now();
        // Several passes, so that the clock's own step does not count.
        (0..8).for_each(|_| work());
        started.elapsed() / 8
    };
    let mut ratios = Vec::new();
    let (mut slow_us, mut fast_us) = (Vec::new(), Vec::new());
    for _ in 0..101 {
        let (slow, fast) = (time(&mut slow), time(&mut fast));
        slow_us.push(slow.as_secs_f64() * 1e6);
        fast_us.push(fast.as_secs_f64() * 1e6);
        ratios.push(slow.as_secs_f64() / fast.as_secs_f64());
    }
    let [ratio, slow, fast] = [&mut ratios, &mut slow_us, &mut fast_us].map(|values| {
        values.sort_by(f64::total_cmp);
        (values[50], values[10], values[90])
    });
    println!(
        "{name}: {:.1}x ({:.1} to {:.1}); {:.1} us against {:.1} us a slice",
        ratio.0, ratio.1, ratio.2, slow.0, fast.0
    );
}

#[divan::bench]
fn stored_values_to_hounsfield(bencher: Bencher) {
    let stored: Vec<[u8; 2]> = hounsfield().iter().map(|hu| (hu + 1024).to_le_bytes()).collect();
    let layout = StoredLayout::new(12, 11, false, None).expect("a valid layout");
    let rescale = Rescale::new(1.0, -1024.0).expect("a valid rescale");
    let mut hu = vec![0; stored.len()];
    bencher
        .counter(BytesCount::of_slice(&stored))
        .bench_local(|| to_hounsfield(black_box(&stored), &layout, rescale, black_box(&mut hu)));
}

#[divan::bench]
fn hounsfield_to_gray(bencher: Bencher) {
    let (window, mut gray) = (usual_window(), gray());
    let gray = gray.as_slice_mut().expect("planes are in standard layout");
    bencher
        .counter(BytesCount::of_slice(hounsfield()))
        .bench_local(|| window.apply(black_box(hounsfield()), black_box(gray)));
}

fn prepare(bencher: Bencher, steps: Preparation) {
    let (original, mut scratch) = (gray(), Scratch::default());
    bencher
        .with_inputs(|| original.clone())
        .counter(ItemsCount::new(1usize))
        .bench_local_refs(|gray| steps.prepare(black_box(gray), &mut scratch));
}

const KEEP: Preparation = Preparation { denoise: true, bone: Bone::Keep, center: Centering::Off };

#[divan::bench]
fn noise_removal(bencher: Bencher) {
    prepare(bencher, KEEP);
}

#[divan::bench]
fn noise_and_bone_removal(bencher: Bencher) {
    prepare(bencher, Preparation { bone: Bone::Remove, ..KEEP });
}

#[divan::bench]
fn noise_removal_and_shift(bencher: Bencher) {
    prepare(bencher, Preparation { center: Centering::Shift, ..KEEP });
}

#[divan::bench]
fn noise_removal_and_upright(bencher: Bencher) {
    prepare(bencher, Preparation { center: Centering::Upright, ..KEEP });
}

#[divan::bench]
fn half_and_quarter_size(bencher: Bencher) {
    let (gray, mut pyramid) = (gray(), Pyramid::empty(512, 512));
    bencher.bench_local(|| pyramid.fill(black_box(&gray)));
}

#[divan::bench(args = [1, 3, 5])]
fn cut_1024_patches(bencher: Bencher, views: usize) {
    let mut gray = gray();
    Preparation::default().prepare(&mut gray, &mut Scratch::default());
    let pyramid = Pyramid::of(&gray);
    let all = [(1, 0), (2, 0), (4, 0), (2, -1), (2, 1)];
    let views: Vec<View> =
        all[..views].iter().map(|&(scale, slice)| View::new(scale, slice).expect("a valid view")).collect();
    let mut patches = Patches::new(Grid::over(512, 512, PatchSize::SIXTEEN), &views);
    let around = Neighbourhood { before: Some(&pyramid), this: &pyramid, after: Some(&pyramid) };
    bencher.counter(ItemsCount::new(1024usize)).bench_local(|| patches.cut(black_box(around)));
}

#[divan::bench]
fn pool_the_evidence_of_28_slices(bencher: Bencher) {
    let probabilities =
        ndarray::Array3::from_shape_fn((28, 32, 32), |(z, y, x)| ((z * y + x) % 7) as f32 / 7.0);
    let pooling = Pooling { sigma_slices: 0.8, sigma_patches: 0.6 };
    bencher.bench_local(|| pool(black_box(&pooling), black_box(probabilities.view())));
}
