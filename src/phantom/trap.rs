//! Traps: what studies of the head have in practice that a reader of them may fall into. docs/series-traps.md has
//! the same list, with what becomes of each.

use super::Spec;

macro_rules! traps {
    ($($variant:ident $name:literal $says:literal,)*) => {
        /// One thing that goes wrong in practice, in a study that is drawn otherwise as it should be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Trap {
            $(#[doc = $says] $variant,)*
        }

        impl Trap {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name, as `hemapatch phantom --trap` takes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it is, in a few words.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$variant => $says,)*
                }
            }
        }
    };
}

traps! {
    BoneAndSoft "bone-and-soft" "a bone-kernel series before the soft-tissue one",
    ThinAndThick "thin-and-thick" "a series of 0.6 mm before the one of 5 mm",
    BoneOnly "bone-only" "the bone-kernel series alone",
    ContrastTagged "contrast-tagged" "contrast agent in the vessels, and the header says so",
    ContrastUntagged "contrast-untagged" "contrast agent in the vessels, of which the header says nothing",
    TwoAcquisitions "two-acquisitions" "before and after contrast in one series, at the same places",
    DuplicatePlaces "duplicate-places" "some slices twice, under other UIDs",
    Copies "copies" "some files twice",
    MissingSlices "missing-slices" "two neighbouring slices left out",
    Prone "prone" "the patient lies on the face",
    DecubitusLeft "decubitus-left" "the patient lies on the left side",
    DecubitusRight "decubitus-right" "the patient lies on the right side",
    FeetFirst "feet-first" "the patient entered feet first: left and right are exchanged in the picture",
    ReversedNumbers "reversed-numbers" "InstanceNumber runs from head to foot",
    Localizer "localizer" "a localizer in the series of the slices",
    NonSquarePixels "non-square-pixels" "rows 0.5 mm apart, columns 0.7 mm",
    Matrix256 "matrix-256" "256 x 256 pixels",
    Matrix768 "matrix-768" "768 x 768 pixels",
    Matrix1024 "matrix-1024" "1024 x 1024 pixels",
    Tilt "tilt" "a gantry tilted by 18.5 degrees",
    ThousandSlices "thousand-slices" "1,000 slices of 0.5 mm, of 64 x 64 pixels",
    VaryingIntercept "varying-intercept" "another rescale intercept in each slice, which is allowed",
    Windowed "windowed" "gray levels 0 to 255 instead of Hounsfield units, with rescale 1 and 0",
    NoIntercept "no-intercept" "stored values without their rescale: air at 24, water at 1024",
    EffectiveNumber "effective-number" "a spectral map of effective atomic numbers, RescaleType Z_EFF",
    IodineMap "iodine-map" "a spectral map of iodine, RescaleType mg/ml",
    Water "water" "a jar of water",
    Chest "chest" "a chest in a field of view of a head's size, BodyPartExamined empty",
    EmptyAir "empty-air" "nobody on the table",
}

impl Trap {
    /// The trap of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trap| trap.as_str() == name)
    }

    /// A study small enough to be drawn in a second: 12 slices of 256 x 256 pixels around the basal ganglia, but
    /// where the trap is the size.
    pub fn spec(self) -> Spec {
        let small = Spec { slices: 12, rows_columns: 256, pixel_mm: 0.9, ..Spec::default() };
        match self {
            Self::NonSquarePixels => Spec { slices: 9, rows_columns: 460, pixel_mm: 0.5, ..small },
            Self::Matrix768 => Spec { slices: 7, rows_columns: 768, pixel_mm: 0.3, ..small },
            Self::Matrix1024 => Spec { slices: 6, rows_columns: 1024, pixel_mm: 0.225, ..small },
            Self::Tilt => Spec { tilt_deg: 18.5, ..small },
            Self::ThousandSlices => {
                Spec { slices: 1000, spacing_mm: 0.5, rows_columns: 64, pixel_mm: 3.6, ..small }
            }
            Self::Chest => Spec { pixel_mm: 1.17, ..small },
            _ => small,
        }
    }
}
