//! The values of a pickle, which know one another by number: neither circles nor depth can hurt.

use crate::model_file::state_dict::tensor::Kind;

use super::globals::Global;

/// Place of a value among those of its pickle.
pub(super) type Id = u32;

/// What a pickle may hold.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Int(i128),
    Text(Box<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function that is known by name; it is not there.
    Global(Global),
    Storage(Box<StorageOf>),
    Tensor(Box<TensorOf>),
    /// A truth value, a fraction, bytes, or an object that is of no use here.
    Opaque,
}

/// Numbers that tensors share.
#[derive(Debug)]
pub(super) struct StorageOf {
    pub(super) key: String,
    pub(super) kind: Kind,
    /// How many numbers.
    pub(super) n: usize,
}

/// A tensor: a part of a storage.
#[derive(Debug)]
pub(super) struct TensorOf {
    pub(super) storage: Id,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    /// Where it is not that of the storage.
    pub(super) kind: Option<Kind>,
}
