//! Safetensors files by hand, and the command on them.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Output};

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// Numbers of a tensor, little-endian.
pub(crate) enum Numbers {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I64(Vec<i64>),
    /// The type's name and its bit patterns.
    Half(&'static str, Vec<u16>),
}

impl Numbers {
    fn bytes(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::F64(v) => ("F64", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::F32(v) => ("F32", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::I64(v) => ("I64", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Half(kind, v) => (kind, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        }
    }
}

/// A file put together by hand: length of the header, header, numbers.
pub(crate) fn file(metadata: Option<&str>, tensors: &[(&str, &[usize], Numbers)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if let Some(metadata) = metadata {
        header.insert("__metadata__".into(), serde_json::json!({ "distill": metadata }));
    }
    let mut data = Vec::new();
    for (name, shape, numbers) in tensors {
        let (dtype, bytes) = numbers.bytes();
        let (start, end) = (data.len(), data.len() + bytes.len());
        data.extend(bytes);
        let entry =
            serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert((*name).to_owned(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Tensors by name.
type Tensors = BTreeMap<String, Vec<f64>>;

/// Header and tensors of a posterior's file.
pub(crate) fn posterior(path: &Path) -> Result<(serde_json::Value, Tensors), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes)?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get("distill")).ok_or("no header")?;
    let mut tensors = BTreeMap::new();
    for (name, view) in safetensors::SafeTensors::deserialize(&bytes)?.tensors() {
        assert_eq!(view.dtype(), safetensors::Dtype::F64);
        let number = |b: &[u8]| Ok(f64::from_le_bytes(b.try_into()?));
        let values: Result<_, std::array::TryFromSliceError> =
            view.data().chunks_exact(8).map(number).collect();
        tensors.insert(name, values?);
    }
    Ok((serde_json::from_str(text)?, tensors))
}

/// `distill` with no data but what the test gives it.
pub(crate) fn distill(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_distill")).args(arguments).env_remove("DISTILL_DATA").output()
}

/// What a command that must succeed prints.
pub(crate) fn success(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = distill(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Exit status and the line of the error, behind notes on what was read before; below it only what the command line could be.
pub(crate) fn failure(arguments: &[&str]) -> Result<(i32, String), Box<dyn Error>> {
    let output = distill(arguments)?;
    let all = String::from_utf8(output.stderr)?;
    let lines: Vec<&str> = all.lines().filter(|line| !line.starts_with("note: ")).collect();
    let is_usage = all.contains("\n\nUsage: distill ") || all.contains("\n\nFor more information");
    assert!(lines.len() == 1 || is_usage, "expected one line or a usage, found: {all}");
    let is_told = |line: &&&str| !line.starts_with("Usage:") && !line.starts_with("For more");
    let told: Vec<&str> = lines
        .iter()
        .take_while(is_told)
        .map(|line| line.trim())
        .filter(|l| !l.is_empty())
        .collect();
    let text = format!("{}\n", told.join(" "));
    assert!(text.starts_with("error: "), "{text}");
    Ok((output.status.code().ok_or("killed")?, text))
}

/// The command refuses with status 1, in a line that says this.
#[track_caller]
pub(crate) fn refused(arguments: &[&str], part: &str) -> TestResult {
    let (status, line) = failure(arguments)?;
    assert!(status == 1 && line.contains(part), "{line}");
    Ok(())
}

pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Rounding of a few operations on numbers of size 1.
const ROUNDING: f64 = 1e-9;

#[track_caller]
pub(crate) fn close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= ROUNDING * b.abs().max(1.0);
    assert!(found.iter().zip(wanted).all(near), "wanted {wanted:?}, found {found:?}");
}
