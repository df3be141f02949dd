//! Tests of the record's bytes.

use super::*;

fn sample() -> Record {
    Record {
        created: 1_000_000,
        seen: 2,
        deadline: 3,
        absolute: 4_000_000,
        idle: 5,
        signed_in: 6,
        sign_in: 10,
        began: Began::default(),
        renewed: 0,
        version: Version::new(7).unwrap(),
        handle: SessionHandle::from_bytes([8; 16]),
        owner: Some("ada".into()),
        csrf: [9; CSRF_LEN],
        csrf_handed_out: true,
        flash: Values::from_sorted(vec![Entry::new("note", "\"hi\"")]),
        values: Values::from_sorted(vec![Entry::new("a", "1"), Entry::new("é", "{}")]),
        extensions: Extensions::default(),
    }
}

fn decode(body: &[u8]) -> Result<Record, DecodeError> {
    Record::decode(sample().head(), body)
}

#[test]
fn the_format_is_pinned() {
    let mut golden = vec![2, 1 + 2 + 4 + 8 + 32];
    // A second, three seconds, five microseconds, 999,994 microseconds back.
    golden.extend([1 << 2, 3 << 2, 5 << 2 | 2, 0xeb, 0x91, 0xf4, 0x01]);
    golden.extend([9; 24]);
    golden.extend(b"\x01\x04\x04note\"hi\"");
    golden.extend(b"\x02\x01\x01a1\x02\x02\xc3\xa9{}");
    assert_eq!(sample().encode(), golden);
    assert_eq!(decode(&golden), Ok(sample()));

    golden[1] |= 16;
    golden.insert(9, 10);
    let renewed = Record { renewed: 10, ..sample() };
    assert_eq!(renewed.encode(), golden);
    assert_eq!(decode(&golden), Ok(renewed));
}

#[test]
fn an_absent_field_takes_no_byte() {
    assert_eq!(Record::blank().encode(), [2, 0, 0, 0, 0]);
    assert_eq!(Record::decode(Record::blank().head(), &[2, 0, 0, 0, 0]), Ok(Record::blank()));
    for (what, body) in [
        ("idle", &[2, IDLE, 0, 0, 0, 0][..]),
        ("sign-in", &[2, SIGNED_IN, 0, 0, 0, 0]),
        ("renewed", &[2, RENEWED, 0, 0, 0, 0]),
        ("flash", &[2, FLASH, 0, 0, 0, 0]),
        ("extensions", &[2, EXTENSIONS, 0, 0, 0]),
        ("secret", &[&[2, CSRF, 0, 0][..], &[0; CSRF_LEN], &[0]].concat()),
    ] {
        assert!(decode(body).is_err(), "{what}: one form only");
    }
}

#[test]
fn every_time_survives_in_one_form() {
    let year_9999 = 253_402_300_799_999_999;
    let times = [0, 1, 999_999, 1_000_000, 1_767_225_600_000_001, year_9999, u64::MAX];
    for created in times {
        for other in times {
            let record = Record { created, absolute: other, idle: other, signed_in: other, ..sample() };
            assert_eq!(decode(&record.encode()), Ok(record.clone()));
            assert!(record.encode().len() + "ada".len() <= record.encoded_len());
        }
    }
    for (what, absolute) in [
        ("a second as microseconds", &[0x82, 0x92, 0xf4, 0x01][..]),
        ("no time, backwards", &[1]),
        ("before the epoch", &[5]),
        ("a number of more bytes than it needs", &[0x84, 0]),
        ("beyond 64 bits", &[0xff; 10]),
        ("without an end", &[0xff; 12]),
    ] {
        assert!(decode(&[&[2, 0, 0], absolute, &[0]].concat()).is_err(), "{what}");
    }
    assert!(decode(&[2, 0, 0, 4, 0]).is_ok());
}

#[test]
fn the_bound_holds_and_no_renewal_reaches_it() {
    let long = |len: usize| Entry::new(&"k".repeat(len), &format!("\"{}\"", "x".repeat(len)));
    for len in [0, 1, 125, 126, 127, 128, 16_381, 16_384] {
        let record = Record { values: Values::from_sorted(vec![long(len)]), ..sample() };
        let renewed = Record { renewed: u32::MAX, csrf: [1; CSRF_LEN], ..record.clone() };
        assert!(renewed.encode().len() + "ada".len() <= record.encoded_len());
        assert_eq!(renewed.encoded_len(), record.encoded_len());
        assert_eq!(record.encoded_len(), sample().encoded_len() - 8 - 6 + 2 * len + 2);
    }
}

#[test]
fn an_extension_that_nobody_knows_is_kept_unless_a_reader_has_to_know_it() {
    let with = |extensions: &[u8]| {
        let mut body = sample().encode();
        body[1] |= EXTENSIONS;
        body.extend_from_slice(extensions);
        body
    };
    for extensions in [&[0, 0][..], &[2, 1, 9], &[2, 1, 9, 4, 2, 7, 7]] {
        let record = decode(&with(extensions)).unwrap();
        assert_eq!(record.encode(), with(extensions));
        assert!(record.encode().len() + "ada".len() <= record.encoded_len());
        assert_ne!(record, sample());
    }
    assert_eq!(decode(&with(&[3, 1, 9])), Err(DecodeError("of a newer format")));
    assert_eq!(decode(&with(&[2, 0, 5, 0])), Err(DecodeError("of a newer format")));
    for strange in [&[][..], &[2], &[2, 1], &[2, 0x80, 0], &[4, 0, 2, 0], &[2, 0, 2, 0], &[2, 0, 1]] {
        assert!(decode(&with(strange)).is_err(), "{strange:?}");
    }
}

#[test]
fn corrupt_bytes_are_an_error_and_never_a_panic() {
    let whole = sample().encode();
    for end in 0..whole.len() {
        assert!(decode(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut changed = whole.clone();
            changed[at] = byte;
            if let Ok(record) = decode(&changed) {
                assert_eq!(record.encode(), changed, "one form only");
            }
        }
    }
    let error = decode(&[]).unwrap_err();
    assert_eq!(error.to_string(), "stored session cannot be read: cut off");
    assert!(decode(&[&whole[..], &[0]].concat()).is_err());
    for format in [0, 1, 3] {
        assert!(decode(&[&[format], &whole[1..]].concat()).is_err(), "an older or a newer format");
    }
    assert!(decode(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "a huge count");
    assert!(decode(&[2, 0x80, 0, 0, 0]).is_err(), "an unknown flag");
}

#[test]
fn debug_shows_no_value_and_no_owner() {
    let shown = format!("{:?}", sample());
    assert!(!shown.contains("hi") && !shown.contains("ada") && !shown.contains("note"), "{shown}");
    assert!(shown.starts_with("Record {") && shown.contains("has_owner: true, keys: 2"), "{shown}");
}
