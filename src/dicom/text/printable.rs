//! Texts for one line of a screen or a log. Whether a text may be shown at all is left to the caller.

/// The text with nothing in it that drives a terminal, breaks the line, or reorders what stands around it.
///
/// Controls show as their pictures (`␛` for ESC), so that what a file tried is seen. What steers the direction of
/// text beyond its own characters, and what else is no sign, shows as U+FFFD. Marks that are harmless and seen by
/// nobody (byte order mark, soft hyphen, direction marks) go. What joins letters stays: names are written with it.
///
/// # Source
/// Unicode 16, chapter 23.1 to 23.3 and 23.7 to 23.9; UAX 9, section 2.
pub fn printable(text: &str) -> String {
    text.chars().filter_map(shown).collect()
}

fn shown(character: char) -> Option<char> {
    let replaced = Some(char::REPLACEMENT_CHARACTER);
    match character {
        '\0'..='\x1F' => char::from_u32(0x2400 + u32::from(character)),
        '\x7F' => Some('␡'),
        // C1 controls: 0x9B is what ESC and `[` are.
        '\u{80}'..='\u{9F}' => replaced,
        '\u{AD}' | '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}' => None,
        // Embeddings, overrides and isolates; line and paragraph separators.
        '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}' => replaced,
        // Spaces without width, invisible operators, annotations, tags: text that nobody sees.
        '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'
            if !matches!(character, '\u{E0100}'..='\u{E01EF}') =>
        {
            replaced
        }
        // No characters: the last two of each plane, and 32 of Arabic.
        '\u{FDD0}'..='\u{FDEF}' => replaced,
        other if u32::from(other) & 0xFFFE == 0xFFFE => replaced,
        other => Some(other),
    }
}
