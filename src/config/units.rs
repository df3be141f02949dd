//! Durations, sizes and times as people write them.

use std::time::{Duration, SystemTime};

/// Where years have five digits, in seconds since 1970.
pub(super) const YEAR_10000: u64 = 253_402_300_800;

/// Parts from the largest unit to the smallest: `90s`, `30m`, `1h 30m`, `500ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 6] =
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut total, mut rest, mut units) = (0_u64, text.trim(), &UNITS[..]);
    while !rest.is_empty() {
        let (number, unit, after) = part(rest)?;
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        (units, rest) = (&units[at + 1..], after.trim_start());
    }
    (units.len() < UNITS.len()).then_some(Duration::from_millis(total))
}

/// Bytes, or one number with its unit: `1048576`, `1MiB`, `64 kB`.
pub(super) fn size(text: &str) -> Option<u64> {
    if let Some(bytes) = whole(text) {
        return Some(bytes);
    }
    let (number, unit, "") = part(text)? else { return None };
    number.checked_mul(match unit {
        "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    })
}

/// Digits alone, without a sign.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A number, its unit, and what follows.
fn part(text: &str) -> Option<(u64, &str, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let rest = rest.trim_start();
    let (unit, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()));
    Some((whole(number)?, unit, rest))
}

/// A time of RFC 3339 from 1970 on, as `2026-01-31T12:00:00Z`; fractions of a second are left out.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = fields(date, b'-', [4, 2, 2])?;
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [hour, minute, second] = fields(clock, b':', [2, 2, 2])?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => match fraction.trim_start_matches(|c: char| c.is_ascii_digit()) {
            after if after.len() < fraction.len() => after,
            _ => return None,
        },
        None => rest,
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let ahead = match (rest.get(..1)?, &rest[1..]) {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), zone) => {
            let [hours, minutes] = fields(zone, b':', [2, 2])?;
            let ahead = (hours * 60 + minutes) * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if sign == "-" { -ahead } else { ahead }
        }
        _ => return None,
    };
    // Days before the first of the month in a year that begins in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - ahead;
    u64::try_from(seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Numbers of so many digits each, and nothing else between the separators.
fn fields<const N: usize>(text: &str, separator: u8, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(char::from(separator));
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let digits = parts.next().filter(|part| part.len() == width)?;
        *number = whole(digits)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(numbers)
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
            "30m7d",
            "1h1h",
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
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1M", "1mib", "-1", "1.5MiB", "1MiB 2KiB", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_are_of_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-29T16:00:00Z", 1_795_968_000),
            ("2026-11-29t16:00:00.123z", 1_795_968_000),
            ("2026-11-29 17:30:00+01:30", 1_795_968_000),
            ("2026-11-29T08:00:00-08:00", 1_795_968_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(time(text), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "2026-11-29",
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
