//! What happens, out of bytes.

use super::super::choices::Choices;

pub const KEYS: [&str; 3] = ["a", "b", "c"];
pub const OWNERS: [&str; 2] = ["ada", "bob"];

pub enum Step {
    Wait(u64),
    Revoke(usize),
    Request(Script),
}

#[derive(Debug, Clone)]
pub struct Script {
    pub client: usize,
    pub cookies: Vec<Cookie>,
    pub acts: Vec<Act>,
    /// Whether the handler answers 500.
    pub fails: bool,
}

#[derive(Debug, Clone)]
pub enum Cookie {
    /// The client's own.
    Latest,
    /// Any that was ever sent, to whomever.
    Sent(usize),
    Unknown,
    Malformed,
}

#[derive(Debug, Clone)]
pub enum Act {
    Look,
    Insert(&'static str, u64),
    Remove(&'static str),
    /// With what was found there.
    Take(&'static str, Option<u64>),
    Add(&'static str),
    /// Removes an odd value.
    Drop(&'static str),
    Flash(&'static str, u64),
    TakeFlash(&'static str, Option<u64>),
    Clear,
    Csrf,
    Idle(u64),
    SignIn(usize),
    Renew,
    Destroy,
    Commit,
    /// Another request comes and goes meanwhile.
    Nested(Script),
}

impl Step {
    pub fn of(choices: &mut Choices<'_>) -> Self {
        match choices.below(10) {
            // From within a refresh's tenth to beyond the absolute timeout.
            8 => Self::Wait([1, 30, 61, 90, 400, 2_000][choices.below(6)]),
            9 => Self::Revoke(choices.below(OWNERS.len())),
            _ => Self::Request(Script::of(choices, 2)),
        }
    }
}

impl Script {
    /// A request that reads.
    pub fn looking(cookie: Cookie) -> Self {
        Self { client: 0, cookies: vec![cookie], acts: vec![Act::Look], fails: false }
    }

    fn of(choices: &mut Choices<'_>, depth: usize) -> Self {
        let client = choices.below(3);
        let cookies = match choices.below(8) {
            0..=3 => vec![Cookie::Latest],
            4 => vec![Cookie::Sent(choices.below(256))],
            5 => vec![Cookie::Sent(choices.below(256)), Cookie::Latest],
            6 => vec![Cookie::Unknown, Cookie::Malformed, Cookie::Latest, Cookie::Sent(choices.below(256))],
            _ => vec![],
        };
        let acts = (0..choices.below(7)).map(|_| Act::of(choices, depth)).collect();
        Self { client, cookies, acts, fails: choices.below(6) == 5 }
    }
}

impl Act {
    fn of(choices: &mut Choices<'_>, depth: usize) -> Self {
        let act = choices.below(20);
        let key = KEYS[usize::from(act >= 17) + choices.below(2)];
        match act {
            0 => Self::Look,
            1 | 2 | 17 => Self::Insert(key, choices.below(4) as u64),
            3 => Self::Remove(key),
            4 => Self::Take(key, None),
            5 | 18 => Self::Add(key),
            6 => Self::Drop(key),
            7 => Self::Flash(key, choices.below(4) as u64),
            8 => Self::TakeFlash(key, None),
            9 => Self::Clear,
            10 => Self::Csrf,
            11 => Self::Idle([20, 100, 500][choices.below(3)]),
            12 => Self::SignIn(choices.below(OWNERS.len())),
            13 => Self::Renew,
            14 => Self::Destroy,
            15 => Self::Commit,
            16 | 19 if depth > 0 => Self::Nested(Script::of(choices, depth - 1)),
            _ => Self::Look,
        }
    }
}
