//! A tiny BERT written by the test, against a forward pass in plain loops.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_core::{Device, Tensor};
use core_tensors::Rng;

use super::*;

const CPU: Device = Device::Cpu;
/// Width, heads, width between, layers, positions.
const N: usize = 16;
const HEADS: usize = 2;
const INNER: usize = 24;
const LAYERS: usize = 2;
const POSITIONS: usize = 12;
const EPSILON: f64 = 1e-12;
const TINY: Published = Published { name: "tiny", repository: "nobody/tiny" };
const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "day", "##s", "##ly", "a", "!", "not"];

type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Random weights under the names of an encoder alone.
fn weights(seed: u64) -> Weights {
    let mut rng = Rng::new(seed);
    let mut all = Weights::new();
    let mut add = |name: String, dims: &[usize]| {
        let is_scale = name.ends_with("LayerNorm.weight");
        let draw = |rng: &mut Rng| (f64::from(u8::from(is_scale)) + 0.3 * rng.normal()) as f32;
        let values = (0..dims.iter().product()).map(|_| draw(&mut rng)).collect();
        all.insert(name, (dims.to_vec(), values));
    };
    for (name, rows) in [("word", WORDS.len()), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, N]);
    }
    let mut norm = |name: String| {
        add(format!("{name}.weight"), &[N]);
        add(format!("{name}.bias"), &[N]);
    };
    norm("embeddings.LayerNorm".into());
    for layer in 0..LAYERS {
        norm(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    for layer in 0..LAYERS {
        for (name, rows, cols) in [
            ("attention.self.query", N, N),
            ("attention.self.key", N, N),
            ("attention.self.value", N, N),
            ("attention.output.dense", N, N),
            ("intermediate.dense", INNER, N),
            ("output.dense", N, INNER),
        ] {
            add(format!("encoder.layer.{layer}.{name}.weight"), &[rows, cols]);
            add(format!("encoder.layer.{layer}.{name}.bias"), &[rows]);
        }
    }
    all
}

fn config() -> serde_json::Value {
    serde_json::json!({
        "vocab_size": WORDS.len(), "hidden_size": N, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": EPSILON, "pad_token_id": 0, "model_type": "bert",
    })
}

fn tokenizer() -> serde_json::Value {
    let words: BTreeMap<&str, usize> = WORDS.iter().enumerate().map(|(i, &w)| (w, i)).collect();
    let special = |id: usize| {
        serde_json::json!({
            "id": id, "content": WORDS[id], "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false,
        })
    };
    let piece =
        |id: usize| serde_json::json!({ "SpecialToken": { "id": WORDS[id], "type_id": 0 } });
    let text = serde_json::json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let other = serde_json::json!({ "Sequence": { "id": "B", "type_id": 1 } });
    let named =
        |id: usize| serde_json::json!({ "id": WORDS[id], "ids": [id], "tokens": [WORDS[id]] });
    serde_json::json!({
        "version": "1.0",
        // The file's own padding and cut must not count.
        "truncation": { "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]" },
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing", "single": [piece(2), text, piece(3)],
            "pair": [piece(2), text, piece(3), other], "special_tokens": { "[CLS]": named(2), "[SEP]": named(3) } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": words },
    })
}

fn write_weights(folder: &Path, weights: &Weights, rename: impl Fn(&str) -> String) {
    let tensor = |(dims, values): &(Vec<usize>, Vec<f32>)| {
        Tensor::from_slice(values, &dims[..], &CPU).unwrap()
    };
    let named: BTreeMap<String, Tensor> =
        weights.iter().map(|(name, w)| (rename(name), tensor(w))).collect();
    let bytes = safetensors::serialize(&named, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

/// A folder of data with a tiny BERT.
fn folder(weights: &Weights) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("weights/tiny");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config().to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    write_weights(&folder, weights, str::to_owned);
    (root, folder)
}

fn load(root: &Path) -> Result<Bert> {
    let places = Places { explicit: None, cache: root.to_owned() };
    find(&TINY, &places, |_| bail!("no network"))?.map_err(anyhow::Error::msg)
}

/// A tiny BERT for tests of what rests on one.
pub(crate) fn tiny() -> (tempfile::TempDir, Bert) {
    let (root, _) = folder(&weights(1));
    let bert = load(root.path()).unwrap();
    (root, bert)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn features(root: &Path, texts: &[String], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
    Ok(load(root)?.features(texts, pooling, root, &CPU)?.to_vec2()?)
}

fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |gap, (a, b)| gap.max((f64::from(*a) - b).abs()))
}

/// The last layer's vectors of one text, after Devlin et al. (2019) and Vaswani et al. (2017), in f64.
fn reference(w: &Weights, tokens: &[usize]) -> Vec<Vec<f64>> {
    let of = |name: &str| -> Vec<f64> { w[name].1.iter().map(|&x| x.into()).collect() };
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let (u, b) = (of(&format!("{name}.weight")), of(&format!("{name}.bias")));
        let dot = |row: &[f64]| row.iter().zip(x).map(|(u, x)| u * x).sum::<f64>();
        u.chunks(x.len()).zip(b).map(|(row, b)| dot(row) + b).collect()
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let (scale, shift) = (of(&format!("{name}.weight")), of(&format!("{name}.bias")));
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let standard = |j: usize| (x[j] - mean) / (variance + EPSILON).sqrt();
        (0..x.len()).map(|j| scale[j] * standard(j) + shift[j]).collect()
    };
    let plus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let row = |name: &str, i: usize| -> Vec<f64> {
        of(&format!("embeddings.{name}_embeddings.weight"))[i * N..(i + 1) * N].to_vec()
    };
    let embed = |(t, &token): (usize, &usize)| {
        let sum = plus(&plus(&row("word", token), &row("token_type", 0)), &row("position", t));
        norm("embeddings.LayerNorm", &sum)
    };
    let mut x: Vec<Vec<f64>> = tokens.iter().enumerate().map(embed).collect();
    for layer in 0..LAYERS {
        let at = |name: &str| format!("encoder.layer.{layer}.{name}");
        let all = |name: &str| -> Vec<Vec<f64>> {
            x.iter().map(|x| linear(&at(&format!("attention.self.{name}")), x)).collect()
        };
        let (q, k, v) = (all("query"), all("key"), all("value"));
        let width = N / HEADS;
        let attend = |t: usize| -> Vec<f64> {
            let head = |head: usize| -> Vec<f64> {
                let part = head * width..(head + 1) * width;
                let dot = |s: usize| part.clone().map(|j| q[t][j] * k[s][j]).sum::<f64>();
                let powers: Vec<f64> =
                    (0..x.len()).map(|s| (dot(s) / (width as f64).sqrt()).exp()).collect();
                let total: f64 = powers.iter().sum();
                part.clone()
                    .map(|j| (0..x.len()).map(|s| powers[s] / total * v[s][j]).sum())
                    .collect()
            };
            (0..HEADS).flat_map(head).collect()
        };
        let after = |t: usize| -> Vec<f64> {
            let out = linear(&at("attention.output.dense"), &attend(t));
            let y = norm(&at("attention.output.LayerNorm"), &plus(&out, &x[t]));
            let inner: Vec<f64> =
                linear(&at("intermediate.dense"), &y).into_iter().map(gelu).collect();
            norm(&at("output.LayerNorm"), &plus(&linear(&at("output.dense"), &inner), &y))
        };
        x = (0..x.len()).map(after).collect();
    }
    x
}

/// x Φ(x), with the series of the error function.
fn gelu(x: f64) -> f64 {
    let z = x / 2f64.sqrt();
    let (mut sum, mut term) = (0.0, z);
    for n in 0..200 {
        sum += term / f64::from(2 * n + 1);
        term *= -z * z / f64::from(n + 1);
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

#[test]
fn vectors_are_those_of_a_forward_pass_in_plain_loops() {
    let weights = weights(0);
    let (root, _) = folder(&weights);
    // goodly → good ##ly; an unknown word; the empty text is [CLS] [SEP]; ten days are cut to the twelve positions.
    let long = "days ".repeat(7);
    let texts = texts(&["Good days!", "", "not a badly day", "tiger", &long]);
    let tokens = [
        vec![2, 4, 6, 7, 10, 3],
        vec![2, 3],
        vec![2, 11, 9, 5, 8, 6, 3],
        vec![2, 1, 3],
        vec![2, 6, 7, 6, 7, 6, 7, 6, 7, 6, 7, 3],
    ];
    let mean = features(root.path(), &texts, Pooling::Mean).unwrap();
    let cls = features(root.path(), &texts, Pooling::Cls).unwrap();
    for (i, tokens) in tokens.iter().enumerate() {
        let states = reference(&weights, tokens);
        let wanted: Vec<f64> = (0..N)
            .map(|j| states.iter().map(|x| x[j]).sum::<f64>() / states.len() as f64)
            .collect();
        // f32 through two layers of numbers of about 1.
        assert!(distance(&mean[i], &wanted) < 1e-5, "text {i}");
        assert!(distance(&cls[i], &states[0]) < 1e-5, "text {i}");
    }
}

#[test]
fn padding_and_the_order_of_texts_change_nothing() {
    let (root, _) = folder(&weights(1));
    let words = ["good", "bad day", "not a day !", "a", "days badly not good a"];
    let many: Vec<String> = (0..80).map(|i| words[i * i % 5].repeat(1 + i % 2)).collect();
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let together = features(root.path(), &many, pooling).unwrap();
        for (text, found) in many.iter().zip(together) {
            let alone = features(root.path(), std::slice::from_ref(text), pooling).unwrap();
            let alone: Vec<f64> = alone[0].iter().map(|&x| x.into()).collect();
            assert!(distance(&found, &alone) < 1e-5, "{text}");
        }
    }
    let nothing = load(root.path()).unwrap().features(&[], Pooling::Cls, root.path(), &CPU);
    assert_eq!(nothing.unwrap().dims(), [0, N]);
}

#[test]
fn a_whole_network_with_old_names_gives_the_same() {
    let weights = weights(2);
    let (root, folder) = folder(&weights);
    let texts = texts(&["a good day"]);
    let wanted = features(root.path(), &texts, Pooling::Mean).unwrap();
    let mut whole = weights.clone();
    whole.insert("cls.predictions.bias".into(), (vec![3], vec![0.0; 3]));
    write_weights(&folder, &whole, |name| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        let name = name.replace("LayerNorm.bias", "LayerNorm.beta");
        if name.starts_with("cls") { name } else { format!("bert.{name}") }
    });
    assert_eq!(features(root.path(), &texts, Pooling::Mean).unwrap(), wanted);
}

/// The kept vectors of a folder.
fn kept_files(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join("features")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn vectors_are_kept_until_something_changes() {
    let (root, folder) = folder(&weights(3));
    let some = texts(&["good", "bad"]);
    let first = features(root.path(), &some, Pooling::Mean).unwrap();
    let [path] = &kept_files(root.path())[..] else { unreachable!() };
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("tiny-mean-") && name.ends_with(".safetensors"), "{name}");

    // Other vectors under the same name show that the file is read.
    let planted = Tensor::full(7f32, (2, N), &CPU).unwrap();
    let bytes = [7f32.to_le_bytes(); 2 * N].concat();
    let key = load(root.path()).unwrap().key(&some, Pooling::Mean);
    let plant = |numbers: &[u8]| {
        let file = safetensors::serialize([(TENSOR, &planted)], header(&key, numbers)).unwrap();
        std::fs::write(path, file).unwrap();
    };
    plant(&bytes);
    assert_eq!(features(root.path(), &some, Pooling::Mean).unwrap(), [[7.0; N]; 2]);
    // A file whose numbers are not those that were written counts as nothing, and so does half a file.
    plant(b"other numbers");
    assert_eq!(features(root.path(), &some, Pooling::Mean).unwrap(), first);
    let whole = std::fs::read(path).unwrap();
    std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(features(root.path(), &some, Pooling::Mean).unwrap(), first);
    assert_eq!(std::fs::read(path).unwrap(), whole);

    let n_kept = Cell::new(1);
    let is_new = |texts: &[String], pooling| {
        let found = features(root.path(), texts, pooling).unwrap();
        n_kept.set(n_kept.get() + 1);
        assert_eq!(kept_files(root.path()).len(), n_kept.get());
        found
    };
    is_new(&some, Pooling::Cls);
    // The same letters, otherwise divided.
    is_new(&texts(&["goodb", "ad"]), Pooling::Mean);
    write_weights(&folder, &weights(4), str::to_owned);
    assert_ne!(is_new(&some, Pooling::Mean), first);
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string() + "\n").unwrap();
    is_new(&some, Pooling::Mean);
    std::fs::write(folder.join("config.json"), config().to_string() + "\n").unwrap();
    is_new(&some, Pooling::Mean);
}

/// The message of a failure with one entry of the settings changed.
fn told_with(root: &Path, folder: &Path, entry: &str, value: serde_json::Value) -> String {
    let mut changed = config();
    changed[entry] = value;
    std::fs::write(folder.join("config.json"), changed.to_string()).unwrap();
    told(root)
}

fn told(root: &Path) -> String {
    let told = format!("{:#}", features(root, &texts(&["good"]), Pooling::Mean).unwrap_err());
    assert_eq!(told.lines().count(), 1, "{told}");
    told.replace(&root.display().to_string(), "DIR")
}

#[test]
fn missing_and_damaged_files_are_named_in_one_line() {
    let weights = weights(5);
    let (root, folder) = folder(&weights);
    let (root, at) = (root.path(), "DIR/weights/tiny");
    for (entry, value, wanted) in [
        ("hidden_act", "silu".into(), "wanted the settings of a BERT: unknown variant `silu`"),
        (
            "num_attention_heads",
            3.into(),
            "num_attention_heads: wanted a divisor of hidden_size 16, found 3",
        ),
        ("num_attention_heads", 0.into(), "num_attention_heads: wanted at least 1, found 0"),
        (
            "max_position_embeddings",
            2.into(),
            "max_position_embeddings: wanted at least 3, found 2",
        ),
        ("hidden_size", "x".into(), "wanted the settings of a BERT: invalid type"),
    ] {
        let told = told_with(root, &folder, entry, value);
        assert!(told.starts_with(&format!("{at}/config.json: {wanted}")), "{told}");
    }
    let told_of = told_with(root, &folder, "vocab_size", 11.into());
    let wanted = "wanted tokens below vocab_size 11 of config.json, found 11";
    assert_eq!(told_of, format!("{at}/tokenizer.json: {wanted}"));
    let told_of = told_with(root, &folder, "intermediate_size", 25.into());
    assert!(told_of.starts_with(&format!("{at}/model.safetensors: shape mismatch")), "{told_of}");

    std::fs::write(folder.join("config.json"), config().to_string()).unwrap();
    let missing = "encoder.layer.1.output.dense.bias";
    let mut fewer = weights.clone();
    fewer.remove(missing);
    write_weights(&folder, &fewer, |name| format!("bert.{name}"));
    let wanted = format!("{at}/model.safetensors: cannot find tensor {missing}");
    assert_eq!(told(root), wanted);
    std::fs::write(folder.join("model.safetensors"), b"short").unwrap();
    assert!(
        told(root).starts_with(&format!("{at}/model.safetensors: not a whole safetensors file"))
    );
    std::fs::write(folder.join("tokenizer.json"), b"{}").unwrap();
    assert!(told(root).starts_with(&format!("{at}/tokenizer.json: wanted the tokens of a BERT: ")));

    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    let wanted = "put those files of nobody/tiny there, from the Hugging Face hub, or run once with a network";
    assert_eq!(told(root), format!("{at}/tokenizer.json: wanted a file, found none; {wanted}"));
    std::fs::remove_dir_all(&folder).unwrap();
    let files = "config.json, tokenizer.json, model.safetensors";
    let told = told(root);
    assert_eq!(told, format!("tiny: wanted {files} in {at}, found none (no network); {wanted}"));
}

#[test]
fn the_hub_serves_where_no_folder_does() {
    let (root, folder) = folder(&weights(6));
    let empty = tempfile::tempdir().unwrap();
    let places = Places { explicit: None, cache: empty.path().to_owned() };
    let bert = find(&TINY, &places, |file| Ok(folder.join(file))).unwrap().unwrap();
    assert_eq!(bert.sha256, load(root.path()).unwrap().sha256);
    let names: Vec<&str> = bert.sha256.keys().map(String::as_str).collect();
    assert_eq!(names, ["tiny/config.json", "tiny/model.safetensors", "tiny/tokenizer.json"]);
    // An explicit folder goes first.
    let explicit = Some(("--data".to_owned(), root.path().to_owned()));
    let places = Places { explicit, cache: empty.path().to_owned() };
    assert!(find(&TINY, &places, |_| bail!("unused")).unwrap().is_ok());
}
