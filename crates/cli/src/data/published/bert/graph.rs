//! A BERT as a graph with parameters, and texts as its inputs.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::bert::{Config, HiddenAct};
use core_tensors::Params;
use models::BertEncoder;
use models::graph::Graph;
use tokenizers::Tokenizer;

use super::Bert;
use super::model::{encode, padded, settings, tensors, tokens};

/// Names of scale and shift of a layer normalization in old files, and what they are called now.
const OLD_NAMES: [[&str; 2]; 2] =
    [["LayerNorm.gamma", "LayerNorm.weight"], ["LayerNorm.beta", "LayerNorm.bias"]];

/// A BERT as a graph from the tokens of a text to its sentence vector.
pub struct Encoder {
    /// The network.
    pub architecture: BertEncoder,
    /// Its graph: [`BertEncoder::to_graph`].
    pub graph: Graph,
    /// Its parameters, f32, under their names in the file.
    pub params: Params,
    tokenizer: Tokenizer,
    pad: u32,
    device: Device,
}

impl Bert {
    /// The network as a graph that takes `n_tokens` tokens of a text.
    ///
    /// Vectors are means over the tokens as in [`Bert::features`] with [`super::Pooling::Mean`], divided by their length.
    /// An error names the file, the tensor or the setting that is not as expected.
    pub fn encoder(&self, n_tokens: usize, device: &Device) -> Result<Encoder> {
        let [config, tokenizer, weights] = &self.files;
        let at = |path: &Path| path.display().to_string();
        let settings = settings(&config.1).with_context(|| at(&config.0))?;
        let architecture = architecture(&settings, n_tokens).with_context(|| at(&config.0))?;
        let graph = architecture.to_graph().with_context(|| at(&config.0))?;
        let tokenizer =
            tokens(&tokenizer.1, &settings, n_tokens).with_context(|| at(&tokenizer.0))?;
        let params = params(&weights.1, &graph, device).with_context(|| at(&weights.0))?;
        let (pad, device) = (settings.pad_token_id as u32, device.clone());
        Ok(Encoder { architecture, graph, params, tokenizer, pad, device })
    }
}

impl Encoder {
    /// Inputs of the graph for texts: token numbers and mask, (m, `n_tokens`) each.
    ///
    /// A text of more tokens is cut, one of fewer is padded.
    pub fn inputs(&self, texts: &[String]) -> Result<[Tensor; 2]> {
        let texts = encode(&self.tokenizer, texts)?;
        if texts.iter().any(|text| text.types.iter().any(|&of| of != 0)) {
            bail!(
                "expected tokens of type 0, found others; the tokenizer makes pairs of single texts"
            );
        }
        padded(&texts, self.architecture.n_tokens, self.pad, &self.device)
    }
}

fn architecture(config: &Config, n_tokens: usize) -> Result<BertEncoder> {
    match config.hidden_act {
        HiddenAct::Gelu => {}
        HiddenAct::GeluApproximate | HiddenAct::Relu => {
            bail!("hidden_act: expected gelu, found {:?}", config.hidden_act)
        }
    }
    Ok(BertEncoder {
        n_layers: config.num_hidden_layers,
        n_heads: config.num_attention_heads,
        width: config.hidden_size,
        feed_forward: config.intermediate_size,
        vocabulary: config.vocab_size,
        n_positions: config.max_position_embeddings,
        n_types: config.type_vocab_size,
        epsilon: config.layer_norm_eps as f32,
        n_tokens,
    })
}

fn params(bytes: &[u8], graph: &Graph, device: &Device) -> Result<Params> {
    let mut named = HashMap::new();
    for (name, tensor) in tensors(bytes, device)? {
        let renamed = OLD_NAMES.iter().fold(name, |name, [old, new]| name.replace(old, new));
        named.insert(renamed, tensor.to_dtype(DType::F32)?);
    }
    Ok(graph.params_by_name(|name| named.get(name).cloned())?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tiny;
    use super::super::{MINILM, Pooling};
    use super::*;
    use crate::data::published::{DATA_VARIABLE, Places, tweets};

    const CPU: Device = Device::Cpu;
    /// f32 through the layers, in another order.
    const TOLERANCE: f32 = 1e-5;

    /// The largest difference of the graph's vectors from the means of [`Bert::features`] divided by their length.
    fn gap(bert: &Bert, texts: &[String], n_tokens: usize) -> f32 {
        let cache = tempfile::tempdir().unwrap();
        let encoder = bert.encoder(n_tokens, &CPU).unwrap();
        let inputs = encoder.inputs(texts).unwrap();
        assert_eq!(inputs[0].dims(), [texts.len(), n_tokens]);
        let found = encoder.graph.run(&encoder.params, &inputs).unwrap().remove(0);
        let means = bert.features(texts, Pooling::Mean, cache.path(), &CPU).unwrap();
        let length = means.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
        let wanted = means.broadcast_div(&length).unwrap();
        let gap = (found - wanted).unwrap().abs().unwrap().max_all().unwrap();
        gap.to_scalar().unwrap()
    }

    #[test]
    fn vectors_of_the_graph_are_those_of_the_network() {
        let (_root, bert) = tiny();
        let texts = ["Good days!", "", "not a badly day", "tiger"].map(str::to_owned);
        let gap = gap(&bert, &texts, 8);
        assert!(gap < TOLERANCE, "{gap:e}");
    }

    #[test]
    fn texts_are_cut_to_the_tokens_of_the_graph_and_padded_behind_their_own() {
        let (_root, bert) = tiny();
        let encoder = bert.encoder(4, &CPU).unwrap();
        let [ids, mask] = encoder.inputs(&["good bad a not".into(), "good".into()]).unwrap();
        assert_eq!(ids.to_vec2::<u32>().unwrap(), [[2, 4, 5, 3], [2, 4, 3, 0]]);
        assert_eq!(mask.to_vec2::<u32>().unwrap(), [[1, 1, 1, 1], [1, 1, 1, 0]]);
        let told = format!("{:#}", bert.encoder(13, &CPU).map(|_| ()).unwrap_err());
        assert!(
            told.ends_with("config.json: tokens of a text: expected at most 12, found 13"),
            "{told}"
        );
    }

    /// On tweets, where `DISTILL_DATA` has the weights.
    #[test]
    fn vectors_of_tweets_are_those_of_the_published_network() {
        let Some(data) = std::env::var_os(DATA_VARIABLE) else { return };
        let explicit = Some((DATA_VARIABLE.to_owned(), data.into()));
        let places = Places { explicit, cache: "unused".into() };
        let Ok(bert) = Bert::on_disk(&MINILM, &places).unwrap() else { return };
        let texts = tweets::Texts::load(&places, &mut |_| {}).unwrap();
        let gap = gap(&bert, &texts.test.texts[..8], 64);
        println!("largest difference {gap:e}");
        assert!(gap < TOLERANCE, "{gap:e}");
    }
}
