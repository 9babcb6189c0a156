//! What is read from a file, by its place: tensors of a safetensors file, records of a zip.

use super::data::Sink;
use super::errors::damaged;
use super::file::{Range, CHUNK};
use super::local::LocalHeader;
use crate::Result;
use std::cmp::min;

/// Gaps from this size on are not read.
const GAP: u64 = 64 << 10;

/// Bytes that are read as a whole.
pub struct Whole {
    offset: u64,
    length: u64,
    pub bytes: Vec<u8>,
}

impl Whole {
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length, bytes: Vec::new() }
    }

    pub fn next(&self) -> Range {
        let read = self.bytes.len() as u64;
        Range { offset: self.offset + read, length: min(self.length - read, CHUNK) }
    }

    /// Whether all are there.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() as u64 >= self.length
    }
}

/// Bytes from `start` to `end` that belong to one sink.
pub struct Piece {
    pub start: u64,
    pub end: u64,
    /// The number of the sink.
    pub sink: usize,
    /// In a zip: its bytes begin with a header, and may be followed by others.
    pub record: Option<LocalHeader>,
}

/// Pieces in the order of their places, of which none overlap, and how far they have been read.
pub struct Pieces {
    list: Vec<Piece>,
    /// The first that is not whole.
    at: usize,
    position: u64,
}

impl Pieces {
    /// `list` is in order.
    pub fn new(list: Vec<Piece>) -> Self {
        let position = list.first().map_or(0, |piece| piece.start);
        let mut pieces = Self { list, at: 0, position };
        pieces.settle();
        pieces
    }

    /// Passes over what is whole, and over a gap that is not worth reading.
    fn settle(&mut self) {
        while self.list.get(self.at).is_some_and(|piece| self.position >= piece.end) {
            self.at += 1;
        }
        if let Some(piece) = self.list.get(self.at) {
            if piece.start >= self.position.saturating_add(GAP) {
                self.position = piece.start;
            }
        }
    }

    /// The bytes to read next.
    pub fn next(&self) -> Option<Range> {
        let mut end = self.position;
        for piece in self.list.get(self.at..)? {
            if piece.start >= end.saturating_add(GAP) || end - self.position >= CHUNK {
                break;
            }
            end = piece.end;
        }
        let length = min(end - self.position, CHUNK);
        (length > 0).then_some(Range { offset: self.position, length })
    }

    /// Gives each sink its share of the bytes that `next` has asked for.
    pub fn feed(&mut self, mut bytes: &[u8], sinks: &mut [Sink]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(piece) = self.list.get_mut(self.at) else { return Ok(()) };
            let until = if self.position < piece.start { piece.start } else { piece.end };
            let (own, rest) = bytes.split_at(min(until - self.position, bytes.len() as u64) as usize);
            if let Some(sink) = sinks.get_mut(piece.sink).filter(|_| self.position >= piece.start) {
                match &mut piece.record {
                    None => sink.push(own)?,
                    Some(record) => record.take(own, sink)?,
                }
                if let (true, Some(record)) = (self.position + own.len() as u64 == piece.end, &piece.record) {
                    record.check_whole(sink)?;
                }
            }
            self.position += own.len() as u64;
            bytes = rest;
            // never over a gap within `bytes`: `next` asks for none
            self.settle();
        }
        Ok(())
    }

    /// Where the last one ends.
    pub fn end(&self) -> u64 {
        self.list.last().map_or(self.position, |piece| piece.end)
    }

    /// An error for a source that has ended at `position`.
    pub fn cut(&self, what: &str, position: u64, sinks: &[Sink]) -> crate::Error {
        let name = self.list.get(self.at).and_then(|piece| sinks.get(piece.sink)).map_or("", |sink| &sink.name);
        damaged(format!("this is no whole {what}: it ends after {position} bytes, in the middle of {name}"))
    }
}
