//! Records of pax extension headers: `<length> <key>=<value>\n`.

use crate::core::failure::{Failure, Result};

const NANOSECONDS: i64 = 1_000_000_000;

/// Relevant values of an entry's pax headers.
#[derive(Debug, Default)]
pub(in crate::core::archives) struct Records {
    pub(in crate::core::archives) path: Option<Vec<u8>>,
    pub(in crate::core::archives) link: Option<Vec<u8>>,
    pub(in crate::core::archives) size: Option<u64>,
    pub(in crate::core::archives) modified_ns: Option<i64>,
    pub(in crate::core::archives) sparse: SparseRecords,
}

/// Values of pax headers about a sparse file. GNU tar has three versions of them: 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(in crate::core::archives) struct SparseRecords {
    pub(in crate::core::archives) major: Option<u64>,
    pub(in crate::core::archives) minor: Option<u64>,
    pub(in crate::core::archives) name: Option<Vec<u8>>,
    /// Used by version 1.0.
    pub(in crate::core::archives) real_size: Option<u64>,
    /// Used by versions 0.0 and 0.1.
    pub(in crate::core::archives) size: Option<u64>,
    /// Used by versions 0.0 and 0.1.
    pub(in crate::core::archives) blocks: Option<u64>,
    /// Alternating offsets and lengths. Version 0.1 has one record for all, version 0.0 one record for each.
    pub(in crate::core::archives) map: Vec<u64>,
    has_map: bool,
}

impl SparseRecords {
    pub(in crate::core::archives) fn is_empty(&self) -> bool {
        self.major.is_none()
            && self.minor.is_none()
            && self.name.is_none()
            && self.real_size.is_none()
            && self.size.is_none()
            && self.blocks.is_none()
            && self.map.is_empty()
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || malformed(key);
        let number = || decimal(value).ok_or_else(malformed);
        match key.strip_prefix(b"GNU.sparse.").unwrap_or_default() {
            b"major" => set(&mut self.major, key, number()?),
            b"minor" => set(&mut self.minor, key, number()?),
            b"name" => set(&mut self.name, key, name(value).ok_or_else(malformed)?),
            b"realsize" => set(&mut self.real_size, key, number()?),
            b"size" => set(&mut self.size, key, number()?),
            b"numblocks" => set(&mut self.blocks, key, number()?),
            b"map" if self.map.is_empty() && !self.has_map => {
                self.has_map = true;
                if value.is_empty() {
                    return Ok(());
                }
                for field in value.split(|byte| *byte == b',') {
                    self.map.push(decimal(field).ok_or_else(malformed)?);
                }
                Ok(())
            }
            b"offset" if self.map.len().is_multiple_of(2) && !self.has_map => {
                self.map.push(number()?);
                Ok(())
            }
            b"numbytes" if !self.map.len().is_multiple_of(2) && !self.has_map => {
                self.map.push(number()?);
                Ok(())
            }
            _ => Err(malformed()),
        }
    }
}

fn malformed(key: &[u8]) -> Failure {
    Failure::refused(format!("the pax record '{}' is malformed", key.escape_ascii()))
}

/// Appends one record.
pub(in crate::core::archives) fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length includes its own digits.
    let digits = (1..20)
        .find(|digits| (rest + digits).to_string().len() == *digits)
        .unwrap_or(20);
    out.extend_from_slice((rest + digits).to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Parses the records of an entry's own extension header.
pub(in crate::core::archives) fn parse(bytes: &[u8]) -> Result<Records> {
    let mut records = Records::default();
    for_each(bytes, |key, value| records.add(key, value))?;
    Ok(records)
}

/// Checks a global header. It must not contain records that change the meaning of entries.
pub(in crate::core::archives) fn check_global(bytes: &[u8]) -> Result<()> {
    for_each(bytes, |key, value| {
        let changes_meaning =
            matches!(key, b"path" | b"linkpath" | b"size") || is_of_holes(key) || is_charset(key, value);
        if changes_meaning {
            return Err(Failure::refused(format!(
                "a global pax header sets '{}' for all entries",
                key.escape_ascii()
            )));
        }
        Ok(())
    })
}

/// Whether a record describes a sparse file. bsdtar applies the records of star and Solaris to the size of any file,
/// and other readers ignore them.
fn is_of_holes(key: &[u8]) -> bool {
    key.starts_with(b"GNU.sparse") || matches!(key, b"SCHILY.realsize" | b"SUN.holesdata")
}

/// Whether the record sets a character set in which names would have other bytes.
fn is_charset(key: &[u8], value: &[u8]) -> bool {
    key == b"hdrcharset" && value != b"BINARY" && value != b"ISO-IR 10646 2000 UTF-8"
}

fn for_each(mut rest: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    // Some writers fill the last block with NULs and count them.
    while rest.iter().any(|byte| *byte != 0) {
        let (record, behind) =
            split_record(rest).ok_or_else(|| Failure::refused("a pax record is malformed"))?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
        let Some(equals) = equals else {
            return Err(Failure::refused("a pax record has no key"));
        };
        take(&record[..equals], &record[equals + 1..])?;
        rest = behind;
    }
    Ok(())
}

/// Splits off one record without length and newline. Returns it with the rest.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return None;
    }
    Some((&bytes[space + 1..length - 1], &bytes[length..]))
}

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || malformed(key);
        match key {
            b"path" => set(&mut self.path, key, name(value).ok_or_else(malformed)?),
            b"linkpath" => set(&mut self.link, key, name(value).ok_or_else(malformed)?),
            b"size" => set(&mut self.size, key, decimal(value).ok_or_else(malformed)?),
            b"mtime" => set(
                &mut self.modified_ns,
                key,
                parse_time(value).ok_or_else(malformed)?,
            ),
            _ if is_charset(key, value) => Err(malformed()),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.add(key, value),
            _ if is_of_holes(key) => Err(Failure::refused(format!(
                "the pax record '{}' of star and Solaris describes a sparse file, which is not supported",
                key.escape_ascii()
            ))),
            _ => Ok(()),
        }
    }
}

/// Sets a value. A key with two different values is ambiguous: some readers use the first, others the last.
fn set<T: PartialEq>(slot: &mut Option<T>, key: &[u8], value: T) -> Result<()> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return Err(Failure::refused(format!(
            "the pax record '{}' occurs twice with different values",
            key.escape_ascii()
        )));
    }
    *slot = Some(value);
    Ok(())
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

pub(in crate::core::archives) fn decimal(text: &[u8]) -> Option<u64> {
    if !is_decimal(text) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_decimal(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Parses seconds with a fraction to nanoseconds. Digits below a nanosecond are dropped.
fn parse_time(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = parts.next().filter(|digits| is_decimal(digits))?;
    // A number that does not fit is out of range too.
    let seconds = decimal(seconds).unwrap_or(u64::MAX);
    let mut fraction = parts.next().unwrap_or(b"0").to_vec();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    fraction.resize(9, b'0');
    let nanoseconds = i128::from(decimal(&fraction)?);
    let value = i128::from(seconds) * i128::from(NANOSECONDS) + nanoseconds;
    let signed = if negative { -value } else { value };
    // A time out of range becomes the nearest valid one.
    let clamped = signed.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(clamped).ok()
}

/// Formats nanoseconds as seconds with a fraction.
pub(in crate::core::archives) fn format_time(modified_ns: i64) -> String {
    let sign = if modified_ns < 0 { "-" } else { "" };
    let magnitude = modified_ns.unsigned_abs();
    let (seconds, fraction) = (
        magnitude / NANOSECONDS.unsigned_abs(),
        magnitude % NANOSECONDS.unsigned_abs(),
    );
    if fraction == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{fraction:09}")
        .trim_end_matches('0')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_includes_its_own_length() {
        for length in [1, 5, 85, 86, 87, 88, 985, 986, 987, 9980] {
            let mut out = Vec::new();
            append(&mut out, b"path", &vec![b'x'; length]);
            let records = parse(&out).expect("well formed");
            assert_eq!(records.path.map(|path| path.len()), Some(length));
        }
    }

    #[test]
    fn times_keep_their_nanoseconds_on_both_sides_of_the_epoch() {
        for time in [0, 1, -1, 1_500_000_000, -1_500_000_000, 1_700_000_000_123_456_789] {
            assert_eq!(parse_time(format_time(time).as_bytes()), Some(time));
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(parse_time(b"99999999999999999999999"), Some(i64::MAX));
        assert_eq!(parse_time(b"-99999999999"), Some(i64::MIN));
        assert_eq!(parse_time(b"1e9"), None);
    }

    #[test]
    fn records_may_be_repeated_and_padded_but_not_contradictory() {
        let twice = [&b"11 path=ab\n11 path=ab\n"[..], &[0; 7]].concat();
        assert_eq!(
            parse(&twice).ok().and_then(|records| records.path),
            Some(b"ab".to_vec())
        );
        assert!(parse(b"11 path=ab\n11 path=ac\n").is_err());
        assert!(parse(b"11 path=ab\n\0\0x").is_err());
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"11 path=abc"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"10 path=ab\n9 path=x\n",
            b"5 =a\n",
            b"x path=a\n",
            b"10 size=-1\n",
            b"8 path=\n",
            b"-5 path=a\n",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
