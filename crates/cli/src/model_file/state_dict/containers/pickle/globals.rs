//! The classes and functions that `torch.save` names for dictionaries of tensors, and what each makes of its arguments.
//!
//! None of them is called: each is one of the few cases below, and any other name is an error.

use anyhow::{Result, anyhow, bail};

use super::machine::Pickle;
use super::value::{Id, StorageOf, TensorOf, Value};
use crate::model_file::state_dict::tensor::Kind;

/// A name that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    /// `OrderedDict` or another dictionary.
    Dict,
    /// A tensor of a storage, an offset, a shape and strides.
    Tensor,
    /// The same with the type of its numbers.
    TypedTensor,
    /// The tensor that is the first argument.
    Parameter,
    /// A function of this list, and its arguments, with attributes of a subclass.
    FromType,
    /// A tuple.
    Size,
    /// The class of a storage.
    Storage(Kind),
    /// The type of numbers.
    Kind(Kind),
    /// Something without tensors.
    Opaque,
}

/// The names that are known, everything else is code.
pub(super) fn known(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "Counter") => Global::Dict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Global::TypedTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Global::Parameter
        }
        ("torch._tensor", "_rebuild_from_type_v2") => Global::FromType,
        ("torch", "Size") => Global::Size,
        ("torch.storage", "UntypedStorage") => Global::Storage(Kind::Whole("bytes", 1)),
        ("torch" | "torch.cuda", name) if name.ends_with("Storage") => {
            Global::Storage(storage(name)?)
        }
        ("torch", "device" | "Tensor")
        | ("torch.nn.parameter", "Parameter")
        | ("torch.serialization", "_get_layout")
        | ("argparse", "Namespace")
        | ("pathlib", "Path" | "PosixPath" | "PurePosixPath" | "WindowsPath")
        | ("numpy", "dtype")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
        | ("_codecs", "encode")
        | ("__builtin__" | "builtins", "set") => Global::Opaque,
        ("torch", name) => Global::Kind(dtype(name)?),
        _ => return None,
    })
}

fn storage(name: &str) -> Option<Kind> {
    Some(match name {
        "FloatStorage" => Kind::F32,
        "DoubleStorage" => Kind::F64,
        "HalfStorage" => Kind::F16,
        "BFloat16Storage" => Kind::Bf16,
        "LongStorage" => Kind::Whole("I64", 8),
        "IntStorage" => Kind::Whole("I32", 4),
        "ShortStorage" => Kind::Whole("I16", 2),
        "CharStorage" => Kind::Whole("I8", 1),
        "ByteStorage" | "UntypedStorage" => Kind::Whole("U8", 1),
        "BoolStorage" => Kind::Whole("BOOL", 1),
        "ComplexFloatStorage" => Kind::Other("C64", 8),
        "ComplexDoubleStorage" => Kind::Other("C128", 16),
        _ => return None,
    })
}

fn dtype(name: &str) -> Option<Kind> {
    Some(match name {
        "float32" => Kind::F32,
        "float64" => Kind::F64,
        "float16" => Kind::F16,
        "bfloat16" => Kind::Bf16,
        "int64" => Kind::Whole("I64", 8),
        "int32" => Kind::Whole("I32", 4),
        "int16" => Kind::Whole("I16", 2),
        "int8" => Kind::Whole("I8", 1),
        "uint8" => Kind::Whole("U8", 1),
        "uint16" => Kind::Whole("U16", 2),
        "uint32" => Kind::Whole("U32", 4),
        "uint64" => Kind::Whole("U64", 8),
        "bool" => Kind::Whole("BOOL", 1),
        "complex64" => Kind::Other("C64", 8),
        "complex128" => Kind::Other("C128", 16),
        "float8_e4m3fn" | "float8_e4m3fnuz" => Kind::Other("F8_E4M3", 1),
        "float8_e5m2" | "float8_e5m2fnuz" => Kind::Other("F8_E5M2", 1),
        _ => return None,
    })
}

/// What a known name makes of its arguments.
pub(super) fn reduce(pickle: &mut Pickle, global: Global, arguments: Id) -> Result<Id> {
    let strange = || anyhow!("found a tensor with other arguments than torch.save writes");
    let given: Vec<Id> = match pickle.get(arguments) {
        // More than any of the names takes.
        Some(Value::Tuple(given)) => given.iter().copied().take(8).collect(),
        _ => return Err(strange()),
    };
    let argument = |i: usize| given.get(i).copied().ok_or_else(strange);
    let value = match global {
        Global::Dict => match given.first().map(|&first| pickle.get(first)) {
            None => Value::Dict(Vec::new()),
            Some(Some(Value::Dict(_))) => return argument(0),
            Some(Some(Value::List(pairs))) => {
                let pair = |&pair: &Id| match pickle.get(pair) {
                    Some(Value::List(pair) | Value::Tuple(pair)) if pair.len() == 2 => {
                        Ok((pair[0], pair[1]))
                    }
                    _ => Err(strange()),
                };
                Value::Dict(pairs.iter().map(pair).collect::<Result<_>>()?)
            }
            _ => return Err(strange()),
        },
        Global::Tensor | Global::TypedTensor => {
            let kind = match (global, given.get(6).and_then(|&kind| pickle.get(kind))) {
                (Global::TypedTensor, Some(Value::Global(Global::Kind(kind)))) => Some(*kind),
                (Global::TypedTensor, _) => return Err(strange()),
                _ => None,
            };
            let (storage, offset) = (argument(0)?, argument(1)?);
            if !matches!(pickle.get(storage), Some(Value::Storage(_))) {
                return Err(strange());
            }
            let offset = count(pickle, offset)?;
            let (shape, strides) = (counts(pickle, argument(2)?)?, counts(pickle, argument(3)?)?);
            Value::Tensor(Box::new(TensorOf { storage, offset, shape, strides, kind }))
        }
        Global::Parameter => {
            let data = argument(0)?;
            return match pickle.get(data) {
                Some(Value::Tensor(_)) => Ok(data),
                _ => Err(strange()),
            };
        }
        Global::FromType => {
            let (function, inner) = (argument(0)?, argument(2)?);
            return match pickle.get(function) {
                Some(&Value::Global(
                    function @ (Global::Tensor | Global::TypedTensor | Global::Parameter),
                )) => reduce(pickle, function, inner),
                _ => Err(strange()),
            };
        }
        Global::Size => match given.first().map(|&first| pickle.get(first)) {
            Some(Some(Value::Tuple(_) | Value::List(_))) => return argument(0),
            _ => Value::Tuple(Vec::new()),
        },
        Global::Opaque => Value::Opaque,
        Global::Storage(_) | Global::Kind(_) => return Err(strange()),
    };
    pickle.push(value)
}

/// The storage that a persistent id names.
pub(super) fn storage_of(pickle: &Pickle, id: Id) -> Result<Value> {
    let strange = || anyhow!("found a storage named in another way than torch.save does");
    let Some(Value::Tuple(parts)) = pickle.get(id) else { return Err(strange()) };
    let part = |i: usize| parts.get(i).and_then(|&part| pickle.get(part));
    match part(0) {
        Some(Value::Text(word)) if &**word == "storage" => {}
        Some(Value::Text(word)) if &**word == "module" => bail!(
            "holds a whole module with its source code, which is not run; in Python, \
             torch.save(model.state_dict(), \"weights.pt\") writes its weights alone"
        ),
        _ => return Err(strange()),
    }
    let (Some(&Value::Global(Global::Storage(kind))), Some(Value::Text(key))) = (part(1), part(2))
    else {
        return Err(strange());
    };
    if !matches!(part(5), None | Some(Value::None)) {
        bail!(
            "storage `{key}` is a view of another, as PyTorch before 0.4 wrote; save it with a newer one"
        );
    }
    let n = parts.get(4).ok_or_else(strange).and_then(|&n| count(pickle, n))?;
    Ok(Value::Storage(Box::new(StorageOf { key: key.to_string(), kind, n })))
}

fn count(pickle: &Pickle, id: Id) -> Result<usize> {
    match pickle.get(id) {
        Some(&Value::Int(n)) => usize::try_from(n).map_err(|_| anyhow!("found a size of {n}")),
        _ => bail!("found a size that is no whole number"),
    }
}

/// Most axes that are looked at; a tensor with more is refused with its name.
const MOST_AXES: usize = 100;

fn counts(pickle: &Pickle, id: Id) -> Result<Vec<usize>> {
    match pickle.get(id) {
        Some(Value::Tuple(items) | Value::List(items)) => {
            items.iter().take(MOST_AXES).map(|&item| count(pickle, item)).collect()
        }
        _ => bail!("found a shape that is no tuple"),
    }
}
