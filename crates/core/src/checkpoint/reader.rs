//! Reads a file of tensors without file access: requests the bytes that it needs next, and receives
//! them.
//!
//! One state machine serves all formats, so that paths, Blobs, streams and byte arrays are read in
//! the same way, synchronously or asynchronously.

use super::assemble::assemble;
use super::errors::damaged;
use super::file::{File, Range, Settings, TensorPlan};
use super::segments::{RangeBuffer, Segments};
use super::sink::Sink;
use super::zip::{Directory, End, Record};
use super::{header, optimizer, pickle, select, torch, truncated, zip};
use crate::{Error, Result};
use std::cmp::min;
use std::collections::HashMap;

/// The number of bytes from which the format is detected; a smaller file is read at once.
const START: u64 = 64;

/// The part of the file that is being read.
enum Phase {
    /// The first bytes, from which the format is detected.
    Start(RangeBuffer),
    /// A zip file whose size is not known yet.
    Unsized,
    /// The header of a safetensors file.
    Header(RangeBuffer),
    /// The last bytes of a zip file.
    Tail(RangeBuffer),
    /// The beginning of a zip file whose end is missing, and the error.
    Truncated(RangeBuffer, Error),
    /// The end record of the directory of a large zip file.
    End64(RangeBuffer),
    /// The directory of a zip file.
    Directory(RangeBuffer, Directory),
    /// The pickle that describes the tensors.
    Preamble(torch::Archive, Segments),
    /// The values, and the name of the format.
    Data(Segments, &'static str),
    /// A check that the file ends at this offset.
    Rest(u64),
    /// All bytes have been read.
    Done,
    /// An error has occurred.
    Failed,
}

/// A file of tensors that is being read.
pub struct Reader {
    settings: Settings,
    phase: Phase,
    metadata: HashMap<String, String>,
    plans: Vec<TensorPlan>,
    sinks: Vec<Sink>,
    /// Scalar tensors whose values are in the description itself.
    numbers: Vec<(String, f64)>,
}

const SAFETENSORS: &str = "safetensors file";
const TORCH: &str = "zip file of PyTorch";

impl Reader {
    /// A reader at the beginning of a file.
    pub fn new(settings: Settings) -> Self {
        let start = RangeBuffer::new(0, settings.size.map_or(START, |size| min(size, START)));
        Self {
            settings,
            phase: Phase::Start(start),
            metadata: HashMap::new(),
            plans: Vec::new(),
            sinks: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Whether reading continues only after [`Reader::set_size`]: the file has its directory at the
    /// end, and its bytes are then requested in any order.
    pub fn needs_size(&self) -> bool {
        matches!(self.phase, Phase::Unsized)
    }

    /// Sets the size of the file in bytes, if it was not known at first.
    pub fn set_size(&mut self, size: u64) {
        self.settings.size = Some(size);
        if self.needs_size() {
            self.phase = Self::tail(size);
        }
    }

    /// Starts with the end of a zip file of this size.
    fn tail(size: u64) -> Phase {
        let length = min(size, zip::TAIL);
        Phase::Tail(RangeBuffer::new(size - length, length))
    }

    /// The bytes to read next; `None` once all have been read.
    pub fn next(&self) -> Option<Range> {
        match &self.phase {
            Phase::Start(buffer)
            | Phase::Header(buffer)
            | Phase::Tail(buffer)
            | Phase::End64(buffer) => Some(buffer.next()),
            Phase::Directory(buffer, _) | Phase::Truncated(buffer, _) => Some(buffer.next()),
            Phase::Preamble(_, segments) | Phase::Data(segments, _) => segments.next(),
            Phase::Rest(offset) => Some(Range { offset: *offset, length: 1 }),
            Phase::Unsized | Phase::Done | Phase::Failed => None,
        }
    }

    /// Takes the bytes that `next` has requested; fewer if the file ends before.
    ///
    /// # Errors
    /// The file is damaged or not supported, or memory does not suffice.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(range) = self.next() else {
            return Err(Error::Internal("nothing more was to be read".into()));
        };
        let length = bytes.len() as u64;
        if length > range.length {
            return Err(Error::Internal("more was read than was asked for".into()));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Failed);
        let ended = (length < range.length).then_some(range.offset + length);
        self.phase = self.advance(phase, bytes, ended)?;
        Ok(())
    }

    /// The next phase. `ended` is the size of the file, if it has ended before the requested bytes.
    fn advance(&mut self, phase: Phase, bytes: &[u8], ended: Option<u64>) -> Result<Phase> {
        match (phase, ended) {
            (Phase::Start(mut buffer), _) => {
                buffer.feed(bytes);
                self.detect(buffer.bytes)
            }
            (Phase::Rest(end), Some(_)) => Ok(self.done(end)),
            (Phase::Rest(end), None) => Err(header::too_long(end)),
            (Phase::Data(mut segments, what), Some(at)) => {
                segments.feed(bytes, &mut self.sinks)?;
                Err(segments.cut(what, at, &self.sinks))
            }
            (phase, Some(at)) => Err(Self::cut(&phase, at)),
            (Phase::Header(mut buffer), None) => match buffer.feed(bytes) {
                true => self.header(&buffer.bytes[8..]),
                false => Ok(Phase::Header(buffer)),
            },
            (Phase::Data(mut segments, what), None) => {
                segments.feed(bytes, &mut self.sinks)?;
                Ok(Phase::Data(segments, what)).map(|phase| self.settled(phase))
            }
            (phase, None) => self.advance_zip(phase, bytes),
        }
    }

    /// Detects the format from the first bytes.
    fn detect(&mut self, start: Vec<u8>) -> Result<Phase> {
        if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            return Ok(self.settings.size.map_or(Phase::Unsized, Self::tail));
        }
        torch::refuse_pickles(&start)?;
        let length = 8 + header::length(&start, self.settings.size)?;
        let mut buffer = RangeBuffer::new(0, length);
        let own = min(start.len() as u64, length) as usize;
        buffer.feed(&start[..own]);
        if (own as u64) < length {
            return Ok(Phase::Header(buffer));
        }
        let phase = self.header(&buffer.bytes[8..])?;
        self.first_values(phase, &start[own..])
    }

    /// Processes values that were read together with the header of a small file.
    fn first_values(&mut self, phase: Phase, mut bytes: &[u8]) -> Result<Phase> {
        let mut phase = phase;
        while let (Phase::Data(segments, _), false) = (&mut phase, bytes.is_empty()) {
            let wanted =
                segments.next().map_or(0, |range| min(range.length, bytes.len() as u64)) as usize;
            segments.feed(&bytes[..wanted], &mut self.sinks)?;
            bytes = &bytes[wanted..];
            phase = self.settled(phase);
        }
        match phase {
            Phase::Rest(end) if !bytes.is_empty() => Err(header::too_long(end)),
            phase => Ok(phase),
        }
    }

    /// Reads the header of a safetensors file.
    fn header(&mut self, json: &[u8]) -> Result<Phase> {
        let contents = header::read(json, self.settings.size, self.settings.widen)?;
        (self.metadata, self.plans, self.sinks) =
            (contents.metadata, contents.plans, contents.sinks);
        let data = Phase::Data(Segments::new(contents.segments), SAFETENSORS);
        // if the size is known, the header was checked against it, so nothing follows the last
        // tensor
        Ok(match self.settled(data) {
            Phase::Rest(_) => self.done_or_rest(contents.end),
            phase => phase,
        })
    }

    /// The next phase, if the last segment is complete.
    fn settled(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Data(segments, what) if segments.next().is_none() => match what {
                SAFETENSORS => self.done_or_rest(segments.end()),
                _ => Phase::Done,
            },
            phase => phase,
        }
    }

    /// Whether the file ends at `end` is checked only if its size is not known.
    fn done_or_rest(&mut self, end: u64) -> Phase {
        match self.settings.size {
            Some(_) => self.done(end),
            None => Phase::Rest(end),
        }
    }

    /// The end, with the size of the file now known.
    fn done(&mut self, end: u64) -> Phase {
        self.settings.size = Some(end);
        Phase::Done
    }

    /// The next phase of a zip file.
    fn advance_zip(&mut self, phase: Phase, bytes: &[u8]) -> Result<Phase> {
        let size = self.settings.size.unwrap_or(0);
        Ok(match phase {
            Phase::Tail(mut buffer) => match buffer.feed(bytes) {
                false => Phase::Tail(buffer),
                true => match zip::find_end(&buffer.bytes, size) {
                    Err(error) => Phase::Truncated(
                        RangeBuffer::new(0, min(size, truncated::HEAD_LENGTH)),
                        error,
                    ),
                    Ok(End::Directory(directory)) => self.directory(directory)?,
                    Ok(End::Zip64(at)) if at.saturating_add(zip::END64) <= size => {
                        Phase::End64(RangeBuffer::new(at, zip::END64))
                    }
                    Ok(End::Zip64(_)) => {
                        return Err(damaged(
                            "this zip file is damaged: its end points behind it".into(),
                        ))
                    }
                },
            },
            Phase::End64(mut buffer) => match buffer.feed(bytes) {
                false => Phase::End64(buffer),
                true => self.directory(zip::read_end64(&buffer.bytes, size)?)?,
            },
            Phase::Directory(mut buffer, directory) => match buffer.feed(bytes) {
                false => Phase::Directory(buffer, directory),
                true => self.records(zip::records(&buffer.bytes, &directory)?)?,
            },
            Phase::Truncated(mut buffer, error) => match buffer.feed(bytes) {
                false => Phase::Truncated(buffer, error),
                true => {
                    return Err(truncated::explain(
                        &buffer.bytes,
                        size,
                        self.settings.key.as_deref(),
                    )
                    .unwrap_or(error))
                }
            },
            Phase::Preamble(zip, mut segments) => {
                segments.feed(bytes, &mut self.sinks)?;
                match segments.next() {
                    Some(_) => Phase::Preamble(zip, segments),
                    None => self.contents(&zip)?,
                }
            }
            _ => return Err(Error::Internal("bytes came too late".into())),
        })
    }

    /// Reads the directory of a zip file.
    fn directory(&mut self, directory: Directory) -> Result<Phase> {
        match directory.length {
            0 => self.records(Vec::new()),
            length => Ok(Phase::Directory(RangeBuffer::new(directory.offset, length), directory)),
        }
    }

    /// Reads the description of the tensors.
    fn records(&mut self, records: Vec<Record>) -> Result<Phase> {
        let folder = torch::folder(&records)?;
        let (sinks, segments) = torch::preamble(&records, &folder)?;
        self.sinks = sinks;
        Ok(Phase::Preamble(torch::Archive { records, folder }, Segments::new(segments)))
    }

    /// From the pickle, plans the storages to read.
    fn contents(&mut self, zip: &torch::Archive) -> Result<Phase> {
        let mut preamble = std::mem::take(&mut self.sinks).into_iter();
        let described = preamble.next().map_or(Ok(Vec::new()), Sink::into_bytes)?;
        if let Some(order) = preamble.next() {
            torch::check_byte_order(&order.into_bytes()?)?;
        }
        let pickle = pickle::read(&described)?;
        let key = self.settings.key.as_deref();
        let selected = match self.settings.optimizer {
            false => select::weights(&pickle, key)?,
            true => {
                let state = optimizer::read(&pickle, key)?;
                self.numbers = state.numbers;
                self.metadata.insert("optimizer".into(), "torch".into());
                self.metadata.insert("param_groups".into(), state.groups.to_string());
                state.tensors
            }
        };
        let (plans, sinks, segments) = torch::contents(&selected, zip, self.settings.widen)?;
        (self.plans, self.sinks) = (plans, sinks);
        Ok(self.settled(Phase::Data(Segments::new(segments), TORCH)))
    }

    /// The error for a source that has ended at offset `at`.
    fn cut(phase: &Phase, at: u64) -> Error {
        let (what, inside) = match phase {
            Phase::Header(_) => (SAFETENSORS, ", in the middle of its header"),
            _ => (TORCH, ""),
        };
        damaged(format!("this is no whole {what}: it ends after {at} bytes{inside}"))
    }

    /// The tensors, once all bytes have been read.
    pub fn finish(self) -> Result<File> {
        if !matches!(self.phase, Phase::Done) {
            return Err(Error::Internal("the file was not read to its end".into()));
        }
        let tensors = assemble(self.plans, self.sinks, self.numbers)?;
        Ok(File { tensors, metadata: self.metadata })
    }
}
