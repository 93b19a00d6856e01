//! Changes of whole networks that other programs exported.
//!
//! `DISTILL_DATA` names the folder whose `models` are read; `ONNX_ZOO` another folder of them.

#[path = "common/changing.rs"]
mod changing;
#[path = "common/difference.rs"]
mod difference;
#[path = "common/networks.rs"]
mod networks;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use changing::Subject;
use core_tensors::Rng;
use models::onnx::{ImportOptions, Model, import};

type TestResult = Result<(), Box<dyn Error>>;

/// Sums of f32 in another order, as a share of the largest number.
const TOLERANCE: f64 = 1e-5;

#[test]
fn whole_networks_change_without_a_trace() -> TestResult {
    let mut folders = networks::network_folders()?;
    let teacher = std::env::var_os("DISTILL_DATA").map(PathBuf::from);
    folders.extend(teacher.map(|data| data.join("models/teachers/cnn-0")));
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::new());
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match tried(&folder) {
            Ok(Some(found)) => {
                println!("{name}: {found:?}");
                if found.1.iter().any(|gap| *gap > TOLERANCE) || found.1[1] > 0.0 {
                    wrong.push(format!("{name}: {found:?}"));
                }
                counts.insert(name, found.0);
            }
            Ok(None) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Folded, biases added, residual blocks.
    let known = [
        ("cnn-0", [3, 0, 0]),
        ("fmnist-resnet", [0, 0, 1]),
        ("fmnist-encoder", [0, 0, 4]),
        ("fmnist-mobile", [0, 0, 0]),
    ];
    for (name, expected) in known {
        assert!(counts.get(name).is_none_or(|found| *found == expected), "{name}: {counts:?}");
    }
    Ok(())
}

/// How much was folded, added and skipped, and the differences that it made.
type Found = ([usize; 3], [f64; 3]);

fn tried(folder: &Path) -> Result<Option<Found>, Box<dyn Error>> {
    let model = Model::parse(std::fs::read(folder.join("model.onnx"))?)?;
    let external = &mut networks::external(folder);
    // Networks that are not read are no concern of this test.
    let Ok(original) = import(&model, external, &ImportOptions::default()) else {
        return Ok(None);
    };
    let mut rng = Rng::new(1);
    let mut inputs = Vec::new();
    for &id in original.graph.inputs() {
        let shape = original.graph.value(id).shape.iter();
        let dims = shape.map(|extent| Ok(usize::try_from(extent.of_batch(3).unwrap_or(1))?));
        let dims: Vec<usize> = dims.collect::<Result<_, Box<dyn Error>>>()?;
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n).map(|_| rng.uniform() as f32).collect();
        inputs.push(Tensor::from_vec(values, dims, &Device::Cpu)?);
    }
    let subject = Subject { model: &model, original: &original, inputs: &inputs };
    let (names, folded) = subject.folded(external)?;
    let (n_biases, biased) = subject.biased(external)?;
    let blocks = original.graph.residual_blocks();
    let mut skipped = 0.0f64;
    for block in &blocks {
        skipped = skipped.max(subject.skipped(std::slice::from_ref(block), external)?);
    }
    if !blocks.is_empty() {
        skipped = skipped.max(subject.skipped(&blocks, external)?);
    }
    Ok(Some(([names.len(), n_biases, blocks.len()], [folded, biased, skipped])))
}
