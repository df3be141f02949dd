//! Durations, sizes and times as people write them.

use std::time::{Duration, SystemTime};

use cookie::time::OffsetDateTime;
use cookie::time::format_description::well_known::Rfc3339;

/// Parts with their units: `90s`, `30m`, `1h 30m`, `500ms`. A number alone is refused, since some programs count seconds
/// and others milliseconds, and both pass for a timeout.
pub(super) fn duration(text: &str) -> Option<Duration> {
    // `humantime` takes `M` for months, which may have been meant for minutes, and "0" without a unit.
    let is_one = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"wdhms".contains(&byte);
    if text == "0" || !text.bytes().all(is_one) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

/// Bytes, or a number with its unit: `1048576`, `1MiB`, `64 kB`.
pub(super) fn size(text: &str) -> Option<u64> {
    // `bytesize` takes `1M` for a megabyte, which may have been meant for a mebibyte.
    let is_exact = text.ends_with('B') || text.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
    // A size that is too large for its type becomes the largest.
    (is_exact && bytes < u64::MAX).then_some(bytes)
}

/// A time of RFC 3339 from 1970 on, as `2026-01-31T12:00:00Z`, or the seconds since 1970.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    // Larger numbers are milliseconds.
    const YEAR_10000: u64 = 253_402_300_800;
    if let Ok(seconds) = text.parse() {
        return (seconds < YEAR_10000).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (time >= OffsetDateTime::UNIX_EPOCH).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, millis) in [
            ("90s", 90_000),
            ("500ms", 500),
            ("30m", 1_800_000),
            ("30 m", 1_800_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            (" 30m ", 1_800_000),
            ("1h30m", 5_400_000),
            ("1d 12h 5s 1ms", 129_605_001),
            ("30m 1d", 88_200_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            " ",
            "soon",
            "m",
            "-5m",
            "+5",
            "0",
            "90",
            "1.5h",
            "5M",
            "5 y",
            "30m,",
            "18446744073709551616",
            "18446744073709551615w",
            "1m 30",
        ] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_units() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("512B", 512),
            ("64kB", 64_000),
            ("64 KiB", 65_536),
            ("1MB", 1_000_000),
            ("1MiB", 1 << 20),
            ("2GB", 2_000_000_000),
            ("1GiB", 1 << 30),
            ("1.5MiB", 3 << 19),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1M", "1mib", "-1", "1.5", "1MiB 2KiB", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_are_of_rfc_3339() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2026-11-29T16:00:00Z", 1_795_968_000_000),
            ("2026-11-29t16:00:00.123z", 1_795_968_000_123),
            ("2026-11-29 17:30:00+01:30", 1_795_968_000_000),
            ("2026-11-29T08:00:00-08:00", 1_795_968_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("1795968000", 1_795_968_000_000),
        ] {
            assert_eq!(time(text), Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "2026-11-29",
            "1795968000000",
            "2026-11-29T16:00:00",
            "2026-11-29T16:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00ZZ",
            "1969-12-31T23:59:59Z",
            "2026-1-1T00:00:00Z",
            "2026-01-01T00:00:00é",
            "é026-01-01T00",
        ] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }
}
