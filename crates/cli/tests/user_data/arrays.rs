//! Arrays of NumPy and names of classes, for the commands on perceptrons.

use std::io::Write as _;

use super::files::{Numbers, TestResult, failure, file, success, word};
use super::{Tensors, both, holds};

/// An array of NumPy.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// Arrays by name, as numpy.savez_compressed writes them.
fn npz(arrays: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, array) in arrays {
        writer.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default())?;
        writer.write_all(array)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[test]
fn arrays_of_numpy_and_names_of_classes_serve_every_command() -> TestResult {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (data, model, out) = (at("data"), at("model.safetensors"), at("p.safetensors"));
    let weights: Tensors = &[("weight", &[2, 1], Numbers::F32(vec![0.5, -0.5]))];
    std::fs::write(&model, file(None, weights))?;
    let words = ["posterior", word(&model), "--data", word(&data), "--out", word(&out)];
    let words = [&words[..], &["--task", "classification", "--method", "laplace"]].concat();
    let words = [&words[..], &["--structure", "full"]].concat();
    let x = npy(">f8", "(2, 1)", &[1f64.to_be_bytes(), 1f64.to_be_bytes()].concat());
    let letters = |text: &str| text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let names: Vec<u8> = letters("catdog");
    let labels = npy("<U3", "(2,)", &names);
    let wanted = format!("log-likelihood {:.6}", -(1f64.exp().ln_1p() + (-1f64).exp().ln_1p()));
    std::fs::write(&data, npz(&[("x", x.clone()), ("y", labels.clone())])?)?;
    let (told, notes) = both(&words)?;
    holds(&told, &[&wanted]);
    holds(&notes, &["0 = cat, 1 = dog (--classes overrules this order)"]);
    let three = [&words[..], &["--classes", "cat,dog,emu"]].concat();
    holds(&failure(&three)?.1, &["expected 2 classes", "found 3, 0 = cat"]);
    holds(&failure(&[&words[..], &["--target", "y"]].concat())?.1, &["found an .npz file"]);
    // One array, its labels in a file of their own.
    std::fs::write(&data, &x)?;
    let beside = at("labels");
    std::fs::write(&beside, &labels)?;
    holds(&failure(&words)?.1, &["expected an array `y`", "--labels names the file"]);
    let with_labels = [&words[..], &["--labels"], &[word(&beside)]].concat();
    holds(&success(&with_labels)?, &[&wanted]);
    // A table with names of classes, and a column that is no feature.
    std::fs::write(&data, "id,a,kind\nx,1,cat\ny,1,dog\n")?;
    let dropping = [&words[..], &["--drop", "id"]].concat();
    holds(&success(&dropping)?, &[&wanted]);
    holds(&failure(&words)?.1, &["line 2, column 1 (`id`)", "--drop id leaves it out"]);
    Ok(())
}
