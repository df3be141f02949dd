//! The table of demands names every demand and accident, that of the promises every promise, and both name tests that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../../src/guide/demands.md");
const PROMISES: &str = include_str!("../README.md");

/// How many demands each section has.
const SECTIONS: [(&str, usize); 9] =
    [("SID", 16), ("CK", 20), ("PR", 9), ("SL", 11), ("LT", 10), ("RV", 13), ("CA", 5), ("FL", 18), ("PG", 7)];

/// What has happened, by the names under which it is known.
const INCIDENTS: &str = "
    CVE-2025-46336 CVE-2025-32441 #2335 #2530 #2616 OpenAI CVE-2023-28858 CVE-2023-28859 GitHub CVE-2014-0482 #8897
    CVE-2021-34428 CVE-2016-3171 CVE-2015-8562 CVE-2015-8566 CVE-2024-38513 CVE-2018-1000519 CVE-2023-29019
    CVE-2022-25896 CVE-2018-11385 CVE-2023-46733 CVE-2015-8124 CVE-2022-38054 CVE-2012-2144 CVE-2020-5205 CVE-2007-5380
    CVE-2007-6077 #240 #348 CVE-2015-3982 CVE-2024-35220 CVE-2024-31999 CVE-2025-46344 CVE-2018-1000814 CVE-2026-56130
    CVE-2022-24444 CVE-2026-30224 CVE-2026-34454 CVE-2023-40273 CVE-2019-10641 CVE-2022-23502 CVE-2021-25970
    GHSA-2vg6-77g8-24mp CVE-2017-18878 GO-2026-5821 CVE-2025-40923 CVE-2025-40924 CVE-2025-40926 CVE-2026-3256
    CVE-2025-66630 RUSTSEC-2024-0343 GHSA-jg2x-r643-w2ch CVE-2024-52801 CVE-2019-16782 CVE-2019-25025 CVE-2013-0263
    CVE-2020-26228 CVE-2021-21339 CVE-2016-11072 CVE-2026-39324 CVE-2019-12422 CVE-2010-3332 CVE-2016-0736
    CVE-2016-4437 CVE-2023-27524 CVE-2020-17526 CVE-2026-23933 CVE-2025-47278 CVE-2026-73421 CVE-2026-73419
    CVE-2012-3458 PYSEC-2020-216 Laravel CVE-2022-46170 CVE-2023-47127 CVE-2024-3400 CVE-2025-61686 CVE-2008-0252
    CVE-2011-0698 CVE-2020-9484 CVE-2022-23181 CVE-2025-24813 CVE-2018-12538 CVE-2019-16354 CVE-2019-16355
    CPANSA-2026-13575 CVE-2011-4136 CVE-2023-30861 CVE-2026-27205 CVE-2024-26144 CVE-2012-2671 CVE-2022-24894
    CVE-2025-48947 CVE-2025-64762 Steam CVE-2014-8124 CVE-2026-43002 CVE-2015-5143 CVE-2015-5963 CVE-2015-5964
    CVE-2018-11386 CVE-2016-4423 CVE-2026-40303 GHSA-q5pr-72pq-83v3 CVE-2026-25899 CVE-2025-58186 RUSTSEC-2017-0005
    CVE-2026-73418 CVE-2024-47764 GHSA-chp3-j5qr-2vfr CVE-2023-23934 PortSwigger CVE-2025-7339";

/// The rows of the tables, as cells.
fn rows() -> Vec<Vec<&'static str>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| id |") && !line.starts_with("| what ");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    TABLE.lines().filter(is_row).map(cells).collect()
}

fn is_demand(row: &[&str]) -> bool {
    row.len() == 4
}

/// The tests of a cell: file and name.
fn tests(cell: &'static str) -> Vec<(&'static str, &'static str)> {
    let spans = cell.split('`').skip(1).step_by(2);
    spans.map(|span| span.split_once("::").unwrap_or_else(|| panic!("no test: {span}"))).collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_demand_stands_once_with_a_test() {
    let expected: BTreeSet<_> =
        SECTIONS.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}-{n}"))).collect();
    let rows: Vec<_> = rows().into_iter().filter(|row| is_demand(row)).collect();
    let found: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    let once: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!((once.len(), &once), (found.len(), &expected));
    for row in rows {
        assert!(!row[1].is_empty() && !tests(row[2]).is_empty(), "{}", row[0]);
    }
}

#[test]
fn every_accident_stands_in_the_table_with_a_test() {
    let rows: Vec<_> = rows().into_iter().filter(|row| !is_demand(row)).collect();
    for known in INCIDENTS.split_whitespace() {
        let is_whole = |text: &str| !text.starts_with(|next: char| next.is_ascii_alphanumeric());
        let names = |row: &&Vec<&str>| row[0].match_indices(known).any(|(at, _)| is_whole(&row[0][at + known.len()..]));
        assert_eq!(rows.iter().filter(names).count(), 1, "{known}");
    }
    for row in rows {
        assert!(row.len() == 3 && !row[1].is_empty() && !tests(row[2]).is_empty(), "{row:?}");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut files = BTreeMap::new();
    for row in rows() {
        for (file, name) in tests(if is_demand(&row) { row[2] } else { row[row.len() - 1] }) {
            let text = files.entry(file).or_insert_with(|| read(file));
            assert!(text.contains(&format!("fn {name}(")), "{}: {file} has no {name}", row[0]);
        }
    }
    assert!(files.len() > 30);
}

#[test]
fn every_test_of_a_demand_is_named() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demands");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if ["main.rs", "table.rs"].contains(&name.as_str()) {
            continue;
        }
        let text = read(&format!("tests/demands/{name}"));
        let tests =
            text.split("test]\n").skip(1).map(|rest| rest.split_once("fn ").unwrap().1.split('(').next().unwrap());
        for test in tests {
            count += 1;
            let span = format!("`tests/demands/{name}::{test}`");
            let in_rows = |row: &Vec<&str>| row.iter().any(|cell| cell.contains(&span));
            let of_demand = |row: &&Vec<&str>| {
                is_demand(row) && test.starts_with(&format!("{}_", row[0].to_lowercase().replace('-', "_")))
            };
            let rows = rows();
            assert!(rows.iter().any(in_rows), "{span} stands nowhere");
            if name != "incidents.rs" {
                assert!(rows.iter().filter(of_demand).any(in_rows), "{span} is not of its demand");
            }
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn every_promise_stands_once_with_tests_that_are_there() {
    let rows = PROMISES.lines().filter(|line| line.starts_with("| ") && line.contains(".rs::"));
    let rows: Vec<Vec<_>> = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let promises: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    let mut expected: Vec<_> = (1..=31).map(|number| number.to_string()).collect();
    expected.insert(26, "26a".into());
    assert_eq!(promises, expected);
    for row in rows {
        assert!(row.len() == 3 && !row[1].is_empty(), "{row:?}");
        for (file, name) in tests(row[2]) {
            assert!(
                read(&format!("tests/{file}")).contains(&format!("fn {name}(")),
                "{}: {file} has no {name}",
                row[0]
            );
        }
    }
}

#[test]
fn every_binary_stands_in_the_readme() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let binaries =
        entries.filter(|path| path.join("main.rs").exists() || path.extension().is_some_and(|end| end == "rs"));
    let mut count = 0;
    for binary in binaries {
        let name = binary.file_stem().unwrap().to_str().unwrap();
        assert!(PROMISES.contains(&format!("\n| `{name}` | ")), "{name}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
