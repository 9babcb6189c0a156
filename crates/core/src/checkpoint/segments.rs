//! Byte ranges to read from a file: tensors of a safetensors file, or records of a zip file.

use super::errors::damaged;
use super::file::{Range, CHUNK};
use super::record_reader::RecordReader;
use super::sink::Sink;
use crate::Result;
use std::cmp::min;

/// Gaps of at least this size are skipped instead of read.
const GAP: u64 = 64 << 10;

/// A byte range that is collected in memory.
pub struct RangeBuffer {
    offset: u64,
    length: u64,
    /// The bytes so far.
    pub bytes: Vec<u8>,
}

impl RangeBuffer {
    /// The range of `length` bytes from `offset` on.
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length, bytes: Vec::new() }
    }

    /// The bytes to read next.
    pub fn next(&self) -> Range {
        let read = self.bytes.len() as u64;
        Range { offset: self.offset + read, length: min(self.length - read, CHUNK) }
    }

    /// Takes the next bytes; returns whether the range is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() as u64 >= self.length
    }
}

/// A byte range of the file that belongs to one sink.
pub struct Segment {
    /// The first byte.
    pub start: u64,
    /// The end, exclusive.
    pub end: u64,
    /// The index of the sink.
    pub sink: usize,
    /// For a record of a zip file, whose content has a header in front and may have other bytes
    /// behind it.
    pub record: Option<RecordReader>,
}

/// Pieces in the order of their offsets, without overlaps, and the progress of reading.
pub struct Segments {
    list: Vec<Segment>,
    /// The index of the first segment that is not complete.
    at: usize,
    /// The offset of the next byte.
    position: u64,
}

impl Segments {
    /// `list` must be ordered by offset.
    pub fn new(list: Vec<Segment>) -> Self {
        let position = list.first().map_or(0, |segment| segment.start);
        let mut segments = Self { list, at: 0, position };
        segments.settle();
        segments
    }

    /// Skips complete segments, and a gap that is not worth reading.
    fn settle(&mut self) {
        while self.list.get(self.at).is_some_and(|segment| self.position >= segment.end) {
            self.at += 1;
        }
        if let Some(segment) = self.list.get(self.at) {
            if segment.start >= self.position.saturating_add(GAP) {
                self.position = segment.start;
            }
        }
    }

    /// The bytes to read next; `None` once all segments are complete.
    pub fn next(&self) -> Option<Range> {
        let mut end = self.position;
        for segment in self.list.get(self.at..)? {
            if segment.start >= end.saturating_add(GAP) || end - self.position >= CHUNK {
                break;
            }
            end = segment.end;
        }
        let length = min(end - self.position, CHUNK);
        (length > 0).then_some(Range { offset: self.position, length })
    }

    /// Distributes the bytes that `next` has requested to the sinks.
    pub fn feed(&mut self, mut bytes: &[u8], sinks: &mut [Sink]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(segment) = self.list.get_mut(self.at) else { return Ok(()) };
            let until = if self.position < segment.start { segment.start } else { segment.end };
            let (own, rest) =
                bytes.split_at(min(until - self.position, bytes.len() as u64) as usize);
            if let Some(sink) =
                sinks.get_mut(segment.sink).filter(|_| self.position >= segment.start)
            {
                match &mut segment.record {
                    None => sink.push(own)?,
                    Some(record) => record.take(own, sink)?,
                }
                if let (true, Some(record)) =
                    (self.position + own.len() as u64 == segment.end, &segment.record)
                {
                    record.check_whole(sink)?;
                }
            }
            self.position += own.len() as u64;
            bytes = rest;
            // skips no gap within `bytes`, since `next` does not request any
            self.settle();
        }
        Ok(())
    }

    /// The end of the last segment.
    pub fn end(&self) -> u64 {
        self.list.last().map_or(self.position, |segment| segment.end)
    }

    /// The error for a source that has ended at `position`.
    pub fn cut(&self, what: &str, position: u64, sinks: &[Sink]) -> crate::Error {
        let name = self
            .list
            .get(self.at)
            .and_then(|segment| sinks.get(segment.sink))
            .map_or("", |sink| &sink.name);
        damaged(format!(
            "this is no whole {what}: it ends after {position} bytes, in the middle of {name}"
        ))
    }
}
