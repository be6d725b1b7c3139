//! A reader for the pickles that `torch.save` writes. Nothing is ever executed: the machine below knows the opcodes
//! and the handful of globals that a state dict needs, and refuses everything else.
//!
//! Values live in flat tables and refer to each other by index, so that neither a deeply nested nor a cyclic
//! pickle can overflow the stack or leak, and every table is bounded.

mod objects;

use std::collections::HashMap;

use super::{Dtype, RawTensor};
use crate::error::{Error, Result};

/// Several times what a real checkpoint makes, its optimiser's state included (a ViT-L's weights: about 20,000).
const MAX_VALUES: usize = 1 << 18;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Mark,
    None,
    Bool(bool),
    Int(i64),
    /// A value that no checkpoint needs to be looked into: a float, a large integer.
    Other,
    Str(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(usize),
    Storage(usize),
    Tensor(usize),
    Object(usize),
}

/// A run of elements that tensors are views of, wherever it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub dtype: Dtype,
    pub key: &'a str,
    pub numel: usize,
}

impl Storage<'_> {
    /// Its length in bytes; None beyond what memory can hold.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.numel.checked_mul(self.dtype.size())
    }
}

/// Runs pickles that follow each other in `bytes`.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    strings: Vec<&'a str>,
    /// The elements of tuples and lists, and keys and values in turn of dicts.
    sequences: Vec<Vec<Value>>,
    globals: Vec<(&'a str, &'a str)>,
    storages: Vec<Storage<'a>>,
    /// Each with the storage that it is a view of, and where it begins counted from that.
    tensors: Vec<(usize, RawTensor)>,
    /// The state that BUILD gave each object.
    objects: Vec<Value>,
    values: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            strings: Vec::new(),
            sequences: Vec::new(),
            globals: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            objects: Vec::new(),
            values: 0,
        }
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::weights_format(format_args!("the pickle is damaged at byte {}: {what}", self.at))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(self.error("it ends too early"));
        };
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(n) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.error("a name has no end"));
        };
        let text = self.take(n + 1)?;
        std::str::from_utf8(&text[..n]).map_err(|_| self.error("a name is not UTF-8"))
    }

    /// Every value that is made is counted, whatever becomes of it.
    fn count(&mut self) -> Result<()> {
        self.values += 1;
        match self.values <= MAX_VALUES {
            true => Ok(()),
            false => Err(self.error(format_args!("it has more than {MAX_VALUES} values, no checkpoint has"))),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        match self.stack.pop() {
            Some(Value::Mark) | None => Err(self.error("the stack is empty")),
            Some(value) => Ok(value),
        }
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| self.error("the stack is empty"))
    }

    /// Everything above the topmost mark; the mark goes too.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let Some(mark) = self.stack.iter().rposition(|v| *v == Value::Mark) else {
            return Err(self.error("there is no mark"));
        };
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn string(&mut self, n: usize) -> Result<()> {
        let bytes = self.take(n)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.error("a string is not UTF-8"))?;
        self.strings.push(text);
        self.push(Value::Str(self.strings.len() - 1))
    }

    fn sequence(&mut self, items: Vec<Value>) -> usize {
        self.sequences.push(items);
        self.sequences.len() - 1
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let from = self.stack.len().checked_sub(n);
        let Some(from) = from.filter(|&f| !self.stack[f..].contains(&Value::Mark)) else {
            return Err(self.error("the stack is too short for a tuple"));
        };
        let items = self.stack.split_off(from);
        let tuple = self.sequence(items);
        self.push(Value::Tuple(tuple))
    }

    fn extend(&mut self, items: &[Value]) -> Result<()> {
        match self.top()? {
            Value::List(i) | Value::Dict(i) => self.sequences[i].extend_from_slice(items),
            _ => return Err(self.error("elements are added to something that is no container")),
        }
        Ok(())
    }

    /// Runs the next pickle to its end.
    pub(super) fn run(&mut self) -> Result<Value> {
        self.stack.clear();
        self.memo.clear();
        loop {
            match self.u8()? {
                0x80 => {
                    let protocol = self.u8()?;
                    if protocol > 5 {
                        return Err(self.error(format_args!("pickle protocol {protocol} is unknown")));
                    }
                }
                0x95 => drop(self.take(8)?), // FRAME
                b'.' => return self.pop(),
                b'(' => self.push(Value::Mark)?,
                b'0' => drop(self.pop()?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => {
                    let v = self.u8()?;
                    self.push(Value::Int(v.into()))?
                }
                b'M' => {
                    let b = self.take(2)?;
                    self.push(Value::Int(u16::from_le_bytes([b[0], b[1]]).into()))?
                }
                b'J' => {
                    let v = self.u32()? as i32;
                    self.push(Value::Int(v.into()))?
                }
                0x8a => self.long1()?,
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other)?
                }
                b'X' => {
                    let n = self.u32()? as usize;
                    self.string(n)?
                }
                0x8c => {
                    let n = self.u8()? as usize;
                    self.string(n)?
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?
                }
                b')' => self.tuple(0)?,
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.pop_mark()?;
                    let tuple = self.sequence(items);
                    self.push(Value::Tuple(tuple))?
                }
                b']' => {
                    let list = self.sequence(Vec::new());
                    self.push(Value::List(list))?
                }
                b'}' => {
                    let dict = self.sequence(Vec::new());
                    self.push(Value::Dict(dict))?
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.extend(&[key, value])?
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.extend(&items)?
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    if items.len() % 2 != 0 {
                        return Err(self.error("a dict has a key without a value"));
                    }
                    self.extend(&items)?
                }
                b'q' => {
                    let slot = self.u8()?.into();
                    self.memoize(slot)?
                }
                b'r' => {
                    let slot = self.u32()?;
                    self.memoize(slot)?
                }
                0x94 => self.memoize(self.memo.len() as u32)?,
                b'h' => {
                    let slot = self.u8()?.into();
                    self.recall(slot)?
                }
                b'j' => {
                    let slot = self.u32()?;
                    self.recall(slot)?
                }
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                0x81 => self.new_object()?,
                b'b' => self.build()?,
                other => return Err(self.error(format_args!("opcode 0x{other:02x} does not belong in a checkpoint"))),
            }
        }
    }

    fn memoize(&mut self, slot: u32) -> Result<()> {
        let value = self.top()?;
        self.count()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<()> {
        match self.memo.get(&slot) {
            Some(&value) => self.push(value),
            None => Err(self.error(format_args!("memo {slot} was never set"))),
        }
    }

    fn long1(&mut self) -> Result<()> {
        let n = self.u8()? as usize;
        let bytes = self.take(n)?;
        if n > 8 {
            // Only the magic number of old files, which is compared as bytes.
            return self.push(Value::Other);
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut le = [if negative { 0xff } else { 0 }; 8];
        le[..n].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(le)))
    }

    /// What comes after the pickles that have run.
    pub(super) fn rest(&self) -> usize {
        self.at
    }

    /// The storages that have been met, in their order.
    pub(super) fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file has one storage of 24 bytes at 64.
    fn run(bytes: &[u8]) -> Result<Vec<(String, RawTensor)>> {
        let mut machine = Machine::new(bytes);
        let root = machine.run()?;
        machine.tensors(root, |storage| {
            assert_eq!((storage.key, storage.bytes()), ("0", Some(24)));
            Ok(64)
        })
    }

    /// `{'w': tensor}` of 2×3 floats, with the given strides and offset.
    fn state_dict(offset: u8, strides: [u8; 2]) -> Vec<u8> {
        let mut p = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ".to_vec();
        p.extend([b'K', offset, b'K', 2, b'K', 3, 0x86, b'K', strides[0], b'K', strides[1], 0x86, 0x89]);
        p.extend(b"ccollections\nOrderedDict\n)RtRs.");
        p
    }

    #[test]
    fn reads_a_tensor_with_its_strides() {
        let tensors = run(&state_dict(0, [1, 2])).unwrap();
        let (name, tensor) = &tensors[0];
        assert_eq!((name.as_str(), tensors.len()), ("w", 1));
        assert_eq!((tensor.shape.as_slice(), tensor.strides.as_slice()), (&[2, 3][..], &[1, 2][..]));
    }

    #[test]
    fn refuses_what_reaches_beyond_the_storage() {
        assert!(run(&state_dict(1, [3, 1])).unwrap_err().message().contains("beyond its storage"));
        assert!(run(&state_dict(0, [9, 1])).is_err());
    }

    #[test]
    fn refuses_code() {
        let error = run(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").unwrap_err();
        assert!(error.message().contains("`posix.system`"), "{error}");
    }

    #[test]
    fn survives_cycles_nesting_and_cuts() {
        assert!(run(b"\x80\x02}q\0X\x01\0\0\0ah\0s.").unwrap().is_empty());
        let deep: Vec<u8> = [b"]".repeat(200_000), b"a".repeat(199_999), b".".to_vec()].concat();
        assert!(run(&deep).unwrap().is_empty());
        assert!(run(&b"N".repeat(MAX_VALUES + 1)).is_err());
        assert!(run(&[b"N", &b"\x94".repeat(MAX_VALUES)[..]].concat()).is_err());
        let long = [&b"\x80\x02}X\0\x10\0\0"[..], &b"k".repeat(4096), b"}s."].concat();
        assert!(run(&long).unwrap_err().message().contains("longer than any"));
        let whole = state_dict(0, [3, 1]);
        for n in 0..whole.len() {
            assert!(run(&whole[..n]).is_err(), "cut at {n}");
        }
    }
}
