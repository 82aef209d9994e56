//! Characters beyond ASCII that a service may take for ASCII: by Unicode's compatibility forms (NFKC), by case, by the best
//! fits of Windows' code pages, or because nobody sees them. `tests/envoy/test_paths.py` holds all of it against Python's
//! `unicodedata` and `re`.

/// Whether no service takes a character of a text for a sign that separates (`/`, `\`, `.`, `;`, `%`, `?`, `#`, `:`), for white
/// space, for nothing at all, or for ASCII in more than one way.
pub(super) fn are_plain(text: &str) -> bool {
    let mut before = '/';
    text.chars().all(|character| {
        let is_plain = character.is_ascii() || !is_in(ODD, character) && (!is_joiner(character) || !before.is_ascii());
        before = character;
        is_plain
    })
}

/// Whether a text is spelled in Unicode's composed form (NFC), the one that people type. To be sure without the tables of
/// Unicode, some texts that are so spelled count as if they were not.
pub(crate) fn are_composed(text: &str) -> bool {
    let mut before = '/';
    text.chars().all(|character| {
        let is_tail = is_in(HEADS, before) && is_in(TAILS, character);
        before = character;
        character.is_ascii() || !is_in(DECOMPOSED, character) && !is_tail
    })
}

/// A text in which each letter that is one of ASCII but for its case or its width is that. `None` if there is no such letter.
pub(super) fn folded(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut folded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'ª' => folded.push('a'),
            'º' => folded.push('o'),
            '¹' => folded.push('1'),
            '²' => folded.push('2'),
            '³' => folded.push('3'),
            'ı' | 'İ' => folded.push('i'),
            'ſ' => folded.push('s'),
            'ß' | 'ẞ' => folded.push_str("ss"),
            // These are in the order of ASCII.
            '\u{ff01}'..='\u{ff5e}' => folded.extend(u32::from(character).checked_sub(0xfee0).and_then(char::from_u32)),
            // `İ` may be written as an `I` with this dot.
            '\u{307}' => {}
            silent if is_joiner(silent) => {}
            other => folded.push(other),
        }
    }
    (folded != text).then_some(folded)
}

/// What joins two letters, or chooses the shape of one. Persian, Hindi and emoji have it between characters beyond ASCII.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

fn is_in(ranges: &[(char, char)], character: char) -> bool {
    let place = ranges.partition_point(|(_, last)| *last < character);
    ranges.get(place).is_some_and(|(first, _)| *first <= character)
}

/// What is a sign to some (`．`, `⁄`, `；`, `％`, `¥` where a backslash has its place), what is blank or unseen, and what
/// compatibility forms make ASCII of (`™`, `ﬁ`, `𝐚`), but for the letters that [`folded`] knows. Ranges go on over what
/// is of the same kind.
#[rustfmt::skip]
const ODD: &[(char, char)] = &[
    ('\u{80}', '\u{a0}'), ('\u{a5}', '\u{a5}'), ('\u{ad}', '\u{ad}'), ('\u{b4}', '\u{b4}'), ('\u{bc}', '\u{bf}'),
    ('\u{132}', '\u{133}'), ('\u{13f}', '\u{140}'), ('\u{149}', '\u{149}'), ('\u{1c4}', '\u{1cc}'),
    ('\u{1f1}', '\u{1f3}'), ('\u{2b0}', '\u{2b8}'), ('\u{2e0}', '\u{2e4}'), ('\u{34f}', '\u{34f}'),
    ('\u{37e}', '\u{37e}'), ('\u{589}', '\u{589}'), ('\u{61c}', '\u{61c}'), ('\u{66a}', '\u{66a}'),
    ('\u{115f}', '\u{1160}'), ('\u{1680}', '\u{1680}'), ('\u{17b4}', '\u{17b5}'), ('\u{180b}', '\u{180f}'),
    ('\u{1d2c}', '\u{1d6a}'), ('\u{1d78}', '\u{1d78}'), ('\u{1d9b}', '\u{1dbf}'), ('\u{1e9a}', '\u{1e9a}'),
    ('\u{1fef}', '\u{1fef}'), ('\u{2000}', '\u{200b}'), ('\u{200e}', '\u{200f}'), ('\u{2024}', '\u{202f}'),
    ('\u{203c}', '\u{203c}'), ('\u{2044}', '\u{2044}'), ('\u{2047}', '\u{2049}'), ('\u{205f}', '\u{209f}'),
    ('\u{20a8}', '\u{20a9}'), ('\u{2100}', '\u{218b}'), ('\u{2215}', '\u{2216}'), ('\u{2236}', '\u{2236}'),
    ('\u{2460}', '\u{24ff}'), ('\u{2a74}', '\u{2a76}'), ('\u{2c7c}', '\u{2c7d}'), ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'), ('\u{3200}', '\u{33ff}'), ('\u{a7f2}', '\u{a7f4}'), ('\u{fb00}', '\u{fb06}'),
    ('\u{fb29}', '\u{fb29}'), ('\u{fe10}', '\u{fe19}'), ('\u{fe30}', '\u{fe6b}'), ('\u{feff}', '\u{feff}'),
    ('\u{ff03}', '\u{ff03}'), ('\u{ff05}', '\u{ff05}'), ('\u{ff0e}', '\u{ff0f}'), ('\u{ff1a}', '\u{ff1b}'),
    ('\u{ff1f}', '\u{ff1f}'), ('\u{ff3c}', '\u{ff3c}'), ('\u{ffa0}', '\u{ffa0}'), ('\u{ffe5}', '\u{ffe6}'),
    ('\u{fff0}', '\u{fffb}'), ('\u{10781}', '\u{107ba}'), ('\u{1bca0}', '\u{1bca3}'), ('\u{1ccd6}', '\u{1ccf9}'),
    ('\u{1d173}', '\u{1d17a}'), ('\u{1d400}', '\u{1d7ff}'), ('\u{1f100}', '\u{1f190}'), ('\u{1fbf0}', '\u{1fbf9}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// What a text in composed form doesn't hold, with the marks that nearly always belong to a letter that could be composed.
#[rustfmt::skip]
const DECOMPOSED: &[(char, char)] = &[
    ('\u{300}', '\u{34e}'), ('\u{350}', '\u{36f}'), ('\u{374}', '\u{374}'), ('\u{37e}', '\u{37e}'),
    ('\u{387}', '\u{387}'), ('\u{653}', '\u{655}'), ('\u{958}', '\u{95f}'), ('\u{9dc}', '\u{9df}'),
    ('\u{a33}', '\u{a33}'), ('\u{a36}', '\u{a36}'), ('\u{a59}', '\u{a5b}'), ('\u{a5e}', '\u{a5e}'),
    ('\u{b5c}', '\u{b5d}'), ('\u{f43}', '\u{f43}'), ('\u{f4d}', '\u{f4d}'), ('\u{f52}', '\u{f52}'),
    ('\u{f57}', '\u{f57}'), ('\u{f5c}', '\u{f5c}'), ('\u{f69}', '\u{f69}'), ('\u{f73}', '\u{f73}'),
    ('\u{f75}', '\u{f76}'), ('\u{f78}', '\u{f78}'), ('\u{f81}', '\u{f81}'), ('\u{f93}', '\u{f93}'),
    ('\u{f9d}', '\u{f9d}'), ('\u{fa2}', '\u{fa2}'), ('\u{fa7}', '\u{fa7}'), ('\u{fac}', '\u{fac}'),
    ('\u{fb9}', '\u{fb9}'), ('\u{1161}', '\u{1175}'), ('\u{11a8}', '\u{11c2}'), ('\u{1f71}', '\u{1f71}'),
    ('\u{1f73}', '\u{1f73}'), ('\u{1f75}', '\u{1f75}'), ('\u{1f77}', '\u{1f77}'), ('\u{1f79}', '\u{1f79}'),
    ('\u{1f7b}', '\u{1f7b}'), ('\u{1f7d}', '\u{1f7d}'), ('\u{1fbb}', '\u{1fbb}'), ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc9}', '\u{1fc9}'), ('\u{1fcb}', '\u{1fcb}'), ('\u{1fd3}', '\u{1fd3}'), ('\u{1fdb}', '\u{1fdb}'),
    ('\u{1fe3}', '\u{1fe3}'), ('\u{1feb}', '\u{1feb}'), ('\u{1fee}', '\u{1fef}'), ('\u{1ff9}', '\u{1ff9}'),
    ('\u{1ffb}', '\u{1ffb}'), ('\u{1ffd}', '\u{1ffd}'), ('\u{2000}', '\u{2001}'), ('\u{2126}', '\u{2126}'),
    ('\u{212a}', '\u{212b}'), ('\u{2329}', '\u{232a}'), ('\u{2adc}', '\u{2adc}'), ('\u{3099}', '\u{309a}'),
    ('\u{f900}', '\u{fa0d}'), ('\u{fa10}', '\u{fa10}'), ('\u{fa12}', '\u{fa12}'), ('\u{fa15}', '\u{fa1e}'),
    ('\u{fa20}', '\u{fa20}'), ('\u{fa22}', '\u{fa22}'), ('\u{fa25}', '\u{fa26}'), ('\u{fa2a}', '\u{fad9}'),
    ('\u{fb1d}', '\u{fb1d}'), ('\u{fb1f}', '\u{fb1f}'), ('\u{fb2a}', '\u{fb4e}'), ('\u{1d15e}', '\u{1d164}'),
    ('\u{1d1bb}', '\u{1d1c0}'), ('\u{2f800}', '\u{2fa1d}'),
];

/// What composes with a sign that follows it, in scripts where such a sign often stands behind other letters, too.
#[rustfmt::skip]
const HEADS: &[(char, char)] = &[
    ('\u{928}', '\u{928}'), ('\u{930}', '\u{930}'), ('\u{933}', '\u{933}'), ('\u{9c7}', '\u{9c7}'),
    ('\u{b47}', '\u{b47}'), ('\u{b92}', '\u{b92}'), ('\u{bc6}', '\u{bc7}'), ('\u{c46}', '\u{c46}'),
    ('\u{cbf}', '\u{cbf}'), ('\u{cc6}', '\u{cc6}'), ('\u{cca}', '\u{cca}'), ('\u{d46}', '\u{d47}'),
    ('\u{dd9}', '\u{dd9}'), ('\u{ddc}', '\u{ddc}'), ('\u{1025}', '\u{1025}'), ('\u{1b05}', '\u{1b05}'),
    ('\u{1b07}', '\u{1b07}'), ('\u{1b09}', '\u{1b09}'), ('\u{1b0b}', '\u{1b0b}'), ('\u{1b0d}', '\u{1b0d}'),
    ('\u{1b11}', '\u{1b11}'), ('\u{1b3a}', '\u{1b3a}'), ('\u{1b3c}', '\u{1b3c}'), ('\u{1b3e}', '\u{1b3f}'),
    ('\u{1b42}', '\u{1b42}'), ('\u{11099}', '\u{11099}'), ('\u{1109b}', '\u{1109b}'), ('\u{110a5}', '\u{110a5}'),
    ('\u{11131}', '\u{11132}'), ('\u{11347}', '\u{11347}'), ('\u{114b9}', '\u{114b9}'), ('\u{115b8}', '\u{115b9}'),
    ('\u{11935}', '\u{11935}'),
];

/// These signs.
#[rustfmt::skip]
const TAILS: &[(char, char)] = &[
    ('\u{93c}', '\u{93c}'), ('\u{9be}', '\u{9be}'), ('\u{9d7}', '\u{9d7}'), ('\u{b3e}', '\u{b3e}'),
    ('\u{b56}', '\u{b57}'), ('\u{bbe}', '\u{bbe}'), ('\u{bd7}', '\u{bd7}'), ('\u{c56}', '\u{c56}'),
    ('\u{cc2}', '\u{cc2}'), ('\u{cd5}', '\u{cd6}'), ('\u{d3e}', '\u{d3e}'), ('\u{d57}', '\u{d57}'),
    ('\u{dca}', '\u{dca}'), ('\u{dcf}', '\u{dcf}'), ('\u{ddf}', '\u{ddf}'), ('\u{102e}', '\u{102e}'),
    ('\u{1b35}', '\u{1b35}'), ('\u{110ba}', '\u{110ba}'), ('\u{11127}', '\u{11127}'), ('\u{1133e}', '\u{1133e}'),
    ('\u{11357}', '\u{11357}'), ('\u{114b0}', '\u{114b0}'), ('\u{114ba}', '\u{114ba}'), ('\u{114bd}', '\u{114bd}'),
    ('\u{115af}', '\u{115af}'), ('\u{11930}', '\u{11930}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order() {
        for table in [ODD, DECOMPOSED, HEADS, TAILS] {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    /// ATK-18.
    #[test]
    fn what_looks_like_a_sign_is_odd() {
        for odd in "\u{37e}︔︰％？＃：．／＼；⁄∕∖∶¥₩٪։´¿…‥․㏂⒈\u{85}\u{a0}\u{ad}\u{1680}\u{2003}\u{200b}\u{2028}\u{202f}\u{205f}\u{2060}\u{3000}\u{feff}ﬁ™𝐚ⓐ\u{212a}".chars() {
            assert!(!are_plain(&format!("/é{odd}é")), "{odd:?}");
        }
        for plain in [
            "/café",
            "/straße",
            "/kullanıcı",
            "/日本語！（ａｂｃ）",
            "/می\u{200c}خواهم",
            "/❤\u{fe0f}",
            "/m²",
            "/👩\u{200d}🚒",
            "/क\u{94d}\u{200d}ष",
        ] {
            assert!(are_plain(plain), "{plain}");
        }
        for joined in ["/a\u{200d}", "/\u{200c}a", "/a\u{fe0f}b"] {
            assert!(!are_plain(joined), "{joined:?}");
        }
    }

    /// ATK-05.
    #[test]
    fn letters_that_fold_to_ascii_are_seen() {
        for (written, meant) in [
            ("/admın", "/admin"),
            ("/admİn", "/admin"),
            ("/admi\u{307}n", "/admin"),
            ("/uſers", "/users"),
            ("/claß/CLAẞ", "/class/CLAss"),
            ("/ａＤmin１²", "/aDmin12"),
            ("/م\u{200c}ن", "/من"),
            ("/É/ñ", ""),
        ] {
            assert_eq!(folded(written).unwrap_or_default(), meant, "{written}");
        }
    }

    /// ATK-18.
    #[test]
    fn text_that_is_not_composed() {
        for text in ["/cafe\u{301}", "/\u{1100}\u{1161}", "/か\u{3099}", "/\u{212b}", "/\u{f900}", "/க\u{bc6}\u{bbe}"]
        {
            assert!(!are_composed(text), "{text:?}");
        }
        for text in ["/café", "/가", "/が", "/கா", "/क़".replace('\u{958}', "क").as_str(), "/❤\u{fe0f}"]
        {
            assert!(are_composed(text), "{text:?}");
        }
    }
}
