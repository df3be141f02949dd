//! Bytes without a fuzzer: the seeds of the fuzz targets, and random changes to them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many inputs there are unless `FUZZ_SECONDS` says how long.
const INPUTS: u64 = 1_000;

/// Runs a body on every seed and on what is made of them.
pub(crate) fn run(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        shown(body, seed);
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|seconds| seconds.parse().expect("FUZZ_SECONDS is a number"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut inputs = 0;
    while end.map_or(inputs < INPUTS, |end| Instant::now() < end) {
        // Every tenth begins with nothing; the number of an input is all that it depends on.
        let mut dice = Dice(inputs);
        let mut input = if seeds.is_empty() || inputs % 10 == 0 { Vec::new() } else { dice.pick(&seeds).clone() };
        for _ in 0..=dice.below(6) {
            dice.change(&mut input, &seeds);
        }
        shown(body, &input);
        inputs += 1;
    }
    eprintln!("{target}: {} seeds and {inputs} other inputs", seeds.len());
}

fn shown(body: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        eprintln!("the input was b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// In the repository there are some; the published package has none.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return Vec::new();
    }
    let files = std::fs::read_dir(fuzz.join("seeds").join(target)).expect("each target has seeds");
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A generator that needs nothing and always starts alike (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 32).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = self.below(input.len() + 1);
        match self.below(6) {
            0 if place < input.len() => input[place] ^= 1 << self.below(8),
            1 if place < input.len() => input[place] = self.byte(),
            2 if place < input.len() => drop(input.remove(place)),
            3 => input.truncate(place),
            4 if !seeds.is_empty() => {
                // What is behind the place comes from another seed.
                let other = self.pick(seeds);
                let from = self.below(other.len() + 1);
                input.splice(place.., other[from..].iter().copied());
            }
            _ => {
                let many: Vec<_> = (0..=self.below(64)).map(|_| self.byte()).collect();
                input.splice(place..place, many);
            }
        }
    }
}
