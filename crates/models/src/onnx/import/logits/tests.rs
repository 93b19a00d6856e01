//! Which tensor is taken as the logits of small files.

use super::{Found, Logits, find};
use crate::onnx::{
    Attribute, DataType, Dimension, Error, ImportError, Model, NewModel, Node, TensorInfo,
    ValueInfo, Values,
};

/// Operator, inputs, outputs.
type Line = (&'static str, &'static [&'static str], &'static [&'static str]);

/// A file of some nodes with initializers `w` (weights), `one` (1) and `classes` (whole numbers).
fn file(lines: &[Line], outputs: &[&str]) -> Result<Model, Error> {
    let dims = vec![Dimension::Named("N".to_owned()), Dimension::Known(3)];
    let value = |name: &&str| ValueInfo::tensor(name, DataType::F32, dims.clone());
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let node = |&(op, inputs, outputs): &Line| Node {
        op_type: op.to_owned(),
        domain: match op {
            "ZipMap" | "ArrayFeatureExtractor" => "ai.onnx.ml".to_owned(),
            _ => String::new(),
        },
        inputs: names(inputs),
        outputs: names(outputs),
        attributes: match op {
            "Cast" => vec![("to".to_owned(), Attribute::Int(7))],
            _ => vec![],
        },
        ..Node::default()
    };
    let ones = Values::F32(vec![1.0; 9]);
    let classes = Values::I64(vec![4, 5, 6]);
    let bytes = NewModel {
        name: "g".to_owned(),
        opsets: vec![(String::new(), 17), ("ai.onnx.ml".to_owned(), 3)],
        inputs: vec![value(&"x")],
        outputs: outputs.iter().map(value).collect(),
        nodes: lines.iter().map(node).collect(),
        initializers: vec![
            TensorInfo::new("w", vec![3, 3], DataType::F32, &ones)?,
            TensorInfo::new("one", vec![1], DataType::F32, &Values::F32(vec![1.0]))?,
            TensorInfo::new("classes", vec![3], DataType::I64, &classes)?,
        ],
        metadata: vec![],
    }
    .to_bytes()?;
    Model::parse(bytes)
}

fn before(tensor: &str, function: &str, outputs: &[&str]) -> Logits {
    let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
    let found = Found::Before { function: function.to_owned(), outputs };
    Logits { tensor: tensor.to_owned(), found }
}

#[test]
fn softmax_inside_attention_is_no_probability() -> Result<(), Box<dyn std::error::Error>> {
    let model = file(
        &[
            ("Softmax", &["x"], &["weights"]),
            ("MatMul", &["weights", "w"], &["mixed"]),
            ("MatMul", &["mixed", "w"], &["y"]),
        ],
        &["y"],
    )?;
    assert_eq!(find(&model, None)?, Logits { tensor: "y".to_owned(), found: Found::Output });
    Ok(())
}

#[test]
fn two_classes_of_scikit_learn() -> Result<(), Box<dyn std::error::Error>> {
    let model = file(
        &[
            ("MatMul", &["x", "w"], &["score"]),
            ("Sigmoid", &["score"], &["p"]),
            ("Sub", &["one", "p"], &["q"]),
            ("Concat", &["q", "p"], &["both"]),
            ("ArgMax", &["both"], &["place"]),
            ("ArrayFeatureExtractor", &["classes", "place"], &["class"]),
            ("Cast", &["class"], &["label"]),
        ],
        &["label", "both"],
    )?;
    assert_eq!(find(&model, None)?, before("score", "Sigmoid", &["both", "label"]));
    Ok(())
}

#[test]
fn labels_alone_are_made_of_the_logits() -> Result<(), Box<dyn std::error::Error>> {
    let model = file(
        &[
            ("MatMul", &["x", "w"], &["scores"]),
            ("ArgMax", &["scores"], &["place"]),
            ("ArrayFeatureExtractor", &["classes", "place"], &["class"]),
            ("Cast", &["class"], &["label"]),
        ],
        &["label"],
    )?;
    let found = Found::BehindLabels { outputs: vec!["label".to_owned()] };
    assert_eq!(find(&model, None)?, Logits { tensor: "scores".to_owned(), found });
    Ok(())
}

#[test]
fn maps_of_probabilities() -> Result<(), Box<dyn std::error::Error>> {
    let lines: &[Line] = &[
        ("MatMul", &["x", "w"], &["scores"]),
        ("Softmax", &["scores"], &["p"]),
        ("ZipMap", &["p"], &["map"]),
    ];
    assert_eq!(find(&file(lines, &["map"])?, None)?, before("scores", "Softmax", &["map"]));
    Ok(())
}

#[test]
fn exponentials_behind_a_logarithm_alone_are_probabilities()
-> Result<(), Box<dyn std::error::Error>> {
    let lines: &[Line] = &[("LogSoftmax", &["x"], &["log"]), ("Exp", &["log"], &["p"])];
    assert_eq!(find(&file(lines, &["p"])?, None)?, before("x", "LogSoftmax", &["p"]));
    let lines: &[Line] = &[("MatMul", &["x", "w"], &["s"]), ("Exp", &["s"], &["rate"])];
    assert_eq!(find(&file(lines, &["rate"])?, None)?.tensor, "rate");
    // 1 − x of something else than 1.
    let lines: &[Line] = &[("Sigmoid", &["x"], &["p"]), ("Sub", &["w", "p"], &["rest"])];
    assert_eq!(find(&file(lines, &["rest"])?, None)?.tensor, "rest");
    Ok(())
}

#[test]
fn two_heads_are_asked_about() -> Result<(), Box<dyn std::error::Error>> {
    let model = file(
        &[("MatMul", &["x", "w"], &["first"]), ("MatMul", &["x", "w"], &["second"])],
        &["second", "first"],
    )?;
    match find(&model, None) {
        Err(ImportError::SeveralLogits { candidates }) => {
            assert_eq!(candidates, ["first", "second"]);
        }
        other => return Err(format!("{other:?}").into()),
    }
    let asked = Logits { tensor: "second".to_owned(), found: Found::Asked };
    assert_eq!(find(&model, Some("second"))?, asked);
    match find(&model, Some("third")) {
        Err(ImportError::NoSuchTensor { name, outputs }) => {
            assert_eq!((name.as_str(), outputs.len()), ("third", 2));
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
