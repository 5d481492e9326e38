//! Records of pax extension headers: `<length> <key>=<value>\n`.

use crate::core::failure::{Failure, Result};

const NANOSECONDS: i64 = 1_000_000_000;

/// What pax headers say of one entry, as far as it matters here.
#[derive(Debug, Default)]
pub(in crate::core::archives) struct Records {
    pub(in crate::core::archives) path: Option<Vec<u8>>,
    pub(in crate::core::archives) link: Option<Vec<u8>>,
    pub(in crate::core::archives) size: Option<u64>,
    pub(in crate::core::archives) modified_ns: Option<i64>,
    pub(in crate::core::archives) sparse_major: Option<u64>,
    pub(in crate::core::archives) sparse_minor: Option<u64>,
    pub(in crate::core::archives) sparse_name: Option<Vec<u8>>,
    pub(in crate::core::archives) sparse_size: Option<u64>,
}

/// Appends one record.
pub(in crate::core::archives) fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
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

/// Reads the records of an entry's own extension header.
pub(in crate::core::archives) fn parse(bytes: &[u8]) -> Result<Records> {
    let mut records = Records::default();
    for_each(bytes, |key, value| records.add(key, value))?;
    Ok(records)
}

/// Reads a global header: only what changes no entry's meaning is let through.
pub(in crate::core::archives) fn check_global(bytes: &[u8]) -> Result<()> {
    for_each(bytes, |key, _| {
        let changes_meaning =
            matches!(key, b"path" | b"linkpath" | b"size" | b"hdrcharset") || key.starts_with(b"GNU.sparse");
        if changes_meaning {
            return Err(Failure::refused(format!(
                "a global pax header sets '{}' for all entries",
                key.escape_ascii()
            )));
        }
        Ok(())
    })
}

fn for_each(mut rest: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    while !rest.is_empty() {
        let (record, behind) = cut(rest).ok_or_else(|| Failure::refused("a pax record is malformed"))?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
        let Some(equals) = equals else {
            return Err(Failure::refused("a pax record has no key"));
        };
        take(&record[..equals], &record[equals + 1..])?;
        rest = behind;
    }
    Ok(())
}

/// One record without length and newline, and what stands behind it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return None;
    }
    Some((&bytes[space + 1..length - 1], &bytes[length..]))
}

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || Failure::refused(format!("the pax record '{}' is malformed", key.escape_ascii()));
        match key {
            b"path" => set(&mut self.path, key, name(value).ok_or_else(malformed)?),
            b"linkpath" => set(&mut self.link, key, name(value).ok_or_else(malformed)?),
            b"size" => set(&mut self.size, key, decimal(value).ok_or_else(malformed)?),
            b"mtime" => set(
                &mut self.modified_ns,
                key,
                parse_time(value).ok_or_else(malformed)?,
            ),
            b"GNU.sparse.major" => set(&mut self.sparse_major, key, decimal(value).ok_or_else(malformed)?),
            b"GNU.sparse.minor" => set(&mut self.sparse_minor, key, decimal(value).ok_or_else(malformed)?),
            b"GNU.sparse.name" => set(&mut self.sparse_name, key, name(value).ok_or_else(malformed)?),
            b"GNU.sparse.realsize" => set(&mut self.sparse_size, key, decimal(value).ok_or_else(malformed)?),
            b"hdrcharset" if value != b"BINARY" && value != b"ISO-IR 10646 2000 UTF-8" => Err(malformed()),
            _ if key.starts_with(b"GNU.sparse.") => Err(Failure::refused(
                "sparse files of pax format 0 are not read; write them with --sparse-version=1.0",
            )),
            _ => Ok(()),
        }
    }
}

/// The same key twice has two meanings: the first to some readers, the last to others.
fn set<T>(slot: &mut Option<T>, key: &[u8], value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Failure::refused(format!(
            "the pax record '{}' is there twice",
            key.escape_ascii()
        )));
    }
    Ok(())
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

pub(in crate::core::archives) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction, as nanoseconds; digits below a nanosecond are cut off.
fn parse_time(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut fraction = parts.next().unwrap_or(b"0").to_vec();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    fraction.resize(9, b'0');
    let nanoseconds = i64::try_from(decimal(&fraction)?).ok()?;
    let value = seconds.checked_mul(NANOSECONDS)?.checked_add(nanoseconds)?;
    Some(if negative { -value } else { value })
}

/// Nanoseconds as seconds with a fraction.
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
    fn a_record_counts_its_own_length() {
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
