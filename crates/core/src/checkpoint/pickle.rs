//! The pickles in PyTorch's files, as data: a machine that knows the instructions which PyTorch writes, and a few names.
//!
//! Nothing is executed. A pickle asks for functions by name; here each name is either a [`Global`],
//! whose calls only put values together, or an error. Values stand in a list and refer to each
//! other by number, so that no depth of nesting needs a deep stack.

use super::global::Global;
use super::global::SHORT;
use super::value::{damaged_pickle, reduce, Id, Value};
use crate::Result;
use std::collections::HashMap;
use xt_kernels::memory;

/// The values of a pickle.
pub struct Pickle {
    pub values: Vec<Value>,
    pub root: Id,
    /// In bytes; what comes after is not looked at.
    pub length: usize,
}

/// Reads a pickle.
pub fn read(bytes: &[u8]) -> Result<Pickle> {
    // no instruction makes more than a value, a place on the stack and one in the memo
    memory::check("the description of the tensors in this file", (bytes.len() as u64).saturating_mul(192))?;
    let mut machine = Machine { bytes, left: bytes.len(), ..Machine::default() };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { values: machine.values, root, length: machine.at })
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many numbers the shapes of further tensors may have: a few bytes can ask for the same tensor again and again.
    left: usize,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| damaged_pickle("it ends too early"))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    /// A whole number of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N as u64)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn text(&mut self, length: u64) -> Result<String> {
        let bytes = self.take(length)?;
        // what is no UTF-8 can be no name of a tensor
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn line(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'\n').ok_or_else(|| damaged_pickle("it ends too early"))?;
        let line = self.text(length as u64)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    /// Takes the value on top, which must lie above the last mark.
    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = (self.stack.len() > floor).then(|| self.stack.pop()).flatten();
        top.ok_or_else(|| damaged_pickle("its stack is empty"))
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or_else(|| damaged_pickle("its stack is empty"))
    }

    /// Everything above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| damaged_pickle("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>> {
        let mut ids = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        ids.reverse();
        Ok(ids)
    }

    fn put(&mut self, place: u64) -> Result<bool> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(true)
    }

    fn get(&mut self, place: u64) -> Result<bool> {
        let id = self.memo.get(&place).copied();
        self.stack.push(id.ok_or_else(|| damaged_pickle("it refers to a value that is not there"))?);
        Ok(true)
    }

    fn value(&mut self, value: Value) -> Result<bool> {
        self.push(value);
        Ok(true)
    }

    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool> {
        let code = self.number::<1>()? as u8;
        match code {
            b'.' => Ok(false),
            0x80 => self.take(1).map(|_| true), // PROTO
            0x95 => self.take(8).map(|_| true), // FRAME
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(true)
            }
            b'0' => self.pop().map(|_| true),
            b'1' => self.above_mark().map(|_| true),
            b'q' => self.number::<1>().and_then(|place| self.put(place)),
            b'r' => self.number::<4>().and_then(|place| self.put(place)),
            0x94 => self.put(self.memo.len() as u64), // MEMOIZE
            b'h' => self.number::<1>().and_then(|place| self.get(place)),
            b'j' => self.number::<4>().and_then(|place| self.get(place)),
            _ => match self.literal(code)? {
                Some(value) => self.value(value),
                None => self.combine(code),
            },
        }
    }

    /// A value that stands in the pickle itself.
    fn literal(&mut self, code: u8) -> Result<Option<Value>> {
        Ok(Some(match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(code == 0x88),
            b'J' => Value::Int(i64::from(self.number::<4>()? as u32 as i32)),
            b'K' => Value::Int(self.number::<1>()? as i64),
            b'M' => Value::Int(self.number::<2>()? as i64),
            0x8a => {
                let length = self.number::<1>()?;
                self.long(length)?
            }
            0x8b => {
                let length = self.number::<4>()?;
                self.long(length)?
            }
            // the one number that stands there with its first byte first
            b'G' => Value::Float(f64::from_bits(self.number::<8>()?.swap_bytes())),
            b'X' => {
                let length = self.number::<4>()?;
                Value::Text(self.text(length)?)
            }
            0x8c => {
                let length = self.number::<1>()?;
                Value::Text(self.text(length)?)
            }
            0x8d => {
                let length = self.number::<8>()?;
                Value::Text(self.text(length)?)
            }
            b'B' | b'T' => {
                let length = self.number::<4>()?;
                self.take(length).map(|_| Value::Other)? // bytes
            }
            0x8e | 0x96 => {
                let length = self.number::<8>()?;
                self.take(length).map(|_| Value::Other)?
            }
            b'C' | b'U' => {
                let length = self.number::<1>()?;
                self.take(length).map(|_| Value::Other)?
            }
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            0x8f => Value::Other, // a set
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::Global(Global::named(&module, &name)?)
            }
            _ => return Ok(None),
        }))
    }

    /// A whole number of `length` bytes; those that i64 does not hold are no sizes.
    fn long(&mut self, length: u64) -> Result<Value> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        match wide.get_mut(..bytes.len()) {
            None => Ok(Value::Other),
            Some(low) => {
                low.copy_from_slice(bytes);
                Ok(Value::Int(i64::from_le_bytes(wide)))
            }
        }
    }

    /// Makes a value of others, or adds others to one.
    fn combine(&mut self, code: u8) -> Result<bool> {
        match code {
            b't' => {
                let items = self.above_mark()?;
                self.value(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.value(Value::Tuple(items))
            }
            b'l' => {
                let items = self.above_mark()?;
                self.value(Value::List(items))
            }
            b'd' => {
                let items = self.above_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.add(&items)
            }
            b'a' => self.last(1).and_then(|items| self.add(&items)),
            b's' => self.last(2).and_then(|items| self.add(&items)),
            b'e' | b'u' | 0x90 => self.above_mark().and_then(|items| self.add(&items)),
            0x91 => {
                self.above_mark()?; // a frozen set
                self.value(Value::Other)
            }
            0x93 => self.global_of_stack(),
            b'Q' => {
                let id = self.pop()?;
                let storage = Value::storage(&self.values, id)?;
                self.value(storage)
            }
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            _ => Err(damaged_pickle(&format!("0x{code:02x} is no instruction that PyTorch writes"))),
        }
    }

    /// Adds values to the list, dict or set on top.
    fn add(&mut self, items: &[Id]) -> Result<bool> {
        let top = self.top()?;
        match self.values.get_mut(top) {
            Some(Value::List(list)) => list.extend_from_slice(items),
            Some(Value::Dict(pairs)) if items.len().is_multiple_of(2) => {
                pairs.extend(items.chunks(2).map(|p| (p[0], p[1])))
            }
            Some(Value::Other) => {}
            _ => return Err(damaged_pickle("it adds values to something that takes none")),
        }
        Ok(true)
    }

    fn global_of_stack(&mut self) -> Result<bool> {
        let ids = self.last(2)?;
        match (&self.values[ids[0]], &self.values[ids[1]]) {
            (Value::Text(module), Value::Text(name)) => {
                let global = Global::named(module, name)?;
                self.value(Value::Global(global))
            }
            _ => Err(damaged_pickle("a name is no text")),
        }
    }

    fn call(&mut self) -> Result<bool> {
        let ids = self.last(2)?;
        let value = reduce(&self.values, ids[0], ids[1])?;
        let size = match &value {
            // the name of its storage is copied too: a short one counts as the tensor itself
            Value::Tensor(view) => 2 * view.shape.len() + 4 + view.storage.key.len() / SHORT,
            Value::Dict(pairs) => pairs.len(),
            Value::Tuple(items) => items.len(),
            _ => 0,
        };
        let left = self.left.checked_sub(size);
        self.left = left.ok_or_else(|| damaged_pickle("it has more tensors than its size allows"))?;
        self.value(value)
    }

    /// Attributes of an object: of state dicts and tensors none matter.
    fn build(&mut self) -> Result<bool> {
        self.pop()?;
        match self.values.get(self.top()?) {
            Some(Value::Dict(_) | Value::Tensor(_) | Value::Strange(_) | Value::Other) => Ok(true),
            _ => Err(damaged_pickle("it gives attributes to something that has none")),
        }
    }
}
