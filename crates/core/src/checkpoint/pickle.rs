//! Reads the pickles of PyTorch's files as data, with a machine for the instructions that PyTorch
//! writes and a few names.
//!
//! Nothing is executed. A pickle refers to functions by name; each name is either a [`Global`],
//! whose calls only construct values, or an error. Values are stored in a list and refer to each
//! other by index, so that deep nesting does not need a deep stack.

use super::global::Global;
use super::global::MAX_TYPE_NAME;
use super::py_value::{damaged_pickle, reduce, Id, PyValue};
use crate::Result;
use std::collections::HashMap;
use xt_kernels::memory;

/// The values of a pickle.
pub struct Pickle {
    /// All values.
    pub values: Vec<PyValue>,
    /// The index of the outermost value.
    pub root: Id,
    /// The length in bytes, without any data that follows.
    pub length: usize,
}

/// Reads a pickle.
///
/// # Errors
/// The pickle is damaged or refers to a name that is not allowed, or memory does not suffice.
pub fn read(bytes: &[u8]) -> Result<Pickle> {
    // an instruction creates at most one value, one slot of the stack and one of the memo
    memory::check(
        "the description of the tensors in this file",
        (bytes.len() as u64).saturating_mul(192),
    )?;
    let mut machine = Machine { bytes, left: bytes.len(), ..Machine::default() };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { values: machine.values, root, length: machine.at })
}

/// The state of the machine.
#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    /// The offset of the next instruction.
    at: usize,
    values: Vec<PyValue>,
    stack: Vec<Id>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Remaining budget for the numbers in shapes of tensors: a few bytes can request the same
    /// tensor again and again.
    left: usize,
}

impl<'a> Machine<'a> {
    /// The next `count` bytes.
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| damaged_pickle("it ends too early"))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    /// An unsigned integer of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N as u64)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A text of `length` bytes.
    fn text(&mut self, length: u64) -> Result<String> {
        let bytes = self.take(length)?;
        // a text that is not UTF-8 cannot be the name of a tensor
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A text that ends with a newline.
    fn line(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| *b == b'\n')
            .ok_or_else(|| damaged_pickle("it ends too early"))?;
        let line = self.text(length as u64)?;
        self.at += 1;
        Ok(line)
    }

    /// Pushes a new value.
    fn push(&mut self, value: PyValue) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    /// Pops the top of the stack; an error if there is nothing above the last mark.
    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = (self.stack.len() > floor).then(|| self.stack.pop()).flatten();
        top.ok_or_else(|| damaged_pickle("its stack is empty"))
    }

    /// The top of the stack; an error if there is nothing above the last mark.
    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or_else(|| damaged_pickle("its stack is empty"))
    }

    /// Pops all values above the last mark, and the mark.
    fn above_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| damaged_pickle("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// Pops the last `count` values.
    fn last(&mut self, count: usize) -> Result<Vec<Id>> {
        let mut ids = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        ids.reverse();
        Ok(ids)
    }

    /// Stores the top of the stack in the memo.
    fn put(&mut self, slot: u64) -> Result<bool> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(true)
    }

    /// Pushes a value of the memo.
    fn get(&mut self, slot: u64) -> Result<bool> {
        let id = self.memo.get(&slot).copied();
        self.stack
            .push(id.ok_or_else(|| damaged_pickle("it refers to a value that is not there"))?);
        Ok(true)
    }

    /// Pushes a new value, as the whole effect of an instruction.
    fn value(&mut self, value: PyValue) -> Result<bool> {
        self.push(value);
        Ok(true)
    }

    /// Runs one instruction; returns false after the last one.
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
            b'q' => self.number::<1>().and_then(|slot| self.put(slot)),
            b'r' => self.number::<4>().and_then(|slot| self.put(slot)),
            0x94 => self.put(self.memo.len() as u64), // MEMOIZE
            b'h' => self.number::<1>().and_then(|slot| self.get(slot)),
            b'j' => self.number::<4>().and_then(|slot| self.get(slot)),
            _ => match self.literal(code)? {
                Some(value) => self.value(value),
                None => self.combine(code),
            },
        }
    }

    /// The value of an instruction that contains it; `None` for other instructions.
    fn literal(&mut self, code: u8) -> Result<Option<PyValue>> {
        Ok(Some(match code {
            b'N' => PyValue::None,
            0x88 | 0x89 => PyValue::Bool(code == 0x88),
            b'J' => PyValue::Int(i64::from(self.number::<4>()? as u32 as i32)),
            b'K' => PyValue::Int(self.number::<1>()? as i64),
            b'M' => PyValue::Int(self.number::<2>()? as i64),
            0x8a => {
                let length = self.number::<1>()?;
                self.long(length)?
            }
            0x8b => {
                let length = self.number::<4>()?;
                self.long(length)?
            }
            // the only number that is big-endian
            b'G' => PyValue::Float(f64::from_bits(self.number::<8>()?.swap_bytes())),
            b'X' => {
                let length = self.number::<4>()?;
                PyValue::Text(self.text(length)?)
            }
            0x8c => {
                let length = self.number::<1>()?;
                PyValue::Text(self.text(length)?)
            }
            0x8d => {
                let length = self.number::<8>()?;
                PyValue::Text(self.text(length)?)
            }
            b'B' | b'T' => {
                let length = self.number::<4>()?;
                self.take(length).map(|_| PyValue::Other)? // bytes
            }
            0x8e | 0x96 => {
                let length = self.number::<8>()?;
                self.take(length).map(|_| PyValue::Other)?
            }
            b'C' | b'U' => {
                let length = self.number::<1>()?;
                self.take(length).map(|_| PyValue::Other)?
            }
            b')' => PyValue::Tuple(Vec::new()),
            b']' => PyValue::List(Vec::new()),
            b'}' => PyValue::Dict(Vec::new()),
            0x8f => PyValue::Other, // a set
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                PyValue::Global(Global::named(&module, &name)?)
            }
            _ => return Ok(None),
        }))
    }

    /// A signed integer of `length` bytes; `PyValue::Other` if it does not fit into i64, since it
    /// cannot be a size.
    fn long(&mut self, length: u64) -> Result<PyValue> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        match wide.get_mut(..bytes.len()) {
            None => Ok(PyValue::Other),
            Some(low) => {
                low.copy_from_slice(bytes);
                Ok(PyValue::Int(i64::from_le_bytes(wide)))
            }
        }
    }

    /// Runs an instruction that builds a value from others, or adds others to one.
    fn combine(&mut self, code: u8) -> Result<bool> {
        match code {
            b't' => {
                let items = self.above_mark()?;
                self.value(PyValue::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.value(PyValue::Tuple(items))
            }
            b'l' => {
                let items = self.above_mark()?;
                self.value(PyValue::List(items))
            }
            b'd' => {
                let items = self.above_mark()?;
                self.push(PyValue::Dict(Vec::new()));
                self.add(&items)
            }
            b'a' => self.last(1).and_then(|items| self.add(&items)),
            b's' => self.last(2).and_then(|items| self.add(&items)),
            b'e' | b'u' | 0x90 => self.above_mark().and_then(|items| self.add(&items)),
            0x91 => {
                self.above_mark()?; // a frozen set
                self.value(PyValue::Other)
            }
            0x93 => self.global_of_stack(),
            b'Q' => {
                let id = self.pop()?;
                let storage = PyValue::storage(&self.values, id)?;
                self.value(storage)
            }
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            _ => {
                Err(damaged_pickle(&format!("0x{code:02x} is no instruction that PyTorch writes")))
            }
        }
    }

    /// Adds values to the list, dict or set at the top of the stack.
    fn add(&mut self, items: &[Id]) -> Result<bool> {
        let top = self.top()?;
        match self.values.get_mut(top) {
            Some(PyValue::List(list)) => list.extend_from_slice(items),
            Some(PyValue::Dict(pairs)) if items.len().is_multiple_of(2) => {
                pairs.extend(items.chunks(2).map(|p| (p[0], p[1])))
            }
            Some(PyValue::Other) => {}
            _ => return Err(damaged_pickle("it adds values to something that takes none")),
        }
        Ok(true)
    }

    /// Looks up a name whose module and name are on the stack.
    fn global_of_stack(&mut self) -> Result<bool> {
        let ids = self.last(2)?;
        match (&self.values[ids[0]], &self.values[ids[1]]) {
            (PyValue::Text(module), PyValue::Text(name)) => {
                let global = Global::named(module, name)?;
                self.value(PyValue::Global(global))
            }
            _ => Err(damaged_pickle("a name is no text")),
        }
    }

    /// Calls a name, and charges the size of the result to the budget.
    fn call(&mut self) -> Result<bool> {
        let ids = self.last(2)?;
        let value = reduce(&self.values, ids[0], ids[1])?;
        let size = match &value {
            // the name of its storage is copied too; a short one is covered by the constant
            PyValue::Tensor(view) => {
                2 * view.shape.len() + 4 + view.storage.key.len() / MAX_TYPE_NAME
            }
            PyValue::Dict(pairs) => pairs.len(),
            PyValue::Tuple(items) => items.len(),
            _ => 0,
        };
        let left = self.left.checked_sub(size);
        self.left =
            left.ok_or_else(|| damaged_pickle("it has more tensors than its size allows"))?;
        self.value(value)
    }

    /// Sets attributes of an object, which are ignored, as no state dict or tensor needs them.
    fn build(&mut self) -> Result<bool> {
        self.pop()?;
        match self.values.get(self.top()?) {
            Some(
                PyValue::Dict(_) | PyValue::Tensor(_) | PyValue::Unreadable(_) | PyValue::Other,
            ) => Ok(true),
            _ => Err(damaged_pickle("it gives attributes to something that has none")),
        }
    }
}
