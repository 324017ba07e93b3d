//! Reconstruction kernels: each vendor's names sorted into soft-tissue and sharp ones.
//! Which series is taken is left to `choose`.

/// What a reconstruction kernel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelClass {
    /// Bone, lung, inner ear: edges enhanced, and with them the noise, which hides soft-tissue contrast.
    Sharp,
    /// Unnamed, or a name that is not known here.
    Unknown,
    /// Brain and soft tissue.
    SoftTissue,
}

/// Sorts the value of ConvolutionKernel.
///
/// # Source
/// Names as they are seen in practice, not a vendor's list: GE by words, Siemens by a number that rises with
/// sharpness (H30s, J40s, Hr38, Br64), Philips by one or two letters (UA to UC brain, YA to YD and D to L
/// sharp), Canon and Toshiba by FC and two digits (01 to 28 and 40s, 60s soft; 30s, 50s, 80s sharp).
pub fn kernel_class(kernel: &str) -> KernelClass {
    // Siemens adds a second value, the strength of its iterative reconstruction.
    let first = kernel.split('\\').next().unwrap_or_default();
    let name: String = first.trim().chars().map(|letter| letter.to_ascii_uppercase()).collect();
    by_word(&name).or_else(|| canon(&name)).or_else(|| siemens(&name)).unwrap_or(KernelClass::Unknown)
}

fn by_word(name: &str) -> Option<KernelClass> {
    const SHARP: [&str; 6] = ["BONE", "LUNG", "EDGE", "DETAIL", "SHARP", "ULTRA"];
    const SOFT: [&str; 6] = ["SOFT", "STANDARD", "STAND", "STD", "BRAIN", "SMOOTH"];
    if SHARP.iter().any(|word| name.starts_with(word)) {
        return Some(KernelClass::Sharp);
    }
    if SOFT.iter().any(|word| name.starts_with(word)) {
        return Some(KernelClass::SoftTissue);
    }
    match name {
        "UA" | "UB" | "UC" | "A" | "B" | "C" | "SA" | "SB" | "SC" => Some(KernelClass::SoftTissue),
        "UD" | "UE" | "D" | "E" | "F" | "L" | "EB" | "EC" | "YA" | "YB" | "YC" | "YD" | "YE" => {
            Some(KernelClass::Sharp)
        }
        _ => None,
    }
}

fn canon(name: &str) -> Option<KernelClass> {
    let digits = name.strip_prefix("FC")?.get(..2)?;
    match digits.parse::<u32>().ok()? {
        30..=39 | 50..=59 | 80..=89 => Some(KernelClass::Sharp),
        1..=29 | 40..=49 | 60..=69 => Some(KernelClass::SoftTissue),
        _ => None,
    }
}

fn siemens(name: &str) -> Option<KernelClass> {
    let after_letters = name.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
    let letters = name.len() - after_letters.len();
    if !(1..=2).contains(&letters) || !"ABHIJQTUDS".contains(name.get(..1)?) {
        return None;
    }
    let digits: String = after_letters.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>().ok()? {
        10..=49 => Some(KernelClass::SoftTissue),
        50..=99 => Some(KernelClass::Sharp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_five_vendors() {
        for kernel in [
            "SOFT", "STANDARD", "STD+", "H30s", "H31s", "J30s\\3", "J40f", "Hr38", "Hr40f\\2", "B30f",
            "Br36d\\3", "Qr40", "UA", "UB", "UC", "FC21", "FC26", "FC64", "FC05",
        ] {
            assert_eq!(kernel_class(kernel), KernelClass::SoftTissue, "{kernel}");
        }
        for kernel in [
            "BONE", "BONEPLUS", "EDGE", "LUNG", "DETAIL", "H60s", "H70h", "Hr64h\\3", "B70f", "J70h\\1",
            "U90u", "D", "E", "YC", "FC30", "FC81", "FC52",
        ] {
            assert_eq!(kernel_class(kernel), KernelClass::Sharp, "{kernel}");
        }
        for kernel in ["", "\\", "??", "FC", "FCxx", "H", "é", "ß30", "XYZ123"] {
            assert_eq!(kernel_class(kernel), KernelClass::Unknown, "{kernel}");
        }
    }
}
