//! The network and its tokens: from texts to vectors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use indicatif::{ProgressBar, ProgressStyle};
use tokenizers::{Tokenizer, TruncationParams};

use super::Pooling;
use crate::files::parse;
use crate::files::{n_cores, on_threads};

/// Texts that the network takes at once, of about the same length.
const BATCH: usize = 32;
/// Names of tensors of a whole pre-trained network begin so, those of its encoder alone do not.
const PREFIX: &str = "bert.";

/// A BERT in memory.
pub(super) struct Model {
    network: BertModel,
    tokenizer: Tokenizer,
    config: Config,
    device: Device,
}

/// One text: its place among the texts, its tokens and their types.
pub(super) struct Tokens {
    place: usize,
    pub(super) ids: Vec<u32>,
    pub(super) types: Vec<u32>,
}

impl Model {
    /// Reads settings, tokens and weights; an error names the file.
    pub(super) fn new(files: &[(PathBuf, Vec<u8>); 3], device: &Device) -> Result<Self> {
        let [config, tokenizer, weights] = files;
        let at = |path: &Path| path.display().to_string();
        let settings = settings(&config.1).with_context(|| at(&config.0))?;
        let longest = settings.max_position_embeddings;
        let tokens = tokens(&tokenizer.1, &settings, longest).with_context(|| at(&tokenizer.0))?;
        let network = network(&weights.1, &settings, device).with_context(|| at(&weights.0))?;
        Ok(Self { network, tokenizer: tokens, config: settings, device: device.clone() })
    }

    /// n: numbers of a vector.
    pub(super) fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// The vectors of texts, one after another; on the CPU on all cores.
    pub(super) fn features(&self, texts: &[String], pooling: Pooling) -> Result<Vec<f32>> {
        let n = self.width();
        let mut tokens = encode(&self.tokenizer, texts)?;
        // Texts of like length share a batch, so that little of it is padding; the longest go first.
        tokens.sort_by_key(|text| std::cmp::Reverse(text.ids.len()));
        let batches: Vec<&[Tokens]> = tokens.chunks(BATCH).collect();
        let bar = ProgressBar::new(texts.len() as u64).with_message("sentence vectors");
        bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}")?);
        let (next, features) = (AtomicUsize::new(0), Mutex::new(vec![0f32; texts.len() * n]));
        let failure = Mutex::new(None);
        // Not on rayon's pool: `distill` leaves it one thread.
        let work = || {
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.batch(batch, pooling) {
                    Ok(rows) => {
                        let mut features = features.lock().unwrap_or_else(PoisonError::into_inner);
                        for (text, row) in batch.iter().zip(rows) {
                            features[text.place * n..(text.place + 1) * n].copy_from_slice(&row);
                        }
                    }
                    Err(error) => {
                        next.fetch_add(batches.len(), Ordering::Relaxed);
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }
                bar.inc(batch.len() as u64);
            }
        };
        let n_threads = if self.device.is_cpu() { n_cores().min(batches.len()) } else { 1 };
        on_threads(n_threads, work);
        bar.finish_and_clear();
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(features.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The vector of each text of a batch, which is padded behind the last token.
    fn batch(&self, batch: &[Tokens], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
        let longest = batch.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let pad = self.config.pad_token_id as u32;
        let [ids, mask] = padded(batch, longest, pad, &self.device)?;
        let types = rows(batch, longest, 0, |text, t| text.types.get(t).copied(), &self.device)?;
        let states = self.network.forward(&ids, &types, Some(&mask)).map_err(|e| one_line(&e))?; // (m, L, n)
        let vectors = match pooling {
            Pooling::Cls => states.narrow(1, 0, 1)?.squeeze(1)?,
            Pooling::Mean => {
                let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?; // (m, L, 1)
                states.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?
            }
        };
        Ok(vectors.to_device(&Device::Cpu)?.to_vec2()?)
    }
}

/// The tokens of texts.
pub(super) fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Tokens>> {
    let encode = |(place, text): (usize, &String)| {
        let found = tokenizer.encode(text.as_str(), true).map_err(|e| anyhow!("{e}"))?;
        let (ids, types) = (found.get_ids().to_vec(), found.get_type_ids().to_vec());
        if ids.is_empty() {
            bail!("text {place}: wanted tokens, found none; a BERT adds [CLS] and [SEP]");
        }
        Ok(Tokens { place, ids, types })
    };
    texts.iter().enumerate().map(encode).collect()
}

/// Token numbers (m, `n_tokens`), padded behind the last token of each text, and the mask: 1 for tokens, 0 for padding.
pub(super) fn padded(
    texts: &[Tokens],
    n_tokens: usize,
    pad: u32,
    device: &Device,
) -> Result<[Tensor; 2]> {
    let ids = rows(texts, n_tokens, pad, |text, t| text.ids.get(t).copied(), device)?;
    let mask = rows(texts, n_tokens, 0, |text, t| text.ids.get(t).map(|_| 1), device)?;
    Ok([ids, mask])
}

/// One number a token of each text, and `pad` behind them.
fn rows(
    texts: &[Tokens],
    n_tokens: usize,
    pad: u32,
    of: impl Fn(&Tokens, usize) -> Option<u32>,
    device: &Device,
) -> Result<Tensor> {
    let places = texts.iter().flat_map(|text| (0..n_tokens).map(move |t| (text, t)));
    let numbers: Vec<u32> = places.map(|(text, t)| of(text, t).unwrap_or(pad)).collect();
    Ok(Tensor::from_vec(numbers, (texts.len(), n_tokens), device)?)
}

pub(super) fn settings(bytes: &[u8]) -> Result<Config> {
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|error| anyhow!("wanted the settings of a BERT: {error}"))?;
    let counts = [
        ("hidden_size", config.hidden_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("intermediate_size", config.intermediate_size),
        ("type_vocab_size", config.type_vocab_size),
        ("vocab_size", config.vocab_size),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        bail!("{name}: wanted at least 1, found 0");
    }
    let (n, n_heads) = (config.hidden_size, config.num_attention_heads);
    if n % n_heads != 0 {
        bail!("num_attention_heads: wanted a divisor of hidden_size {n}, found {n_heads}");
    }
    if config.max_position_embeddings < 3 {
        let found = config.max_position_embeddings;
        bail!("max_position_embeddings: wanted at least 3, found {found}");
    }
    // The network's own search for a prefix would hide which tensor is missing.
    Ok(Config { model_type: None, ..config })
}

/// Makes tokens of texts, at most `longest` of a text.
pub(super) fn tokens(bytes: &[u8], config: &Config, longest: usize) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| {
        anyhow!("wanted the tokens of a BERT: {}", first_line(&error.to_string()))
    })?;
    let largest = tokenizer.get_vocab(true).into_values().max();
    let (limit, pad) = (config.vocab_size, config.pad_token_id);
    if let Some(largest) = largest.filter(|&id| id as usize >= limit) {
        bail!("wanted tokens below vocab_size {limit} of config.json, found {largest}");
    }
    if pad >= limit {
        bail!("wanted a token for padding below vocab_size {limit}, found pad_token_id {pad}");
    }
    let cut = TruncationParams { max_length: longest, ..Default::default() };
    tokenizer.with_padding(None).with_truncation(Some(cut)).map_err(|error| anyhow!("{error}"))?;
    Ok(tokenizer)
}

fn network(bytes: &[u8], config: &Config, device: &Device) -> Result<BertModel> {
    let builder = VarBuilder::from_tensors(tensors(bytes, device)?, DType::F32, device);
    BertModel::load(builder, config).map_err(|e| one_line(&e))
}

/// The tensors of the encoder in a file, in the file's types, by their names in a network that is an encoder alone.
pub(super) fn tensors(bytes: &[u8], device: &Device) -> Result<HashMap<String, Tensor>> {
    let file = parse(bytes)?;
    let has_prefix = file.names().iter().any(|name| name.starts_with(PREFIX));
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        // What follows the encoder, such as the head that guesses words, is not used.
        let inner = if has_prefix { name.strip_prefix(PREFIX) } else { Some(name) };
        if let Some(inner) = inner {
            let tensor = candle_core::safetensors::Load::load(&view, device)?;
            tensors.insert(inner.to_owned(), tensor);
        }
    }
    Ok(tensors)
}

/// A failure of candle without the stack it may carry.
fn one_line(error: &candle_core::Error) -> anyhow::Error {
    anyhow!("{}", first_line(&error.to_string()))
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}
