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
    pieces: [Piece<'a>; 3],
    max_len: usize,
    /// The values of first cookies that were joined to a text, at most as many as there are candidates.
    pub(super) joined: Vec<&'a [u8]>,
}

/// The value of a chunk.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Absent,
    Of(&'a [u8]),
    /// The chunk came with several values, so that a set with it has more than one reading.
    Ambiguous,
}

impl<'a> Chunks<'a> {
    /// Collects the chunks of all `Cookie` headers.
    ///
    /// Anything else with such a name is ignored, since another host of the domain can plant it: numbers out of range
    /// or with leading zeros, and values that are no part of a text.
    pub(super) fn collect(name: &str, request: &'a HeaderMap, shape: TokenShape) -> Self {
        let (max_len, most) = match shape {
            TokenShape::Random => (0, 1),
            TokenShape::Sealed { max_len, max_chunks } => (max_len, max_chunks),
        };
        let mut chunks = Self { pieces: [Piece::Absent; 3], max_len, joined: Vec::new() };
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
        let piece = match number {
            b"1" => &mut self.pieces[1],
            b"2" if most > 2 => &mut self.pieces[2],
            _ => return,
        };
        *piece = match *piece {
            unchanged if value.is_empty() || !is_plain(value) => unchanged,
            Piece::Absent => Piece::Of(value),
            Piece::Of(known) if known != value => Piece::Ambiguous,
            unchanged => unchanged,
        };
    }

    /// Joins a set of `count` cookies to a text. Chunks beyond the set do not count.
    ///
    /// A client may send thousands of first cookies with long pieces, so nothing is copied that is not a text.
    pub(super) fn join(&self, count: usize, first: &[u8]) -> Option<Vec<u8>> {
        let mut pieces = [first; 3];
        for (piece, found) in pieces.iter_mut().zip(&self.pieces).take(count).skip(1) {
            let Piece::Of(value) = found else { return None };
            *piece = value;
        }
        let pieces = &pieces[..count];
        let len = pieces.iter().fold(0_usize, |len, piece| len.saturating_add(piece.len()));
        (len <= self.max_len && is_plain(first)).then(|| pieces.concat())
    }
}
