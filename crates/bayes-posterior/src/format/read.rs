//! The reading half of the file format: sizes are compared with what the file holds before anything is built of them.

use core_tensors::Layout;
use core_tensors::kernels::Activation;
use faer::Mat;
use models::graph::change::Standardization;
use models::{Architecture, Mlp};
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use super::write::ends;
use super::{
    AnyPosterior, Header, INPUT, METADATA, Provenance, VERSION, VERSION_STANDARDIZED, check_header,
    check_inputs, check_outputs, names_of,
};
use crate::block_diagonal::{BlockDiagonal, Group};
use crate::diagonal::Diagonal;
use crate::edit::Posterior;
use crate::error::{Error, Result, cut, shown};
use crate::full::Full;
use crate::gaussian::Gaussian;
use crate::kronecker::{Factors, Kronecker};
use crate::kronecker_eigen::{KroneckerEigen, LayerCurvature, Spectrum};
use crate::low_rank::{LowRank, LowRankForm};

/// Bytes of a number.
const SIZE: usize = size_of::<f64>();
/// Layers that a file may have: lists of them are kept, and no network is that deep.
const MOST_LAYERS: usize = 4096;
/// Entries of the metadata beside the widths and the ids of units, each at most p + 1 numbers.
const MOST_KEYS: usize = 4096;

/// Reads a safetensors file.
///
/// What a file declares never decides how much memory is taken: the numbers of `mean` are in the file, and everything
/// else is at most of their size, or a tensor that is in the file too.
pub(super) fn read(bytes: &[u8]) -> Result<(AnyPosterior, Provenance)> {
    let file = File::open(bytes)?;
    let (header, mut provenance) = file.header()?;
    let network = header.network()?;
    let p = n_parameters(&network)?;
    let mean = file.vector("mean", p)?;
    // From here on p is a number that the file bears out, and no width is larger.
    let layout = network.layout();
    let kept =
        header.kept.unwrap_or_else(|| network.widths.iter().map(|&n| (0..n).collect()).collect());
    macro_rules! posterior {
        ($covariance:expr) => {{
            let gaussian = Gaussian::new(network.layout(), mean, $covariance)?;
            Posterior::with_history(network, gaussian, kept, header.inexact)?
        }};
    }
    let any = match header.structure.as_str() {
        "diagonal" => {
            let variance = file.vector("variance", p)?;
            AnyPosterior::Diagonal(posterior!(Diagonal::new(variance)?))
        }
        "block" => AnyPosterior::BlockDiagonal(posterior!(file.blocks(header.blocks, &layout)?)),
        "kronecker" => {
            let layers = layout.blocks.iter().enumerate();
            let layers = layers.map(|(i, b)| file.factors(i + 1, [b.rows, b.cols]));
            let covariance = Kronecker::new(layers.collect::<Result<_>>()?);
            AnyPosterior::Kronecker(posterior!(covariance))
        }
        "kronecker_eigen" => {
            let layers = layout.blocks.iter().enumerate();
            let layers = layers.map(|(i, b)| file.curvature(i + 1, [b.rows, b.cols]));
            let precision = file.vector("prior_precision", 1)?[0];
            let covariance = KroneckerEigen::new(layers.collect::<Result<_>>()?, precision)?;
            AnyPosterior::KroneckerEigen(posterior!(covariance))
        }
        "low_rank" => AnyPosterior::LowRank(posterior!(file.low_rank(p)?)),
        "full" => AnyPosterior::Full(posterior!(file.covariance("covariance", p)?)),
        other => {
            let other = shown(other);
            return Err(Error::Format(format!(
                "structure `{other}`, wanted diagonal, block, kronecker, kronecker_eigen, low_rank or full"
            )));
        }
    };
    let (n_inputs, n_outputs) = ends(any.network());
    check_outputs(provenance.noise_variances.as_deref(), n_outputs)?;
    if header.format == VERSION_STANDARDIZED {
        let [mean, std] = INPUT.map(|name| file.vector(name, n_inputs));
        let of = Standardization { shape: vec![n_inputs], mean: mean?, std: std? };
        check_inputs(&of, n_inputs)?;
        provenance.standardization = Some(of);
    }
    Ok((any, provenance))
}

impl Header {
    /// The network, once its widths, activation and slope are known to be some.
    pub(super) fn network(&self) -> Result<Mlp> {
        let named = Activation::from_name(&self.activation, self.slope);
        let activation = match (named, self.activation.as_str()) {
            (Some(activation), _) => activation,
            (None, "leaky_relu") => {
                let found = self.slope.map_or_else(|| "none".into(), |slope| slope.to_string());
                return Err(Error::Format(format!(
                    "leaky_relu with slope {found}, wanted one in (0, 1)"
                )));
            }
            (None, other) => {
                let other = shown(other);
                return Err(Error::Format(format!(
                    "activation `{other}`, wanted relu, leaky_relu, tanh, sigmoid, silu, gelu or identity"
                )));
            }
        };
        let n_layers = self.widths.len().saturating_sub(1);
        if n_layers == 0 || n_layers > MOST_LAYERS || self.widths.contains(&0) {
            let widths = cut(&format!("{:?}", self.widths));
            return Err(Error::Format(format!(
                "widths {widths}, wanted 2 to {} of them, each at least 1",
                MOST_LAYERS + 1
            )));
        }
        Ok(Mlp { widths: self.widths.clone(), activation, bias: self.bias })
    }
}

/// p of the widths, which may be any numbers.
fn n_parameters(network: &Mlp) -> Result<usize> {
    let bias = usize::from(network.bias);
    let block = |n: &[usize]| n[0].checked_add(bias)?.checked_mul(n[1]);
    let total = network.widths.windows(2).try_fold(0_usize, |sum, n| sum.checked_add(block(n)?));
    total.ok_or_else(|| {
        let widths = cut(&format!("{:?}", network.widths));
        Error::Format(format!("widths {widths}, no file holds so many parameters"))
    })
}

/// A file to take tensors out of.
struct File<'a> {
    metadata: Metadata,
    /// What follows the header.
    data: &'a [u8],
}

impl<'a> File<'a> {
    /// Tensors that cover the rest of the file, as the format of safetensors has it.
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let head = bytes.first_chunk().map(|head| u64::from_le_bytes(*head));
        // A header that is longer than the file is none, which is told below.
        if let Some(Ok(head)) = head.map(usize::try_from)
            && let Some(n_bytes) = bytes.len().checked_sub(head.saturating_add(size_of::<u64>()))
        {
            check_header(head, n_bytes)?;
        }
        let (head, metadata) = SafeTensors::read_metadata(bytes)?;
        let data = bytes.get(size_of::<u64>() + head..).unwrap_or_default();
        Ok(Self { metadata, data })
    }

    /// The metadata of this program; their lists are no longer than `mean` allows before they are parsed.
    fn header(&self) -> Result<(Header, Provenance)> {
        let texts = self.metadata.metadata().as_ref();
        let text = texts.and_then(|texts| texts.get(METADATA)).ok_or_else(|| {
            Error::Format(format!(
                "the metadata lack the key `{METADATA}`; `distill posterior` makes one from a model"
            ))
        })?;
        let p = self.metadata.info("mean").map_or(0, |mean| {
            let (start, end) = mean.data_offsets;
            end.saturating_sub(start) / SIZE
        });
        let most = p.saturating_mul(2).saturating_add(MOST_KEYS);
        let found = text.bytes().filter(|&b| b == b',').count();
        if found > most {
            return Err(Error::Format(format!(
                "the metadata `{METADATA}`: {found} entries, wanted at most {most} beside a `mean` of {p} numbers"
            )));
        }
        let refuse = |e: serde_json::Error| {
            Error::Format(format!("the metadata `{METADATA}`: {}", shown(&e.to_string())))
        };
        let header: Header = serde_json::from_str(text).map_err(refuse)?;
        if ![VERSION, VERSION_STANDARDIZED].contains(&header.format) {
            let found = header.format;
            return Err(Error::Format(format!(
                "format {found}, this version reads {VERSION} and {VERSION_STANDARDIZED}"
            )));
        }
        // Read apart: a flattened part would hold a copy of every unknown key.
        let provenance: Provenance = serde_json::from_str(text).map_err(refuse)?;
        provenance.check()?;
        Ok((header, provenance))
    }

    /// The bytes of a tensor that has this shape.
    fn tensor(&self, name: &str, wanted: &[usize]) -> Result<&'a [u8]> {
        let info = self
            .metadata
            .info(name)
            .ok_or_else(|| Error::Format(format!("the tensor `{name}` is missing")))?;
        if info.dtype != Dtype::F64 {
            let found = info.dtype;
            return Err(Error::Format(format!("tensor `{name}` holds {found:?}, wanted F64")));
        }
        let (start, end) = info.data_offsets;
        let data = self.data.get(start..end);
        let size = wanted.iter().try_fold(SIZE, |size, &n| size.checked_mul(n));
        match data {
            Some(data) if info.shape == wanted && size == Some(data.len()) => Ok(data),
            _ => {
                let found = cut(&format!("{:?}", info.shape));
                Err(Error::Format(format!(
                    "tensor `{name}` has shape {found}, wanted {wanted:?} by the widths"
                )))
            }
        }
    }

    /// Finite numbers, row by row, each given to `take` with its place.
    fn numbers(&self, name: &str, shape: &[usize], mut take: impl FnMut(usize, f64)) -> Result<()> {
        let (chunks, _) = self.tensor(name, shape)?.as_chunks::<SIZE>();
        for (place, bytes) in chunks.iter().enumerate() {
            let value = f64::from_le_bytes(*bytes);
            if !value.is_finite() {
                let entry = match shape {
                    [_, columns] => format!("[{}, {}]", place / columns, place % columns),
                    _ => format!("[{place}]"),
                };
                return Err(Error::Format(format!(
                    "tensor `{name}`, entry {entry} is {value}, wanted a finite number"
                )));
            }
            take(place, value);
        }
        Ok(())
    }

    fn vector(&self, name: &str, n: usize) -> Result<Vec<f64>> {
        self.tensor(name, &[n])?;
        let mut vector = Vec::with_capacity(n);
        self.numbers(name, &[n], |_, value| vector.push(value))?;
        Ok(vector)
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Mat<f64>> {
        self.tensor(name, &shape)?;
        let mut matrix = Mat::zeros(shape[0], shape[1]);
        self.numbers(name, &shape, |k, value| matrix[(k / shape[1], k % shape[1])] = value)?;
        Ok(matrix)
    }

    /// A square that is symmetric up to rounding: its rows are read as columns.
    fn covariance(&self, name: &str, n: usize) -> Result<Full> {
        self.tensor(name, &[n, n])?;
        let mut matrix = Mat::zeros(n, n);
        self.numbers(name, &[n, n], |k, value| matrix[(k % n, k / n)] = value)?;
        within(name, Full::new(matrix))
    }

    fn blocks(&self, group: Option<Group>, layout: &Layout) -> Result<BlockDiagonal> {
        let group = group.ok_or_else(|| {
            Error::Format("structure `block` wants `blocks`: \"layer\" or \"unit\"".into())
        })?;
        let sizes = group.sizes(layout);
        let next = format!("block.{}", sizes.len());
        if self.metadata.info(&next).is_some() {
            let n = sizes.len();
            return Err(Error::Format(format!("tensor `{next}` is one too many beside {n}")));
        }
        let block = |(i, n): (usize, usize)| self.covariance(&format!("block.{i}"), n);
        let blocks = sizes.into_iter().enumerate().map(block).collect::<Result<_>>()?;
        Ok(BlockDiagonal::of(group, blocks))
    }

    fn low_rank(&self, p: usize) -> Result<LowRank> {
        let is_covariance = self.metadata.info("factor").is_some();
        let form = if is_covariance { LowRankForm::Covariance } else { LowRankForm::Precision };
        let (factor, diagonal) = names_of(form);
        // As p is at least 1, as many directions as the file holds numbers of.
        let rank = match self.metadata.info(factor).map(|info| &info.shape[..]) {
            Some([_, rank]) => *rank,
            _ => 1,
        };
        LowRank::new(form, self.matrix(factor, [p, rank])?, self.vector(diagonal, p)?)
    }

    fn curvature(&self, t: usize, [rows, columns]: [usize; 2]) -> Result<LayerCurvature> {
        let spectrum = |of: &str, n: usize| {
            let (vectors, values) = (format!("{of}_vectors.{t}"), format!("{of}_values.{t}"));
            let spectrum = Spectrum::new(self.matrix(&vectors, [n, n])?, self.vector(&values, n)?);
            within(&format!("{of}_*.{t}"), spectrum)
        };
        Ok(LayerCurvature { rows: spectrum("rows", rows)?, columns: spectrum("columns", columns)? })
    }

    fn factors(&self, t: usize, [rows, columns]: [usize; 2]) -> Result<Factors> {
        let rows = self.covariance(&format!("rows.{t}"), rows)?;
        Ok(Factors { rows, columns: self.covariance(&format!("columns.{t}"), columns)? })
    }
}

/// Says which tensor was refused.
fn within<T>(tensor: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::Format(format!("tensor `{tensor}`: {error}")))
}
