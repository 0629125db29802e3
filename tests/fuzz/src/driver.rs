//! Feeds a target with a corpus and with changes of it; the same input in every run.

use crate::{Run, TARGETS};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Inputs made for each target unless there is a time given: a second or two on one core.
const ROUNDS: u64 = 3000;
/// The longest input. Faults of size show long before.
const LONGEST: usize = 1 << 15;
/// How often changes are made on top of each other.
const CHANGES: u64 = 6;

/// Numbers that only look random (xorshift64*).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }
}

/// Values at which readers go wrong.
const SPECIAL: [&[u8]; 16] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0\0\0\0\0",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"9223372036854775807",
    b"../",
    b"/",
    b"\"",
    b"{",
    b"[",
    b"\\",
    b"\xf0\x9f\xa6\x80",
    b"\n",
];

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = random.below(input.len() - at + 1).min(random.below(64) + 1);
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.number() as u8,
        2 => drop(input.drain(at..at + length)),
        3 => input.truncate(at),
        4 => {
            let piece = input[at..at + length].to_vec();
            input.splice(at..at, piece);
        }
        5 => {
            let special = SPECIAL[random.below(SPECIAL.len())];
            let end = (at + special.len()).min(input.len());
            input.splice(at..end, special.iter().copied());
        }
        6 => drop(input.splice(at..at, SPECIAL[random.below(SPECIAL.len())].iter().copied())),
        _ => {
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
    input.truncate(LONGEST);
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.iter().map(|p| std::fs::read(p).expect("read the corpus")).collect()
}

/// Names an input that a target did not survive.
struct Witness<'a>(&'a str, &'a [u8]);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("wharf-fuzz-{}", self.0));
            // The panic itself is what must be seen.
            let _ = std::fs::write(&path, self.1);
            eprintln!("the input is in {}: add it to tests/fuzz/corpus/{}", path.display(), self.0);
        }
    }
}

/// Feeds one target. `WHARF_FUZZ_SECONDS` is how long for all targets together; without it, as many inputs as take a
/// moment.
///
/// # Panics
/// When the target finds a fault.
pub fn drive(target: &str) {
    let run: Run = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of this name").1;
    let seconds = std::env::var("WHARF_FUZZ_SECONDS").ok().and_then(|s| s.parse::<f64>().ok());
    let until = seconds.map(|s| Instant::now() + Duration::from_secs_f64(s / TARGETS.len() as f64));
    let seeds = corpus(target);
    for seed in &seeds {
        let _witness = Witness(target, seed);
        run(seed);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut round = 0;
    while until.map_or(round < ROUNDS, |until| Instant::now() < until) {
        round += 1;
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.number() % CHANGES {
            let other = &seeds[random.below(seeds.len())];
            change(&mut input, other, &mut random);
        }
        let _witness = Witness(target, &input);
        run(&input);
    }
}
