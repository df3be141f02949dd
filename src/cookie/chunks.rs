//! A token's text that is spread over several cookies.

use std::ops::ControlFlow;

use http::header::HeaderMap;

use super::pairs::{each_pair, trim};
use crate::token::{TokenShape, is_plain};

/// The suffix of the name for each cookie of a set.
pub(super) const SUFFIXES: [&str; 3] = ["", ".1", ".2"];

/// Returns the suffixes of all cookies over which a text may be spread.
pub(super) fn suffixes(shape: TokenShape) -> &'static [&'static str] {
    match shape {
        TokenShape::Random => &SUFFIXES[..1],
        TokenShape::Sealed { max_chunks, .. } => &SUFFIXES[..usize::from(max_chunks).clamp(1, 3)],
    }
}

/// The second and third cookies of a token whose text is spread over several cookies.
pub(super) struct Chunks<'a> {
    pieces: [Option<&'a [u8]>; 3],
    max_len: usize,
    /// The values of first cookies that were joined to a text, at most as many as there are candidates.
    pub(super) joined: Vec<&'a [u8]>,
    /// True if there is a chunk that belongs to no set: its number is out of range, has a leading zero, or came before.
    strange: bool,
}

impl<'a> Chunks<'a> {
    /// Collects the chunks of all `Cookie` headers. Chunks beyond the shape's number, left from a larger number, do not
    /// count.
    pub(super) fn collect(name: &str, request: &'a HeaderMap, shape: TokenShape) -> Self {
        let (max_len, most) = match shape {
            TokenShape::Random => (0, 1),
            TokenShape::Sealed { max_len, max_chunks } => (max_len, max_chunks),
        };
        let mut chunks = Self { pieces: [None; 3], max_len, joined: Vec::new(), strange: false };
        let _ = each_pair(request, |pair| {
            if let Some(rest) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b".")) {
                chunks.add(rest, most);
            }
            ControlFlow::Continue(())
        });
        chunks
    }

    /// Adds a chunk whose pair, without the name and the dot, is `rest`.
    fn add(&mut self, rest: &'a [u8], most: u8) {
        let Some(at) = rest.iter().position(|byte| *byte == b'=') else { return };
        if let [b' ' | b'\t', ..] = rest {
            // White space inside a name makes it another name.
            return;
        }
        let (number, value) = (trim(&rest[..at]), trim(&rest[at + 1..]));
        let slot = match number {
            b"1" => &mut self.pieces[1],
            b"2" if most > 2 => &mut self.pieces[2],
            b"2" => return,
            _ => {
                self.strange |= !number.is_empty() && number.iter().all(u8::is_ascii_digit);
                return;
            }
        };
        self.strange |= slot.replace(value).is_some() || !is_plain(value);
    }

    /// Returns whether the chunks are exactly those of a set of `count` cookies.
    pub(super) fn is_exactly(&self, count: usize) -> bool {
        !self.strange && (1..3).all(|chunk| self.pieces[chunk].is_some() == (chunk < count))
    }

    /// Joins a set of `count` cookies to a text.
    ///
    /// A client may send thousands of first cookies with long pieces, so nothing is copied that is not a text.
    pub(super) fn join(&self, count: usize, first: &[u8]) -> Option<Vec<u8>> {
        let len = self.pieces.iter().flatten().fold(first.len(), |len, piece| len.saturating_add(piece.len()));
        if !self.is_exactly(count) || len > self.max_len || !is_plain(first) {
            return None;
        }
        let mut text = Vec::with_capacity(len);
        text.extend_from_slice(first);
        self.pieces.iter().flatten().for_each(|piece| text.extend_from_slice(piece));
        Some(text)
    }
}
