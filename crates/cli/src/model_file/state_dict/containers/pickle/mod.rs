//! What `torch.save` wrote, read without executing any of it: the archive of today and the file of before 1.6.

mod globals;
mod machine;
mod value;

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, anyhow, bail};

use self::machine::{Pickle, run};
use self::value::{Id, StorageOf, TensorOf, Value};
use super::Dict;
use crate::files::{Archive, Storage};
use crate::model_file::state_dict::tensor::{NamedTensor, Place};

/// Most dictionaries and lists inside one another.
const MOST_NESTED: usize = 64;
/// Bytes of a name that counts once.
const SHORT: usize = 32;
/// What every older file of `torch.save` begins with.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The version of those files.
const VERSION: i128 = 1001;

/// The tensors of an archive whose pickle has this path.
pub(super) fn read_archive<'a>(archive: &mut Archive<'a>, path: &str) -> Result<Dict<'a>> {
    let folder = path.trim_end_matches("data.pkl").to_owned();
    if archive.has(&format!("{folder}constants.pkl")) {
        bail!(
            "wanted a state dict, found a TorchScript program, which is code; in Python, \
             torch.save(torch.jit.load(path).state_dict(), \"weights.pt\") writes its weights"
        );
    }
    let order = format!("{folder}byteorder");
    let is_big_endian = archive.has(&order) && archive.get(&order)?.as_slice() == b"big";
    let pickle = archive.get(path)?;
    let (pickle, _) = run(pickle.as_slice()).with_context(|| format!("`{path}`"))?;
    let mut find = |of: &StorageOf| archive.get(&format!("{folder}data/{}", of.key));
    collect(&pickle, is_big_endian, &mut find)
}

/// The tensors of an older file: three pickles that say what it is, one that is the object, the keys of its storages,
/// and the storages.
pub(super) fn read_legacy(bytes: &[u8]) -> Result<Dict<'_>> {
    let (magic, mut at) = run(bytes)?;
    if !matches!(magic.root(), Value::Int(MAGIC)) {
        bail!(
            "wanted what torch.save writes, found another pickle; in Python, torch.save(weights, \"weights.pt\") \
             writes a dictionary of tensors"
        );
    }
    let mut next = || -> Result<Pickle> {
        let (pickle, n) = run(bytes.get(at..).unwrap_or_default())?;
        at += n;
        Ok(pickle)
    };
    if !matches!(next()?.root(), Value::Int(VERSION)) {
        bail!("wanted version {VERSION} of an older file of torch.save, found another");
    }
    next().context("what the file says of the machine that wrote it")?;
    let object = next()?;
    let keys = next().context("the keys of the storages")?;
    let mut sizes = HashMap::new();
    for value in &object.values {
        if let Value::Storage(of) = value {
            sizes.insert(of.key.as_str(), of);
        }
    }
    let Value::List(listed) = keys.root() else { bail!("wanted the keys of the storages") };
    let mut storages = HashMap::new();
    for &key in listed {
        let Some(Value::Text(key)) = keys.get(key) else { bail!("a key of a storage is no text") };
        let of = sizes.get(&**key).ok_or_else(|| anyhow!("nothing uses the storage `{key}`"))?;
        let cut = || anyhow!("the file ends before the numbers of its storage `{key}` do");
        let n = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(cut)?;
        let n = usize::try_from(u64::from_le_bytes(*n))?;
        let length = n.checked_mul(of.kind.size()).ok_or_else(cut)?;
        let end = length.checked_add(at + 8).ok_or_else(cut)?;
        let numbers = bytes.get(at + 8..end).ok_or_else(cut)?;
        storages.insert(key.to_string(), Storage::of_file(numbers));
        at = end;
    }
    let mut find = |of: &StorageOf| {
        let storage = storages.get(&of.key).cloned();
        storage.ok_or_else(|| anyhow!("the file has no storage `{}`", of.key))
    };
    collect(&object, false, &mut find)
}

type Find<'f, 'a> = &'f mut dyn FnMut(&StorageOf) -> Result<Storage<'a>>;

/// All tensors below the root, named by the keys on the way to them.
fn collect<'a>(pickle: &Pickle, is_big_endian: bool, find: Find<'_, 'a>) -> Result<Dict<'a>> {
    if let Value::Tensor(_) = pickle.root() {
        bail!("wanted a dictionary of tensors by name, found one tensor");
    }
    let most = pickle.values.len().saturating_mul(4).saturating_add(1000);
    let mut walk = Walk {
        pickle,
        path: String::new(),
        n_left: most,
        open: HashSet::new(),
        tensors: Vec::new(),
        others: Vec::new(),
    };
    walk.visit(pickle.root)?;
    let (mut tensors, others) = (Vec::with_capacity(walk.tensors.len()), walk.others);
    for (name, of) in walk.tensors {
        let storage = match pickle.get(of.storage) {
            Some(Value::Storage(storage)) => storage,
            _ => bail!("tensor `{name}` has no storage"),
        };
        let bytes = find(storage).with_context(|| format!("tensor `{name}`"))?;
        let said = storage.n.checked_mul(storage.kind.size());
        if said.is_none_or(|said| said > bytes.as_slice().len()) {
            bail!(
                "tensor `{name}`: its storage should hold {} numbers, found {} bytes",
                storage.n,
                bytes.as_slice().len()
            );
        }
        let place = Place {
            kind: of.kind.unwrap_or(storage.kind),
            shape: of.shape.clone(),
            strides: Some(of.strides.clone()),
            offset: of.offset,
            is_big_endian,
        };
        tensors.push(NamedTensor::new(name, place, &bytes)?);
    }
    Ok(Dict { tensors, others, about: HashMap::new() })
}

/// A walk through nested dictionaries.
struct Walk<'p> {
    pickle: &'p Pickle,
    path: String,
    /// Values that may still be visited, those with long names more than once: one that stands in many places is visited in
    /// each.
    n_left: usize,
    /// Values on the way from the root.
    open: HashSet<Id>,
    tensors: Vec<(String, &'p TensorOf)>,
    others: Vec<String>,
}

impl<'p> Walk<'p> {
    /// Whether there are tensors in a value.
    fn visit(&mut self, id: Id) -> Result<bool> {
        self.n_left = self
            .n_left
            .checked_sub(1 + self.path.len() / SHORT)
            .ok_or_else(|| anyhow!("the same dictionaries stand in too many places"))?;
        if self.open.len() > MOST_NESTED || !self.open.insert(id) {
            bail!("wanted at most {MOST_NESTED} dictionaries inside one another");
        }
        let n_others = self.others.len();
        let pickle = self.pickle;
        let has_tensors = match pickle.get(id) {
            Some(Value::Tensor(tensor)) => {
                self.tensors.push((self.path.clone(), tensor));
                true
            }
            Some(Value::Dict(items)) => {
                let mut has_tensors = false;
                for &(key, value) in items {
                    has_tensors |= match pickle.get(key) {
                        Some(Value::Text(key)) => self.below(key, value)?,
                        Some(Value::Int(key)) => self.below(&key.to_string(), value)?,
                        // No name of a weight, but there may be some below.
                        _ => self.below("?", value)?,
                    };
                }
                has_tensors
            }
            Some(Value::List(items) | Value::Tuple(items)) => {
                let mut has_tensors = false;
                for (i, &value) in items.iter().enumerate() {
                    has_tensors |= self.below(&i.to_string(), value)?;
                }
                has_tensors
            }
            _ => false,
        };
        // A dictionary without tensors is one thing that is left out, not as many as it has entries.
        if !has_tensors {
            self.others.truncate(n_others);
            self.others.push(self.path.clone());
        }
        self.open.remove(&id);
        Ok(has_tensors)
    }

    fn below(&mut self, key: &str, value: Id) -> Result<bool> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let found = self.visit(value);
        self.path.truncate(length);
        found
    }
}
