//! What readers make of a path: the steps that some take and others don't, and all that can come out of them.

use crate::http::escapes::{escape, without_unit_escapes};
use percent_encoding::percent_decode;

/// The path with its escapes decoded, but for those that separate segments, or begin another escape.
pub(super) fn kept(path: &[u8]) -> Vec<u8> {
    let mut reading = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        match (byte, escape(rest)) {
            (b'%', Some(escaped)) if !is_kept(escaped) => {
                reading.push(escaped);
                rest = rest.get(3..).unwrap_or_default();
            }
            (b'%', Some(_)) => {
                reading.extend(rest.iter().take(3).map(u8::to_ascii_uppercase));
                rest = rest.get(3..).unwrap_or_default();
            }
            _ => {
                reading.push(*byte);
                rest = after;
            }
        }
    }
    reading
}

/// Every path that readers can make of one. Each takes some of the steps, in an order of its own: what one decodes, or
/// takes for a parameter, another has followed upwards before. So all steps are tried on all that comes out of them.
pub(super) fn all_readings(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut readings = vec![kept(path)];
    if path.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut size = path.len();
    let mut next = 0;
    while let Some(reading) = readings.get(next).cloned() {
        for step in STEPS {
            let Some(further) = step(&reading).filter(|further| !readings.contains(further)) else { continue };
            size = size.saturating_add(further.len());
            let has_controls = further.iter().any(u8::is_ascii_control);
            readings.push(further);
            if has_controls || readings.len() > MAX_READINGS || size > MAX_READINGS_SIZE {
                return None;
            }
        }
        next = next.saturating_add(1);
    }
    Some(readings)
}

/// What a reader does to a path; `None` where there is nothing to do.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

const STEPS: [Step; 11] = [
    decoded,
    without_unit_escapes,
    shortened,
    trimmed,
    cut,
    with_slashes,
    without_parameters,
    without_empty_segments,
    followed,
    rooted,
    without_authority,
];

/// All escapes, once.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b'%').then(|| kept(&percent_decode(path).collect::<Vec<u8>>()))
}

/// Overlong UTF-8 of two to four bytes as the ASCII that it stands for: a decoder must refuse it (RFC 3629, section 3), and
/// not all do.
fn shortened(path: &[u8]) -> Option<Vec<u8>> {
    let mut short: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let (lead, last, further) = match rest {
            [lead @ (0xc0 | 0xc1), last @ 0x80..=0xbf, further @ ..]
            | [0xe0, lead @ (0x80 | 0x81), last @ 0x80..=0xbf, further @ ..]
            | [0xf0, 0x80, lead @ (0x80 | 0x81), last @ 0x80..=0xbf, further @ ..] => (lead, last, further),
            _ => {
                short.push(*byte);
                rest = after;
                continue;
            }
        };
        short.push((lead << 6) & 0x40 | (last & 0x3f));
        rest = further;
    }
    (short.len() < path.len()).then_some(short)
}

/// Without the spaces at the ends of segments, which some readers trim.
fn trimmed(path: &[u8]) -> Option<Vec<u8>> {
    segments(path).any(is_untrimmed).then(|| segments(path).map(trim).collect::<Vec<_>>().join(&b'/'))
}

/// What stands between slashes; a path that begins with one begins with an empty segment.
pub(super) fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

pub(super) fn is_untrimmed(segment: &[u8]) -> bool {
    segment.first() == Some(&b' ') || segment.last() == Some(&b' ')
}

fn trim(segment: &[u8]) -> &[u8] {
    let start = segment.iter().position(|byte| *byte != b' ').unwrap_or(segment.len());
    let end = segment.iter().rposition(|byte| *byte != b' ').map_or(start, |last| last.saturating_add(1));
    segment.get(start..end).unwrap_or_default()
}

/// What stands before a query or a fragment that was encoded.
fn cut(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'))?;
    path.get(..end).map(<[u8]>::to_vec)
}

/// Backslashes as slashes.
fn with_slashes(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b'\\').then(|| path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect())
}

/// Without the parameters of its segments (RFC 3986, section 3.3).
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let names = segments(path).filter_map(|segment| segment.split(|byte| *byte == b';').next());
    path.contains(&b';').then(|| names.collect::<Vec<_>>().join(&b'/'))
}

/// `//` as `/`.
fn without_empty_segments(path: &[u8]) -> Option<Vec<u8>> {
    let mut merged = path.to_vec();
    merged.dedup_by(|byte, before| (*byte, *before) == (b'/', b'/'));
    (merged.len() < path.len()).then_some(merged)
}

/// Without its dot segments (RFC 3986, section 5.2.4).
fn followed(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/').peekable();
    if !rest.clone().any(is_dots) {
        return None;
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    while let Some(segment) = rest.next() {
        match segment {
            b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name),
        }
        // A folder remains, and ends with its slash.
        if is_dots(segment) && rest.peek().is_none() {
            segments.push(b"");
        }
    }
    Some([&b"/"[..], &segments.join(&b'/')].concat())
}

/// As if it began with the slash that it lacks.
fn rooted(path: &[u8]) -> Option<Vec<u8>> {
    (path.first() != Some(&b'/')).then(|| [&b"/"[..], path].concat())
}

/// What a parser of whole URLs finds behind `//host` or `https://host` (RFC 3986, section 3.2).
fn without_authority(path: &[u8]) -> Option<Vec<u8>> {
    let start = path.windows(2).position(|pair| pair == b"//")?;
    let is_scheme =
        path.get(..start).is_some_and(|scheme| scheme.is_empty() || scheme.ends_with(b":") && !scheme.contains(&b'/'));
    let slashes = path.get(start..)?;
    let authority = slashes.get(slashes.iter().position(|byte| *byte != b'/')?..).filter(|_| is_scheme)?;
    let end = authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len());
    Some([&b"/"[..], authority.get(end.saturating_add(1)..).unwrap_or_default()].concat())
}

pub(super) fn is_kept(escaped: u8) -> bool {
    matches!(escaped, b'/' | b'\\' | b'%' | b'?' | b'#' | b';') || escaped.is_ascii_control()
}

pub(super) fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// What is both decoded twice and full of parameters has a dozen. Each is held against all rules.
const MAX_READINGS: usize = 32;

/// The bytes of all of them together.
const MAX_READINGS_SIZE: usize = 16 * 1024;
