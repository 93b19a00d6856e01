//! Real exports, where `DISTILL_DATA` has some: they are read, and what is not changed stays byte for byte.

use std::error::Error;
use std::path::{Path, PathBuf};

use models::onnx::{Edit, Model, Values, looks_like_onnx, no_external};

type TestResult = Result<(), Box<dyn Error>>;

fn found_in(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found_in(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn real_exports_stay_as_they_are() -> TestResult {
    let Some(data) = std::env::var_os("DISTILL_DATA") else { return Ok(()) };
    let mut paths = Vec::new();
    found_in(&Path::new(&data).join("models"), &mut paths)?;
    for path in paths {
        let name = path.display();
        let bytes = std::fs::read(&path)?;
        assert!(looks_like_onnx(&bytes), "{name}");
        let model = Model::parse(bytes).map_err(|error| format!("{name}: {error}"))?;
        assert!(model.patch(&[])? == model.bytes(), "{name}");
        // Every tensor of numbers becomes what it is, raw.
        let mut edits = Vec::new();
        for tensor in model.initializers() {
            let values = if tensor.data_type.is_float() {
                Values::F32(model.f32_values(tensor, &mut no_external)?)
            } else if tensor.data_type.is_integer() {
                Values::I64(model.i64_values(tensor, &mut no_external)?)
            } else {
                continue;
            };
            let (name, dims) = (tensor.name.clone(), tensor.dims.clone());
            edits.push(Edit::SetTensor { name, dims, values });
        }
        let same = Model::parse(model.patch(&edits)?)?;
        assert_eq!(same.nodes().len(), model.nodes().len(), "{name}");
        for (old, new) in model.initializers().iter().zip(same.initializers()) {
            if old.data_type.is_float() {
                let old = model.f32_values(old, &mut no_external)?;
                assert!(old == same.f32_values(new, &mut no_external)?, "{name}");
            }
        }
    }
    Ok(())
}
