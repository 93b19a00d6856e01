//! Weights of a published network for perceptual losses: the convolutions of VGG-19, trained on ImageNet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;
use safetensors::SafeTensors;

use super::manifest::Hub;
use super::{Places, SYNTHETIC_SEED, download, sha256};
use crate::files::parse;
use crate::files::read;
use crate::ledger::Kind;

/// Name of the weights among the data of an experiment.
pub const VGG19: &str = "vgg19";
/// The first three blocks alone, in the form of the Caffe model.
const BLOCKS: &str = "vgg19-blocks1-3";
const BLOCKS_SHA256: &str = "1f9c292f99ce8498b332f8cdd28df4f899b9632d847f6a5967fc6043f26ad59f";
/// Convolutions in them.
const N_BLOCKS: usize = 8;
/// Name, place among torchvision's features, input and output channels of each convolution.
const LAYERS: [(&str, usize, usize, usize); 16] = [
    ("conv1_1", 0, 3, 64),
    ("conv1_2", 2, 64, 64),
    ("conv2_1", 5, 64, 128),
    ("conv2_2", 7, 128, 128),
    ("conv3_1", 10, 128, 256),
    ("conv3_2", 12, 256, 256),
    ("conv3_3", 14, 256, 256),
    ("conv3_4", 16, 256, 256),
    ("conv4_1", 19, 256, 512),
    ("conv4_2", 21, 512, 512),
    ("conv4_3", 23, 512, 512),
    ("conv4_4", 25, 512, 512),
    ("conv5_1", 28, 512, 512),
    ("conv5_2", 30, 512, 512),
    ("conv5_3", 32, 512, 512),
    ("conv5_4", 34, 512, 512),
];

/// Which copy of the weights it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Blocks 1 to 3 of the Caffe model.
    CaffeBlocks1To3,
    /// All five blocks, of torchvision.
    Torchvision,
    /// Drawn by this program: blocks 1 to 3 of an untrained network.
    Drawn,
}

/// The convolutions of VGG-19: 3×3, stride 1, padding 1 with zeros, a rectifier after each, a 2×2 maximum after each block.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias` (out) and so on, f32; channels in the order red, green, blue.
    pub tensors: BTreeMap<String, Tensor>,
    /// Which copy it is.
    pub source: Source,
    /// With x in [0, 1], the network takes xᵢ · factorᵢ − shiftᵢ for channel i.
    pub factor: [f64; 3],
    /// See `factor`.
    pub shift: [f64; 3],
    /// SHA-256 of the file, or of what was drawn.
    pub sha256: BTreeMap<String, String>,
}

/// Loads VGG-19: from an explicit folder, else the cache (both below `weights/`), else the Hugging Face hub.
///
/// The first two hold blocks 1 to 3, `vgg19-blocks1-3/vgg19-blocks1-3.safetensors`; the hub all five.
pub fn vgg19(places: &Places, device: &Device) -> Result<Weights> {
    find(places, device, from_hub)?.map_err(anyhow::Error::msg)
}

impl Weights {
    /// [`vgg19`], drawn where it is out of reach and no explicit folder was named; `notice` receives one line then.
    pub fn load(places: &Places, device: &Device, notice: &mut dyn FnMut(String)) -> Result<Self> {
        match find(places, device, from_hub)? {
            Ok(weights) => Ok(weights),
            Err(reason) if places.explicit.is_some() => bail!(reason),
            Err(reason) => {
                notice(format!("{reason}; drawn weights stand in, and no claim is judged on them"));
                Self::synthetic(device)
            }
        }
    }

    /// Whether it is the published network.
    pub fn kind(&self) -> Kind {
        match self.source {
            Source::CaffeBlocks1To3 | Source::Torchvision => Kind::Real,
            Source::Drawn => Kind::Generated,
        }
    }

    /// He's start of a network with rectifiers: N(0, 2 / (9 · input channels)), no biases.
    fn synthetic(device: &Device) -> Result<Self> {
        let rng = Rng::new(SYNTHETIC_SEED).split(VGG19);
        let (mut tensors, mut bytes) = (BTreeMap::new(), Vec::new());
        for (name, _, n_in, n_out) in &LAYERS[..N_BLOCKS] {
            let mut w = vec![0.0; n_out * n_in * 9];
            rng.split(name).fill_normal(&mut w);
            let std = (2.0 / (9.0 * *n_in as f32)).sqrt();
            w.iter_mut().for_each(|w| *w *= std);
            w.iter().for_each(|w| bytes.extend(w.to_le_bytes()));
            let w = Tensor::from_vec(w, (*n_out, *n_in, 3, 3), device)?;
            tensors.insert(format!("{name}.weight"), w);
            tensors.insert(format!("{name}.bias"), Tensor::zeros(*n_out, DType::F32, device)?);
        }
        let sha256 = BTreeMap::from([("drawn weights".to_owned(), sha256(&bytes))]);
        // Levels from −1 to 1.
        Ok(Self { tensors, source: Source::Drawn, factor: [2.0; 3], shift: [1.0; 3], sha256 })
    }
}

/// The weights, or why they are out of reach; what is there and damaged is an error.
fn find(
    places: &Places,
    device: &Device,
    hub: impl FnOnce() -> Result<PathBuf>,
) -> Result<Result<Weights, String>> {
    let explicit = places.explicit_folder()?.map(|(_, folder)| folder);
    let name = Path::new("weights").join(BLOCKS).join(format!("{BLOCKS}.safetensors"));
    let candidates: Vec<PathBuf> =
        explicit.into_iter().chain([&places.cache]).map(|folder| folder.join(&name)).collect();
    if let Some(path) = candidates.iter().find(|path| path.is_file()) {
        return caffe(path, BLOCKS_SHA256, device).map(Ok);
    }
    match hub() {
        Ok(path) => torchvision(&path, device).map(Ok),
        Err(error) => {
            let paths: Vec<_> = candidates.iter().map(|p| p.display().to_string()).collect();
            Ok(Err(format!(
                "VGG-19: wanted {}, or {HUB_FILE} of {HUB} on the Hugging Face hub, found neither ({error:#}); put the \
                 file there or run once with a network",
                paths.join(" or ")
            )))
        }
    }
}

const HUB: &str = "timm/vgg19.tv_in1k";
const HUB_FILE: &str = "model.safetensors";

fn from_hub() -> Result<PathBuf> {
    let hub = Hub { repository: HUB.into(), revision: "main".into() };
    let builder = hf_hub::api::sync::ApiBuilder::from_env();
    download::hub_file(&hub, hf_hub::RepoType::Model, HUB_FILE, builder)
}

/// Channels come as blue, green, red from 0 to 255 less their means over ImageNet; here as red, green, blue.
fn caffe(path: &Path, wanted: &str, device: &Device) -> Result<Weights> {
    let bytes = read(path)?;
    let load = || -> Result<Weights> {
        let found = sha256(&bytes);
        if found != wanted {
            bail!("wanted SHA-256 {wanted}, found {found}");
        }
        let mut tensors =
            layers(&parse(&bytes)?, &LAYERS[..N_BLOCKS], |layer| layer.0.to_owned(), device)?;
        if let Some(first) = tensors.get_mut("conv1_1.weight") {
            *first = first.index_select(&Tensor::new(&[2u32, 1, 0], device)?, 1)?;
        }
        let (factor, shift) = ([255.0; 3], [123.68, 116.779, 103.939]);
        let sha256 = BTreeMap::from([(format!("{BLOCKS}.safetensors"), found)]);
        Ok(Weights { tensors, source: Source::CaffeBlocks1To3, factor, shift, sha256 })
    };
    load().with_context(|| path.display().to_string())
}

/// Channels come as red, green, blue from 0 to 1, less their means over ImageNet and divided by their standard deviations.
fn torchvision(path: &Path, device: &Device) -> Result<Weights> {
    let bytes = read(path)?;
    let load = || -> Result<Weights> {
        let tensors =
            layers(&parse(&bytes)?, &LAYERS, |layer| format!("features.{}", layer.1), device)?;
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let factor = std.map(f64::recip);
        let shift = std::array::from_fn(|channel| mean[channel] * factor[channel]);
        let sha256 = BTreeMap::from([(format!("{HUB}/{HUB_FILE}"), sha256(&bytes))]);
        Ok(Weights { tensors, source: Source::Torchvision, factor, shift, sha256 })
    };
    load().with_context(|| path.display().to_string())
}

/// The weights and biases of some layers under our names.
fn layers(
    file: &SafeTensors,
    wanted: &[(&str, usize, usize, usize)],
    name_of: impl Fn(&(&str, usize, usize, usize)) -> String,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for layer in wanted {
        let (name, _, n_in, n_out) = *layer;
        for (part, dims) in [("weight", vec![n_out, n_in, 3, 3]), ("bias", vec![n_out])] {
            let theirs = format!("{}.{part}", name_of(layer));
            let view = file.tensor(&theirs).map_err(|_| {
                anyhow::anyhow!("wanted a tensor `{theirs}` of shape {dims:?}, found none")
            })?;
            if view.shape() != dims {
                bail!("tensor `{theirs}` has shape {:?}, wanted {dims:?}", view.shape());
            }
            let tensor = view.load(device)?.to_dtype(DType::F32)?;
            tensors.insert(format!("{name}.{part}"), tensor);
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Device = Device::Cpu;

    /// A file of layers of zeros, but for the first weight of each input channel of the first one.
    fn file(
        path: &Path,
        wanted: &[(&str, usize, usize, usize)],
        name: impl Fn(usize) -> String,
    ) -> String {
        let mut tensors = BTreeMap::new();
        for (at, &(_, _, n_in, n_out)) in wanted.iter().enumerate() {
            let w = Tensor::zeros((n_out, n_in, 3, 3), DType::F32, &CPU).unwrap();
            let channels = Tensor::arange(0.0f32, n_in as f32, &CPU).unwrap();
            let w = w.broadcast_add(&channels.reshape((1, n_in, 1, 1)).unwrap()).unwrap();
            tensors.insert(format!("{}.weight", name(at)), w);
            tensors.insert(
                format!("{}.bias", name(at)),
                Tensor::zeros(n_out, DType::F32, &CPU).unwrap(),
            );
        }
        let bytes = safetensors::serialize(&tensors, None).unwrap();
        std::fs::write(path, &bytes).unwrap();
        sha256(&bytes)
    }

    /// The weights of conv1_1 by channel.
    fn channels(weights: &Weights) -> Vec<f32> {
        let w = &weights.tensors["conv1_1.weight"];
        (0..3)
            .map(|c| {
                w.get(0).unwrap().get(c).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
                    / 9.0
            })
            .collect()
    }

    #[test]
    fn both_copies_take_red_green_and_blue_under_the_same_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caffe.safetensors");
        let sum = file(&path, &LAYERS[..N_BLOCKS], |at| LAYERS[at].0.to_owned());
        let weights = caffe(&path, &sum, &CPU).unwrap();
        assert_eq!((channels(&weights), weights.tensors.len()), (vec![2.0, 1.0, 0.0], 16));
        // The mean of red, which Caffe puts last, goes with the channel that was last.
        assert_eq!(weights.shift[0], 123.68);
        assert!(weights.sha256.values().eq([&sum]));

        let path = folder.path().join("torchvision.safetensors");
        file(&path, &LAYERS, |at| format!("features.{}", LAYERS[at].1));
        let weights = torchvision(&path, &CPU).unwrap();
        assert_eq!((channels(&weights), weights.tensors.len()), (vec![0.0, 1.0, 2.0], 32));
        assert!((0.485 * weights.factor[0] - weights.shift[0]).abs() < 1e-12);
        assert_eq!(weights.tensors["conv5_4.bias"].dims(), [512]);
    }

    #[test]
    fn missing_and_damaged_weights_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().to_owned();
        let places = Places { explicit: None, cache: cache.clone() };
        let reason = find(&places, &CPU, || bail!("no network")).unwrap().unwrap_err();
        assert!(reason.contains("weights/vgg19-blocks1-3/vgg19-blocks1-3.safetensors"), "{reason}");
        assert!(reason.contains("timm/vgg19.tv_in1k") && reason.contains("no network"), "{reason}");

        let path = cache.join("weights/vgg19-blocks1-3/vgg19-blocks1-3.safetensors");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"short").unwrap();
        let told = format!("{:#}", find(&places, &CPU, || bail!("unused")).unwrap_err());
        assert!(told.contains("blocks1-3.safetensors: wanted SHA-256 1f9c292f"), "{told}");

        let other = cache.join("other.safetensors");
        file(&other, &LAYERS[..2], |at| format!("features.{}", LAYERS[at].1));
        let told = format!(
            "{:#}",
            find(&Places { explicit: None, cache: cache.join("empty") }, &CPU, || Ok(other))
                .unwrap_err()
        );
        assert!(
            told.ends_with(
                "wanted a tensor `features.5.weight` of shape [128, 64, 3, 3], found none"
            ),
            "{told}"
        );
    }

    #[test]
    fn drawn_weights_keep_the_scale_of_what_goes_through() {
        let weights = Weights::synthetic(&CPU).unwrap();
        assert_eq!((weights.kind(), weights.tensors.len()), (Kind::Generated, 16));
        let w = &weights.tensors["conv2_2.weight"];
        let variance = w.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
        // 147 456 draws: the relative standard deviation of their variance is 0.004.
        assert!((variance * 9.0 * 128.0 / 2.0 - 1.0).abs() < 0.02, "{variance}");
        assert_eq!(weights.sha256, Weights::synthetic(&CPU).unwrap().sha256);
    }
}
