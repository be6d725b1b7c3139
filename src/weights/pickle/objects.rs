//! What the globals and calls of a state dict's pickle amount to, and the tensors that come of it.

use std::collections::HashSet;

use super::{Dtype, Machine, RawTensor, Storage, Value};
use crate::error::{Error, Result};

const MAX_DEPTH: usize = 32;
/// Bytes of a dotted path. Paths are copied for every entry below them.
const MAX_PATH: usize = 512;

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<()> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => true,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_parameter") => true,
            ("torch.jit._pickle", name) => name.starts_with("build_") && name.ends_with("list"),
            ("torch", name) => Dtype::from_storage(name).is_some(),
            _ => module == "__torch__" || module.starts_with("__torch__."),
        };
        if !known {
            return Err(Error::weights_format(format_args!(
                "the pickle asks for `{module}.{name}`, which a state dict does not need and which is never run; \
                 save the model's state_dict() alone"
            )));
        }
        self.globals.push((module, name));
        self.push(Value::Global(self.globals.len() - 1))
    }

    /// `('storage', type, key, location, numel)`; legacy files append a view description, which is None.
    pub(super) fn storage(&mut self) -> Result<()> {
        let Value::Tuple(t) = self.pop()? else {
            return Err(self.error("a persistent id is no tuple"));
        };
        let parts = match self.sequences[t][..] {
            [Value::Str(kind), Value::Global(class), Value::Str(key), Value::Str(_), Value::Int(numel)]
            | [Value::Str(kind), Value::Global(class), Value::Str(key), Value::Str(_), Value::Int(numel), Value::None]
                if self.strings[kind] == "storage" =>
            {
                Some((self.globals[class], self.strings[key], numel))
            }
            _ => None,
        };
        let storage = parts.and_then(|((module, name), key, numel)| {
            Some(Storage {
                dtype: (module == "torch").then(|| Dtype::from_storage(name)).flatten()?,
                key,
                numel: usize::try_from(numel).ok()?,
            })
        });
        let Some(storage) = storage else {
            return Err(self.error("a persistent id is no storage"));
        };
        self.storages.push(storage);
        self.push(Value::Storage(self.storages.len() - 1))
    }

    pub(super) fn reduce(&mut self) -> Result<()> {
        let args = self.pop()?;
        let callable = self.pop()?;
        let (Value::Global(g), Value::Tuple(t)) = (callable, args) else {
            return Err(self.error("something that is no function is called"));
        };
        match (self.globals[g], &self.sequences[t][..]) {
            (("collections", "OrderedDict"), []) => {
                let dict = self.sequence(Vec::new());
                self.push(Value::Dict(dict))
            }
            (("torch._utils", "_rebuild_tensor_v2"), &[storage, offset, size, stride, ..]) => {
                let tensor = self.tensor(storage, offset, size, stride)?;
                self.tensors.push(tensor);
                self.push(Value::Tensor(self.tensors.len() - 1))
            }
            (("torch._utils", "_rebuild_parameter"), &[data @ Value::Tensor(_), ..]) => self.push(data),
            (("torch.jit._pickle", _), _) => self.push(Value::Other),
            ((module, name), _) => Err(self.error(format_args!("`{module}.{name}` is called with odd arguments"))),
        }
    }

    fn tensor(&self, storage: Value, offset: Value, size: Value, stride: Value) -> Result<(usize, RawTensor)> {
        let (Value::Storage(s), Value::Int(offset), Value::Tuple(size), Value::Tuple(stride)) =
            (storage, offset, size, stride)
        else {
            return Err(self.error("a tensor is described by odd values"));
        };
        let ints = |i: usize| -> Option<Vec<usize>> {
            let int = |v: &Value| match v {
                Value::Int(n) => usize::try_from(*n).ok(),
                _ => None,
            };
            self.sequences[i].iter().map(int).collect()
        };
        let (Ok(offset), Some(shape), Some(strides)) = (usize::try_from(offset), ints(size), ints(stride)) else {
            return Err(self.error("a tensor's sizes are no natural numbers"));
        };
        let storage = &self.storages[s];
        let tensor = storage
            .bytes()
            .and_then(|bytes| RawTensor::new(storage.dtype, 0, bytes, offset, shape, strides))
            .ok_or_else(|| self.error(format_args!("a tensor reaches beyond its storage `{}`", storage.key)))?;
        Ok((s, tensor))
    }

    pub(super) fn new_object(&mut self) -> Result<()> {
        let (args, class) = (self.pop()?, self.pop()?);
        match (class, args) {
            (Value::Global(g), Value::Tuple(_)) if self.globals[g].0.starts_with("__torch__") => {
                self.objects.push(Value::None);
                self.push(Value::Object(self.objects.len() - 1))
            }
            _ => Err(self.error("an object of an unknown class is made")),
        }
    }

    pub(super) fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        match self.top()? {
            Value::Object(o) => self.objects[o] = state,
            // A state dict's own attributes (`_metadata`), and a parameter's: of no use here.
            Value::Dict(_) | Value::Tensor(_) => {}
            _ => return Err(self.error("a state is given to something that has none")),
        }
        Ok(())
    }

    /// The strings of a list; None for anything else.
    pub(in crate::weights) fn strings(&self, list: Value) -> Option<Vec<&'a str>> {
        let Value::List(list) = list else {
            return None;
        };
        let text = |v: &Value| match v {
            Value::Str(s) => Some(self.strings[*s]),
            _ => None,
        };
        self.sequences[list].iter().map(text).collect()
    }

    /// What a dict holds under `key`.
    pub(in crate::weights) fn get(&self, dict: Value, key: &str) -> Option<Value> {
        let Value::Dict(dict) = dict else {
            return None;
        };
        let is_key = |v: Value| matches!(v, Value::Str(s) if self.strings[s] == key);
        self.sequences[dict].chunks_exact(2).rfind(|pair| is_key(pair[0])).map(|pair| pair[1])
    }

    /// The tensors reachable from `root` through dicts and objects, named by the dotted path of their keys. `locate`
    /// says where in the file a storage begins.
    pub(in crate::weights) fn tensors(
        &self,
        root: Value,
        locate: impl Fn(&Storage) -> Result<usize>,
    ) -> Result<Vec<(String, RawTensor)>> {
        let mut out = Vec::new();
        let mut seen = HashSet::new();
        let mut todo = vec![(String::new(), root, 0)];
        while let Some((path, value, depth)) = todo.pop() {
            let dict = match value {
                Value::Tensor(t) => {
                    let (storage, tensor) = &self.tensors[t];
                    let moved = tensor.clone().moved(locate(&self.storages[*storage])?);
                    out.push((path, moved.ok_or_else(|| self.error("a storage lies beyond the end of memory"))?));
                    continue;
                }
                Value::Dict(d) => d,
                Value::Object(o) => match self.objects[o] {
                    Value::Dict(d) => d,
                    _ => continue,
                },
                _ => continue,
            };
            if !seen.insert(dict) || depth == MAX_DEPTH {
                continue;
            }
            // From the last to the first, so that the stack gives them back in order and the last of equal keys wins.
            for pair in self.sequences[dict].chunks_exact(2).rev() {
                if let (Value::Str(key), Value::Tensor(_) | Value::Dict(_) | Value::Object(_)) = (pair[0], pair[1]) {
                    let key = self.strings[key];
                    if path.len() + key.len() >= MAX_PATH {
                        return Err(self.error("a tensor's name is longer than any real one"));
                    }
                    let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                    todo.push((path, pair[1], depth + 1));
                }
            }
        }
        Ok(out)
    }
}
