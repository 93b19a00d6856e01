//! What `distill inspect` says as JSON.

use anyhow::Result;
use models::graph::{Graph, shape_text};
use models::onnx::{Model, looks_like_onnx};
use serde_json::{Value, json};

use super::Arguments;
use super::graph::{is_about_words, rows};
use crate::files::sha256;
use crate::model_file::{
    Dict, Network, PosteriorFile, import_beside, is_posterior, n_parameters, n_products,
};

/// One object: `kind` is `onnx`, `state_dict` or `posterior`; `network` is null where there is none that this program reads,
/// and `reason` says why.
pub(super) fn told(arguments: &Arguments, bytes: Vec<u8>) -> Result<Value> {
    let (path, expected) = (&arguments.file, arguments.network.expected(None));
    let mut told = json!({ "file": path, "bytes": bytes.len(), "sha256": sha256(&bytes) });
    if looks_like_onnx(&bytes) {
        let model = Model::parse(bytes)?;
        let names = model.outputs().iter().map(|output| &output.name);
        told["kind"] = "onnx".into();
        told["opsets"] = json!(model.opsets());
        told["outputs"] = json!(names.collect::<Vec<_>>());
        match import_beside(path, &model, &expected) {
            Ok(read) => {
                told["network"] = network(&read.graph);
                told["logits"] = read.logits.to_string().into();
                told["notes"] = json!(read.notes);
            }
            Err(error) if is_about_words(&error) => return Err(error),
            Err(error) => no_network(&mut told, &error),
        }
    } else if is_posterior(&bytes) {
        arguments.network.check_used("a network")?;
        let PosteriorFile { posterior, provenance, .. } = PosteriorFile::from_bytes(&bytes)?;
        let of = posterior.network();
        told["kind"] = "posterior".into();
        told["structure"] = posterior.structure().into();
        told["widths"] = json!(of.widths);
        told["biases"] = of.bias.into();
        told["activation"] = of.activation.name().into();
        told["parameters"] = n_parameters(of).into();
        told["macs"] = n_products(of).into();
        told["is_exact"] = (!posterior.is_inexact()).into();
        told["kept_units"] = json!(posterior.kept());
        told["standardized_inputs"] = provenance.standardization.is_some().into();
        told["provenance"] = json!(provenance);
    } else {
        expected.refuse_words_of_a_graph()?;
        let dict = Dict::read(&bytes)?;
        let tensors = dict.tensors.iter().map(|tensor| {
            json!({ "name": tensor.name, "shape": tensor.shape, "type": tensor.kind.name() })
        });
        told["kind"] = "state_dict".into();
        told["tensors"] = tensors.collect();
        drop(dict);
        match Network::from_bytes(path, bytes, &expected) {
            Ok((read, notes)) => {
                told["network"] = network(&read.graph);
                told["notes"] = json!(notes);
            }
            Err(error) => no_network(&mut told, &error),
        }
    }
    Ok(told)
}

fn no_network(told: &mut Value, error: &anyhow::Error) {
    told["network"] = Value::Null;
    told["reason"] = format!("{error:#}").into();
}

fn network(graph: &Graph) -> Value {
    let layer = |row: super::graph::Row| {
        json!({
            "name": row.layer,
            "operators": row.operators,
            "output": shape_text(&graph.value(row.last).shape),
            "parameters": row.n_parameters,
            "macs": row.n_products,
        })
    };
    json!({
        "parameters": graph.layout().n_parameters(),
        "macs": graph.n_products_in_all(),
        "layers": rows(graph).into_iter().map(layer).collect::<Vec<_>>(),
    })
}
