//! The way of a slice up to the network and behind it, pinned to the byte for every processor.
use crate::evidence::{Calibration, Pooling, pool, strongest};
use crate::model::sha256_hex;
use crate::patch::{Grid, Neighbourhood, PatchSize, Patches, Pyramid, View};
use crate::phantom::{Phantom, Spec};
use crate::prep::{Bone, Centering, Preparation, Scratch};
use crate::window::Window;
use ndarray::{Array2, Array3, Axis};

/// The first 16 digits tell two results apart as well as all of them.
fn digest(bytes: &[u8]) -> String {
    sha256_hex(bytes)[..16].to_owned()
}

#[test]
fn every_processor_prepares_the_same_slices_and_pools_the_same_evidence() {
    let spec = Spec {
        slices: 3,
        rows_columns: 128,
        pixel_mm: 1.8,
        spacing_mm: 8.0,
        rotation_deg: 6.0,
        off_center_mm: [9.0, -5.0],
        ..Spec::demo(1)
    };
    let phantom = Phantom::new(&spec).unwrap();
    let window = Window::new(0, 80).unwrap();
    let grays: Vec<Array2<u8>> = (0..spec.slices)
        .map(|index| {
            let hu = phantom.slice(index).hu;
            let mut gray = Array2::zeros(hu.dim());
            window.apply(hu.as_slice().unwrap(), gray.as_slice_mut().unwrap());
            gray
        })
        .collect();
    let bytes = |grays: &[Array2<u8>]| grays.iter().flatten().copied().collect::<Vec<u8>>();
    let mut found = vec![("window", digest(&bytes(&grays)))];

    let mut scratch = Scratch::default();
    let mut prepared = |bone, center| -> Vec<Array2<u8>> {
        let steps = Preparation { denoise: true, bone, center };
        let mut grays = grays.clone();
        grays.iter_mut().for_each(|gray| {
            steps.prepare(gray, &mut scratch);
        });
        grays
    };
    found.push(("bone removed, upright", digest(&bytes(&prepared(Bone::Remove, Centering::Upright)))));
    let shifted = prepared(Bone::Keep, Centering::Shift);
    found.push(("centered", digest(&bytes(&shifted))));

    let views = [(1, 0), (2, 0), (4, 0), (1, -1), (1, 1)].map(|(scale, at)| View::new(scale, at).unwrap());
    let pyramids: Vec<Pyramid> = shifted.iter().map(Pyramid::of).collect();
    let mut patches = Patches::new(Grid::over(128, 128, PatchSize::SIXTEEN), &views);
    let (mut cut, mut probabilities) = (Vec::new(), Vec::new());
    for (at, this) in pyramids.iter().enumerate() {
        let before = at.checked_sub(1).map(|below| &pyramids[below]);
        patches.cut(Neighbourhood { before, this, after: pyramids.get(at + 1) });
        cut.extend_from_slice(patches.unique());
        cut.extend(patches.places().iter().flat_map(|place| place.to_le_bytes()));
        // In a network's stead: the share of a patch's pixels that are as bright as blood.
        probabilities.extend(patches.places().iter().map(|&place| {
            let patch = &patches.unique()[place as usize * patches.length()..][..256];
            patch.iter().filter(|&&level| (150..250).contains(&level)).count() as f32 / 256.0
        }));
    }
    found.push(("patches", digest(&cut)));

    let probabilities = Array3::from_shape_vec((3, 8, 8), probabilities).unwrap();
    let pooled = pool(&Pooling { sigma_slices: 0.8, sigma_patches: 0.6 }, probabilities.view());
    let calibration = Calibration { intercept: -0.7, slope: 1.3 };
    let studies = pooled.axis_iter(Axis(0)).map(|slice| calibration.probability(strongest(slice)));
    let numbers: Vec<u8> = pooled.iter().copied().chain(studies).flat_map(f32::to_le_bytes).collect();
    found.push(("evidence", digest(&numbers)));

    let expected = [
        ("window", "8b394c615d2b1d43"),
        ("bone removed, upright", "48c1ad8e7e686474"),
        ("centered", "aafd0e9a32bf23df"),
        ("patches", "54f8106dd58fc4bf"),
        ("evidence", "7cc003bfb1b9b476"),
    ];
    assert_eq!(found, expected.map(|(step, digest)| (step, digest.to_owned())));
}
