//! Traps of head CT, each drawn by `hemapatch phantom --trap`, end as docs/series-traps.md says: with their warning and
//! the verdict of the plain study, or refused with their code; never with a score of what is no head.

mod program;

use hemapatch::engine::EngineOptions;
use hemapatch::label::Class;
use hemapatch::limits::Limits;
use hemapatch::model::Model;
use hemapatch::patch::Grid;
use hemapatch::phantom::{Hematoma, Side, Site, Spec, Trap, write_series, write_trap};
use hemapatch::series::{Series, assemble, choose, find};
use hemapatch::study::{JudgedSlice, Observer, Outcome, Report, Triage};
use program::{files, run};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;
use tempfile::tempdir;

/// How a trap ends, the codes of its warnings beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Judged as the same head without the trap, patch for patch.
    AsPlain(&'static [&'static str]),
    /// Judged from other pixels than the plain head has.
    Judged(&'static [&'static str]),
    /// Refused with the code.
    Refused(&'static str),
    /// Headers and choice alone are looked at: the trap is the number of slices.
    Chosen,
}

use End::{AsPlain, Chosen, Judged, Refused};

/// Pixels of 0.9 mm, which most traps are drawn with, are larger than the model was made for; that warning is listed
/// only where the trap is the size.
const SIZE: &str = "pixel_spacing";

macro_rules! table {
    ($($test:ident $trap:ident $end:expr,)*) => {
        const TABLE: &[(Trap, End)] = &[$((Trap::$trap, $end),)*];

        $(#[test]
        fn $test() {
            ends(Trap::$trap, $end);
        })*
    };
}

table! {
    the_soft_tissue_series_is_read BoneAndSoft AsPlain(&[]),
    the_thick_series_is_read ThinAndThick AsPlain(&[]),
    a_bone_series_alone_is_told BoneOnly Judged(&["sharp_kernel"]),
    contrast_by_its_tag_is_told ContrastTagged Judged(&["contrast_agent"]),
    contrast_by_its_pixels_is_suspected ContrastUntagged Judged(&["contrast_suspected"]),
    the_acquisition_before_contrast_is_read TwoAcquisitions AsPlain(&["split_series"]),
    each_place_counts_once DuplicatePlaces AsPlain(&["duplicate_positions", "left_out"]),
    each_file_counts_once Copies AsPlain(&["left_out"]),
    a_gap_is_told MissingSlices Judged(&["missing_slices"]),
    a_prone_head_is_turned Prone Judged(&["reoriented"]),
    a_head_on_its_left_side_is_turned DecubitusLeft Judged(&["reoriented"]),
    a_head_on_its_right_side_is_turned DecubitusRight Judged(&["reoriented"]),
    a_mirrored_head_is_mirrored_back FeetFirst AsPlain(&["reoriented"]),
    numbers_are_no_order ReversedNumbers AsPlain(&[]),
    a_localizer_is_left_out Localizer AsPlain(&["left_out"]),
    pixels_need_not_be_square NonSquarePixels Judged(&[SIZE]),
    slices_of_256_pixels_are_read Matrix256 AsPlain(&[SIZE]),
    slices_of_768_pixels_are_read Matrix768 Judged(&[SIZE]),
    slices_of_1024_pixels_are_read Matrix1024 Judged(&[SIZE]),
    a_tilt_is_told Tilt Judged(&["gantry_tilt"]),
    a_thousand_slices_are_one_series ThousandSlices Chosen,
    each_slice_has_its_own_rescale VaryingIntercept AsPlain(&[]),
    gray_levels_are_refused Windowed Refused("not_hounsfield"),
    a_lost_rescale_is_refused NoIntercept Refused("not_hounsfield"),
    atomic_numbers_are_refused EffectiveNumber Refused("not_hounsfield"),
    an_iodine_map_is_refused IodineMap Refused("not_hounsfield"),
    water_is_refused Water Refused("no_head"),
    a_chest_is_refused Chest Refused("not_head"),
    an_empty_table_is_refused EmptyAir Refused("no_head"),
}

/// 30 mL on the patient's left, or nothing.
fn head(trap: Trap, bleeds: bool) -> Spec {
    let hematoma = Hematoma { site: Site::Putamen, side: Side::Left, volume_ml: 30.0, markers: Vec::new() };
    // Two people, so that no verdict hangs on one anatomy.
    Spec { seed: 2 - u64::from(bleeds), hematoma: bleeds.then_some(hematoma), ..trap.spec() }
}

/// Hematoma patches in the left and in the right half of the picture.
#[derive(Default)]
struct Sides {
    grid: Option<Grid>,
    halves: [u32; 2],
}

impl Observer for Sides {
    fn begin(&mut self, _series: &Series, grid: Grid) {
        self.grid = Some(grid);
    }

    fn slice(&mut self, slice: JudgedSlice<'_>) {
        let columns = self.grid.expect("a series began").columns;
        for (place, class) in slice.classes.iter().enumerate() {
            if *class == Some(Class::Hematoma) {
                self.halves[usize::from(2 * (place % columns) + 1 > columns)] += 1;
            }
        }
    }
}

/// The report on the study in a folder.
fn judge(folder: &Path) -> (Report, Sides) {
    let limits = Limits::default();
    let assembly = assemble(find(&[folder.to_owned()], &limits), &limits);
    assert_eq!(assembly.studies.len(), 1);
    let model = Model::open(Path::new("models/ich16")).unwrap();
    let mut triage = Triage::new(model, None, EngineOptions::default(), NonZeroUsize::MIN, limits).unwrap();
    let mut sides = Sides::default();
    let report = triage.judge(&assembly.studies[0], Instant::now(), &mut sides);
    (report, sides)
}

/// What must be the same of a head with and without a trap.
type Verdict = (Outcome, u32, Vec<(f32, [u32; Class::COUNT])>);

/// Of the head without any trap, drawn once for all tests.
fn plain(bleeds: bool) -> &'static Verdict {
    static PLAIN: [OnceLock<Verdict>; 2] = [OnceLock::new(), OnceLock::new()];
    PLAIN[usize::from(bleeds)].get_or_init(|| {
        let folder = tempdir().unwrap();
        write_series(&head(Trap::Copies, bleeds), folder.path(), &mut |_, _| {}).unwrap();
        verdict(&judge(folder.path()).0)
    })
}

fn verdict(report: &Report) -> Verdict {
    let slices = report.slices.iter().map(|slice| (slice.score, slice.counts)).collect();
    (report.outcome.clone(), report.hematoma_patches, slices)
}

fn ends(trap: Trap, end: End) {
    if end == Chosen {
        return chosen(trap);
    }
    for bleeds in [true, false] {
        let folder = tempdir().unwrap();
        let spec = head(trap, bleeds);
        write_trap(trap, &spec, folder.path(), &mut |_, _| {}).unwrap();
        let (report, sides) = judge(folder.path());
        let about_size = matches!(end, AsPlain([SIZE]) | Judged([SIZE]));
        let mut codes: Vec<&str> = report.warnings.iter().map(|warning| warning.code).collect();
        codes.retain(|&code| about_size || code != SIZE);
        codes.sort_unstable();
        match end {
            Refused(code) => {
                let Outcome::Refused(refusal) = &report.outcome else {
                    panic!("a score of {}: {:?}", trap.as_str(), report.outcome)
                };
                assert_eq!(refusal.code.as_str(), code, "{}", refusal.detail);
                continue;
            }
            AsPlain(expected) | Judged(expected) => assert_eq!(codes, expected),
            Chosen => unreachable!(),
        }
        if bleeds {
            assert!(matches!(report.outcome, Outcome::Alert { .. }), "{:?}", report.outcome);
            // Left is left: at higher columns of the picture.
            let [right, left] = sides.halves;
            assert!(left > 10 && right * 10 <= left, "{right} patches on the right, {left} on the left");
            // The putamen lies around 4 mm, and a hematoma of 30 mL reaches 20 mm up and down.
            let of_hematoma = Class::Hematoma.index();
            for slice in report.slices.iter().filter(|slice| slice.counts[of_hematoma] > 1) {
                assert!((-26.0..34.0).contains(&slice.z_mm), "{}", slice.z_mm);
            }
            // What is counted reads low, and is of the right size in every matrix.
            let volume_ml = report.hematoma_volume_ml.unwrap();
            assert!((15.0..36.0).contains(&volume_ml), "{volume_ml} mL of 30");
            if trap == Trap::NonSquarePixels {
                let patch_ml = 16.0 * 0.5 * 16.0 * 0.7 * 5.0 / 1000.0;
                assert!((volume_ml - f64::from(report.hematoma_patches) * patch_ml).abs() < 1e-6);
                assert_eq!(sides.grid.map(|grid| (grid.rows, grid.columns)), Some((29, 21)));
            }
        } else {
            assert!(matches!(report.outcome, Outcome::NoAlert { .. }), "{:?}", report.outcome);
        }
        if let AsPlain(_) = end {
            assert_eq!(spec, head(Trap::Copies, bleeds), "the head that `plain` draws");
            assert_eq!(&verdict(&report), plain(bleeds));
        }
    }
}

#[test]
fn every_trap_is_in_the_table_and_on_the_page() {
    let in_table: Vec<Trap> = TABLE.iter().map(|(trap, _)| *trap).collect();
    assert_eq!(in_table, Trap::ALL);
    let page = std::fs::read_to_string("docs/series-traps.md").unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| line.trim_end_matches(" |").split(" | ").collect())
        .collect();
    assert_eq!(rows.len(), TABLE.len(), "rows of docs/series-traps.md");
    for ((trap, end), row) in TABLE.iter().zip(rows) {
        let codes = match end {
            Refused(code) => format!("refused: `{code}`"),
            Chosen | AsPlain([]) | Judged([]) => "none".to_owned(),
            AsPlain(codes) | Judged(codes) => {
                codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!((row[0].trim_end_matches('`'), row[1]), (trap.as_str(), trap.says()));
        assert_eq!(row[3], codes, "{}", trap.as_str());
    }
}

/// Of a thousand slices, headers and choice.
fn chosen(trap: Trap) {
    let folder = tempdir().unwrap();
    write_trap(trap, &trap.spec(), folder.path(), &mut |_, _| {}).unwrap();
    let limits = Limits::default();
    let assembly = assemble(find(&[folder.path().to_owned()], &limits), &limits);
    let choice = choose(&assembly.studies[0], 3).unwrap();
    assert_eq!((choice.series.slices.len(), choice.series.warnings.len()), (1000, 0));
    assert!((choice.series.spacing_mm.unwrap() - 0.5).abs() < 1e-6);
    assert!(choice.series.slices.is_sorted_by(|a, b| a.z_mm < b.z_mm));
    assert!(choice.warnings.is_empty() && assembly.studies[0].left_out.is_empty());
}

#[test]
fn the_help_lists_every_trap() {
    let (code, help, _) = run(&["phantom", "--help"]);
    assert_eq!(code, 0);
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for trap in Trap::ALL {
        assert!(words.contains(&format!("- {}: {}", trap.as_str(), trap.says())), "{}", trap.as_str());
    }
    let (code, _, complaint) = run(&["phantom", "-o", "x", "--trap", "nonsense"]);
    assert_eq!((code, complaint.contains("feet-first")), (2, true));
}

#[test]
fn grid_pictures_and_montage_are_in_the_standard_view_too() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let small = ["--slices", "3", "--pixels", "256", "--pixel-mm", "0.9"];
    run(&[&["phantom", "-o", &path("plain")], &small[..]].concat());
    run(&[&["phantom", "-o", &path("mirrored"), "--trap", "feet-first"], &small[..]].concat());
    for name in ["plain", "mirrored"] {
        let pictures = path(&format!("{name}-patches"));
        assert_eq!(run(&["patches", &path(name), "-o", &pictures]).0, 0);
        assert_eq!(run(&["triage", &path(name), "-o", &path(&format!("{name}-out"))]).0, 0);
    }
    let read = |folder: &str| {
        let pictures = files(Path::new(&path(folder)));
        let pictures = pictures.iter().filter(|file| file.extension().is_some_and(|end| end == "png"));
        pictures.map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    for kind in ["patches", "patches/split_pic", "out"] {
        let plain = read(&format!("plain-{kind}"));
        assert!(!plain.is_empty(), "{kind}");
        assert!(plain == read(&format!("mirrored-{kind}")), "{kind}");
    }
}
