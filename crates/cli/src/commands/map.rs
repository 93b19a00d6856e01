//! `distill map`: applies a map φ between domains to examples, and says what came of them.

mod contact;
mod examples;
mod judge;
mod output;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::features;
use core_tensors::{Params, Rng};
use domain_adapt::{
    DomainMap, FixedConvolution, GaussianNoise, Identity, MorphologicalDilation, Selection, Sine,
    Style, StyleConfig, Translator,
};
use models::{InputScale, TranslatorNetwork, Vgg19};

use self::examples::{Reading, Shape, Source};
use self::judge::Judges;
use self::output::{WRITTEN, told, write};
use super::options::NetworkOptions;
use super::{UsageError, positive};
use crate::data::published::weights::vgg19;
use crate::data::published::{GrayscaleImages, Places, from_environment, image_of_file};
use crate::data::synthetic::published_convolution;
use crate::data::user::{Options, place_of};
use crate::files::{Input, check_folder, note, parse, read, say};
use crate::model_file::numbers;
use crate::training::{pairs, train_translator};

/// Examples that pass through a map at once, and the numbers of them.
const CHUNK: usize = 500;
const MOST_NUMBERS: usize = 1 << 22;
/// Hidden units and latent dimensions of a translator that is trained here, as in paper 003.
const TRANSLATOR: (usize, usize) = (200, 64);

/// Apply a map φ between domains to a data set, and judge it.
#[derive(clap::Args)]
#[command(
    after_help = "Writes into --out: mapped.safetensors (x as f32, one row an example; y, the classes or values, where there are targets),
contact-sheet.png (64 random pictures, a line before φ, the line below it after φ) where objects are pictures,
translator.safetensors where one was trained. Measures see at most 1000 random objects of each domain. Levels of pictures are in [0, 1]; a convolution's answers are not clipped, and the sheet stretches them.

All columns of a text table are features, unless --target names one or its header calls the last one y, label, target,
class or outcome. --teacher and --partner need classes: whole numbers from 0. What holds of --data holds of --partner and
--reference: --header, --target, --separator, --decimal and --bytes count for all of them.

Maps:
  identity       nothing
  noise          plus N(0, std^2); intensities of pictures are clipped to [0, 1], other numbers are not
  convolution    the fixed random 5 x 5 convolution that paper 003 calls dilation; 28 x 28 -> 24 x 24
  cross          a dilated cross of ones; 28 x 28 -> 24 x 24
  dilation       the largest level of a --window x --window square around each pixel
  sine           sin x
  shuffle        the features in one random order: a control that keeps levels and loses shapes
  translator     a variational autoencoder with a decoder into each domain: --translator FILE, or trained on
                 --partner DATA with the same classes
  style          the texture of --style PICTURE by features of VGG-19; colour pictures

Examples:
  distill map --kind noise --data fashion-mnist --limit 1000 --out noisy
  distill map --kind translator --data fashion-mnist --partner mnist --epochs 5 --reference mnist --out translated
  distill map --kind style --style painting.jpg --data photos --side 64 --out styled"
)]
pub(super) struct Arguments {
    /// Which map; see below.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The examples: a known data set, a folder of images (or of a folder for each class), a safetensors file, or a text
    /// table (CSV).
    #[arg(long, value_name = "DATA")]
    data: String,
    #[command(flatten)]
    options: Options,
    /// Folder for what is written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The first N examples alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Seed of all that is random.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Standard deviation of the noise.
    #[arg(long, alias = "deviation", value_name = "D", default_value = "0.1", value_parser = positive)]
    std: f64,
    /// Side of the window of the dilation, odd.
    #[arg(long, value_name = "N", default_value = "3")]
    window: usize,
    /// Examples of the teacher's domain to train a translator with, of the same classes.
    #[arg(long, value_name = "DATA")]
    partner: Option<String>,
    /// Passes of the translator's training.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// A translator that was trained before.
    #[arg(long, value_name = "FILE", conflicts_with = "partner")]
    translator: Option<PathBuf>,
    /// The image whose style is taken.
    #[arg(long, value_name = "PICTURE")]
    style: Option<PathBuf>,
    /// Folder of data whose weights/ holds VGG-19; $DISTILL_DATA if absent, else the cache or the hub.
    #[arg(long, value_name = "DIR")]
    weights: Option<PathBuf>,
    /// Examples of the teacher's own domain, at least 4: prints how far φ(x) is from them.
    #[arg(long, value_name = "DATA")]
    reference: Option<String>,
    /// A trained perceptron that is to see φ(x): prints how often it names the right class. A state dict in a safetensors,
    /// .pt or .npz file, or a posterior.
    #[arg(long, value_name = "MODEL")]
    teacher: Option<PathBuf>,
    /// Images of a folder are resized to N x N.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=1024))]
    side: u32,
    /// What a row of numbers is: CHANNELSxHEIGHTxWIDTH, such as 1x28x28.
    #[arg(long, alias = "picture", value_name = "CxHxW", value_parser = image)]
    image: Option<Shape>,
    /// Also write every mapped image as a PNG file, images/000000.png and so on.
    #[arg(long, alias = "pictures")]
    images: bool,
    /// Folder of downloads.
    #[arg(long, value_name = "DIR", default_value = "datasets/cache")]
    cache: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The maps by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Identity,
    Noise,
    Convolution,
    Cross,
    Dilation,
    Sine,
    Shuffle,
    Translator,
    Style,
}

impl Arguments {
    /// Whether it trains a network.
    pub(super) fn trains(&self) -> bool {
        self.kind == Kind::Translator && self.translator.is_none()
    }

    /// What is read.
    fn inputs(&self) -> Vec<Input> {
        let data = |word: &Option<String>| word.as_ref().map(|word| place_of(word, &self.cache));
        let all = [
            ("--data", Some(place_of(&self.data, &self.cache))),
            ("--partner", data(&self.partner)),
            ("--reference", data(&self.reference)),
            ("--translator", self.translator.clone()),
            ("--style", self.style.clone()),
            ("--teacher", self.teacher.clone()),
        ];
        all.into_iter().filter_map(|(name, path)| Some(Input::new(name, path?))).collect()
    }
}

/// A map.
struct Built {
    map: Box<dyn DomainMap>,
    /// The same map, where it has a way back.
    translator: Option<Translator>,
}

/// What φ makes of an example.
struct After {
    /// Numbers of φ(x).
    n: usize,
    /// What they are, where they are an image.
    shape: Option<Shape>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.network.check()?;
    if arguments.teacher.is_none() {
        arguments.network.check_used("--teacher")?;
    }
    check_folder(&arguments.out, &WRITTEN, &arguments.inputs()).map_err(UsageError)?;
    let side = arguments.side as usize;
    let limit = arguments.limit.map_or(usize::MAX, |n| n as usize);
    let reading = Reading {
        side,
        image: arguments.image,
        limit,
        cache: &arguments.cache,
        options: &arguments.options,
        is_only: arguments.partner.is_none() && arguments.reference.is_none(),
    };
    let source = Source::open("--data", &arguments.data, &reading)?;
    let after = after(arguments, &source)?;
    let rng = Rng::new(arguments.seed);
    // What cannot be judged is an error before anything is trained: an hour's work must not end in a wrong word.
    let judges = Judges::open(arguments, &source, &reading, &after)?;
    let built = build(arguments, &source, &reading, &rng)?;
    let mapped =
        apply(&*built.map, &source.x, &mut rng.split("map")).context(source.name.clone())?;
    let judged = judges.judge(&source, &built, &mapped, &rng)?;
    write(arguments, &source, &built, &after, &mapped, &rng)?;
    let numbers = [source.x.dim(1)?, mapped.dim(1)?];
    say(&told(arguments, &source.name, (mapped.dim(0)?, numbers), &judged))?;
    Ok(ExitCode::SUCCESS)
}

/// What examples are after the map, which need not be there yet.
fn after(arguments: &Arguments, source: &Source) -> Result<After> {
    let of = |[h, w]: [usize; 2]| Ok(After { n: h * w, shape: Some([1, h, w]) });
    match arguments.kind {
        Kind::Convolution => of(published_convolution(grayscale(source)?)?.output()),
        Kind::Cross => of(FixedConvolution::dilated_cross(grayscale(source)?)?.output()),
        Kind::Identity | Kind::Noise | Kind::Dilation | Kind::Sine => same(source),
        Kind::Shuffle | Kind::Translator | Kind::Style => same(source),
    }
}

fn same(source: &Source) -> Result<After> {
    Ok(After { n: source.x.dim(1)?, shape: source.shape })
}

/// Height and width of grayscale images.
fn grayscale(source: &Source) -> Result<[usize; 2], UsageError> {
    match source.shape {
        Some([1, h, w]) => Ok([h, w]),
        found => Err(UsageError(format!(
            "--kind: this map needs grayscale images, found {}; --image 1xHxW says what a row is",
            found.map_or("rows of numbers".to_owned(), |s| format!("images of {}", words(s)))
        ))),
    }
}

fn build(arguments: &Arguments, source: &Source, reading: &Reading, rng: &Rng) -> Result<Built> {
    let n = source.x.dim(1)?;
    let map: Box<dyn DomainMap> = match arguments.kind {
        Kind::Identity => Box::new(Identity),
        Kind::Noise => {
            let range = range_of_noise(source)?;
            Box::new(GaussianNoise { std: arguments.std, range })
        }
        Kind::Convolution => Box::new(published_convolution(grayscale(source)?)?),
        Kind::Cross => Box::new(FixedConvolution::dilated_cross(grayscale(source)?)?),
        Kind::Dilation => {
            Box::new(MorphologicalDilation { image: grayscale(source)?, side: arguments.window })
        }
        Kind::Sine => Box::new(Sine),
        Kind::Shuffle => Box::new(Selection::random(n, n, &mut rng.split("order"))?),
        Kind::Translator => {
            let translator = translator(arguments, source, reading, rng)?;
            return Ok(Built { map: Box::new(translator.clone()), translator: Some(translator) });
        }
        Kind::Style => Box::new(style(arguments, source)?),
    };
    Ok(Built { map, translator: None })
}

/// [0, 1] for intensities of images; other numbers are not clipped.
fn range_of_noise(source: &Source) -> Result<Option<[f64; 2]>> {
    if source.shape.is_none() {
        return Ok(None);
    }
    let share = share_outside(&source.x)?;
    if share > 0.0 {
        note(&format!(
            "{}: {:.1} % of the numbers lie outside [0, 1], so they are not image intensities, and the result is not clipped",
            source.name,
            100.0 * share
        ));
        return Ok(None);
    }
    Ok(Some([0.0, 1.0]))
}

/// Refuses numbers that are not image intensities, for maps that are made for those alone.
fn check_intensities(source: &Source, what: &str) -> Result<()> {
    let share = share_outside(&source.x)?;
    if share > 0.0 {
        bail!(
            "{}: wanted intensities in [0, 1] for {what}, found {:.1} % of the numbers outside; scale them first",
            source.name,
            100.0 * share
        );
    }
    Ok(())
}

/// Which share of the numbers lies outside [0, 1].
fn share_outside(x: &Tensor) -> Result<f64> {
    if x.dtype() == DType::U8 {
        return Ok(0.0);
    }
    let is_outside = (x.lt(0.0)? + x.gt(1.0)?)?.to_dtype(DType::F64)?;
    Ok(is_outside.mean_all()?.to_scalar::<f64>()?)
}

fn translator(
    arguments: &Arguments,
    source: &Source,
    reading: &Reading,
    rng: &Rng,
) -> Result<Translator> {
    if let Some(path) = &arguments.translator {
        check_intensities(source, "a translator")?;
        return open_translator(path).with_context(|| path.display().to_string());
    }
    let Some(partner) = &arguments.partner else {
        let message =
            "--kind translator: wanted --partner DATA or --translator FILE, found neither";
        return Err(UsageError(message.into()).into());
    };
    let partner = Source::open("--partner", partner, &Reading { limit: usize::MAX, ..*reading })?;
    let (n, found) = (source.x.dim(1)?, partner.x.dim(1)?);
    if n != found {
        bail!(
            "{}: wanted objects of {n} numbers, as {} has, found {found}",
            partner.name,
            source.name
        );
    }
    let mut random = rng.split("pairs");
    let paired = pairs(&source.dataset()?, &partner.dataset()?, 1, &mut |n| random.below(n))
        .with_context(|| format!("{} and {}", source.name, partner.name))?;
    check_intensities(source, "a translator")?;
    check_intensities(&partner, "a translator")?;
    let (n_hidden, n_latent) = TRANSLATOR;
    let network = TranslatorNetwork { n_pixels: n, n_hidden, n_latent };
    let bar = indicatif::ProgressBar::new(arguments.epochs.into());
    let after = |_| {
        bar.inc(1);
        Ok(())
    };
    let epochs = arguments.epochs as usize;
    let trained = train_translator(network, &paired, epochs, &rng.split("training"), after)?;
    bar.finish_and_clear();
    Ok(trained)
}

/// A translator from a file of seven blocks; its sizes follow from theirs.
fn open_translator(path: &Path) -> Result<Translator> {
    let bytes = read(path)?;
    let file = parse(&bytes)?;
    let shape = |name: &str| -> Result<[usize; 2]> {
        let found = file.tensor(name).ok().map(|view| view.shape().to_vec());
        match found.as_deref() {
            Some(&[rows, cols]) if cols > 0 => Ok([rows, cols]),
            _ => bail!("wanted a translator made by `distill map`, found no matrix `{name}`"),
        }
    };
    let ([n_hidden, cols], [n_latent, _]) = (shape("block.0")?, shape("block.1")?);
    file.names().into_iter().try_for_each(|name| numbers(&file, name).map(drop))?;
    let network = TranslatorNetwork { n_pixels: cols - 1, n_hidden, n_latent };
    let parameters = Params::from_bytes(network.layout(), &bytes, &Device::Cpu)?;
    Ok(Translator { network, parameters })
}

fn style(arguments: &Arguments, source: &Source) -> Result<Style> {
    let Some(path) = &arguments.style else {
        let message = "--kind style: wanted --style PICTURE, found none";
        return Err(UsageError(message.into()).into());
    };
    let Some([3, h, w]) = source.shape else {
        bail!("{}: wanted colour pictures for a style, found others", source.name);
    };
    check_intensities(source, "a style")?;
    let said = arguments.weights.clone().map(|folder| ("--weights".to_owned(), folder));
    let explicit = said.or_else(from_environment);
    let places = Places { explicit, cache: arguments.cache.clone() };
    let weights = vgg19(&places, &Device::Cpu)?;
    let scale = InputScale { factor: weights.factor, shift: weights.shift };
    let network = Vgg19::new(&weights.tensors, scale)?;
    let side = h.max(w);
    let intensities = image_of_file(path, side, GrayscaleImages::Convert)?;
    let painting = Tensor::from_vec(intensities, (3, side, side), &Device::Cpu)?;
    Ok(Style::new(network, &painting, [h, w], StyleConfig::three_blocks())?)
}

fn apply(map: &dyn DomainMap, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
    let (m, n) = x.dims2()?;
    let chunk = (MOST_NUMBERS / n.max(1)).clamp(1, CHUNK);
    let mut mapped: Option<Tensor> = None;
    for start in (0..m).step_by(chunk) {
        let part = map.apply(&x.narrow(0, start, chunk.min(m - start))?, rng)?;
        let part = features(&part)?.flatten_from(1)?.to_dtype(DType::F32)?.contiguous()?;
        // Into place one after the other: parts and the whole beside each other take twice the memory.
        let whole = match mapped.take() {
            Some(whole) => whole,
            None => Tensor::zeros((m, part.dim(1)?), DType::F32, &Device::Cpu)?,
        };
        whole.slice_set(&part, 0, start)?;
        mapped = Some(whole);
    }
    mapped.context("expected objects, found none")
}

/// These examples.
fn rows(x: &Tensor, indices: &[usize]) -> Result<Tensor> {
    let numbers: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
    let indices = Tensor::from_vec(numbers, indices.len(), x.device())?;
    Ok(x.index_select(&indices, 0)?)
}

fn words([c, h, w]: Shape) -> String {
    format!("{c} x {h} x {w}")
}

/// CxHxW.
fn image(text: &str) -> Result<Shape, String> {
    let numbers: Vec<usize> = text.split('x').filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [c @ (1 | 3), h, w] if h > 0 && w > 0 && text.split('x').count() == 3 => Ok([c, h, w]),
        _ => Err("wanted CHANNELSxHEIGHTxWIDTH with 1 or 3 channels, such as 1x28x28".into()),
    }
}
