//! The writing half of the file format: tensors go out number by number, so that no copy of them is made.

use std::io::Write;

use faer::MatRef;
use models::Mlp;

use super::{
    Header, INPUT, METADATA, Provenance, VERSION, VERSION_STANDARDIZED, check_header, check_inputs,
    check_outputs, names_of,
};
use crate::block_diagonal::{BlockDiagonal, Group};
use crate::checks;
use crate::diagonal::Diagonal;
use crate::edit::Posterior;
use crate::error::{Error, Result};
use crate::full::Full;
use crate::kronecker::Kronecker;
use crate::kronecker_eigen::KroneckerEigen;
use crate::low_rank::LowRank;
use crate::structure::Covariance;

/// Writes a posterior as a safetensors file.
pub(super) fn write<S: Tensors>(
    posterior: &Posterior<S>,
    blocks: Option<Group>,
    provenance: &Provenance,
    to: &mut dyn Write,
) -> Result<()> {
    posterior.check()?;
    provenance.check()?;
    let network = posterior.network();
    let (n_inputs, n_outputs) = ends(network);
    check_outputs(provenance.noise_variances.as_deref(), n_outputs)?;
    let standardization = provenance.standardization.as_ref();
    standardization.map_or(Ok(()), |of| check_inputs(of, n_inputs))?;
    let header = Header {
        format: if standardization.is_some() { VERSION_STANDARDIZED } else { VERSION },
        widths: network.widths.clone(),
        bias: network.bias,
        activation: network.activation.name().into(),
        slope: network.activation.slope(),
        structure: S::NAME.into(),
        blocks,
        kept: Some(posterior.kept().to_vec()),
        inexact: posterior.is_inexact(),
    };
    header.network()?;
    let mut tensors = vec![Named::vector("mean", posterior.gaussian().mean())];
    tensors.extend(posterior.gaussian().covariance().tensors());
    if let Some(of) = standardization {
        let [mean, std] = INPUT;
        tensors.extend([Named::vector(mean, &of.mean), Named::vector(std, &of.std)]);
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors.iter().try_for_each(Named::check)?;
    let json = |e: serde_json::Error| Error::Format(e.to_string());
    let text = serde_json::to_string(&Metadata { header: &header, provenance }).map_err(json)?;
    let mut index = serde_json::Map::new();
    index.insert("__metadata__".into(), serde_json::json!({ METADATA: text }));
    let mut start = 0;
    for Named { name, numbers } in &tensors {
        let shape = numbers.shape();
        let end = start + 8 * shape.iter().product::<usize>();
        let entry = serde_json::json!({
            "dtype": "F64", "shape": shape, "data_offsets": [start, end]
        });
        index.insert(name.clone(), entry);
        start = end;
    }
    let mut head = serde_json::to_vec(&index).map_err(json)?;
    // Numbers start at a multiple of their size.
    head.resize(head.len().next_multiple_of(8), b' ');
    check_header(head.len(), start)?;
    to.write_all(&(head.len() as u64).to_le_bytes())?;
    to.write_all(&head)?;
    tensors.iter().try_for_each(|named| named.numbers.write(to))?;
    Ok(())
}

/// n_0 and n_T.
pub(super) fn ends(network: &Mlp) -> (usize, usize) {
    let of = |width: Option<&usize>| width.copied().unwrap_or(0);
    (of(network.widths.first()), of(network.widths.last()))
}

/// The metadata of a file.
#[derive(serde::Serialize)]
struct Metadata<'a> {
    #[serde(flatten)]
    header: &'a Header,
    #[serde(flatten)]
    provenance: &'a Provenance,
}

/// Numbers under a name, to be written.
pub(super) struct Named<'a> {
    name: String,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    One(f64),
    Vector(&'a [f64]),
    Matrix(MatRef<'a, f64>),
}

impl<'a> Named<'a> {
    fn vector(name: &str, values: &'a [f64]) -> Self {
        Self { name: name.into(), numbers: Numbers::Vector(values) }
    }

    fn matrix(name: impl Into<String>, a: MatRef<'a, f64>) -> Self {
        Self { name: name.into(), numbers: Numbers::Matrix(a) }
    }

    /// Refuses a number that is not finite.
    fn check(&self) -> Result<()> {
        let Self { name, numbers } = self;
        match numbers {
            Numbers::One(value) => checks::finite(&format!("tensor `{name}`"), *value),
            Numbers::Vector(values) => match values.iter().position(|v| !v.is_finite()) {
                Some(i) => checks::finite(&format!("entry [{i}] of tensor `{name}`"), values[i]),
                None => Ok(()),
            },
            Numbers::Matrix(a) => checks::entries(&format!("tensor `{name}`"), *a),
        }
    }
}

impl Numbers<'_> {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::One(_) => vec![1],
            Self::Vector(values) => vec![values.len()],
            Self::Matrix(a) => vec![a.nrows(), a.ncols()],
        }
    }

    /// Row by row, little-endian.
    fn write(&self, to: &mut dyn Write) -> std::io::Result<()> {
        match self {
            Self::One(value) => to.write_all(&value.to_le_bytes()),
            Self::Vector(values) => values.iter().try_for_each(|v| to.write_all(&v.to_le_bytes())),
            Self::Matrix(a) => {
                let mut bytes = Vec::with_capacity(8 * a.ncols());
                for i in 0..a.nrows() {
                    bytes.clear();
                    a.row(i).iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
                    to.write_all(&bytes)?;
                }
                Ok(())
            }
        }
    }
}

/// A structure that bytes can hold.
pub(super) trait Tensors: Covariance {
    fn tensors(&self) -> Vec<Named<'_>>;
}

impl Tensors for Diagonal {
    fn tensors(&self) -> Vec<Named<'_>> {
        vec![Named::vector("variance", self.variance())]
    }
}

impl Tensors for BlockDiagonal {
    fn tensors(&self) -> Vec<Named<'_>> {
        let blocks = self.blocks().iter().enumerate();
        blocks.map(|(i, block)| Named::matrix(format!("block.{i}"), block.matrix())).collect()
    }
}

impl Tensors for Kronecker {
    fn tensors(&self) -> Vec<Named<'_>> {
        let mut named = Vec::new();
        for (i, layer) in self.layers().iter().enumerate() {
            named.push(Named::matrix(format!("rows.{}", i + 1), layer.rows.matrix()));
            named.push(Named::matrix(format!("columns.{}", i + 1), layer.columns.matrix()));
        }
        named
    }
}

impl Tensors for KroneckerEigen {
    fn tensors(&self) -> Vec<Named<'_>> {
        let mut named = vec![Named {
            name: "prior_precision".into(),
            numbers: Numbers::One(self.prior_precision()),
        }];
        for (t, layer) in self.layers().iter().enumerate() {
            for (of, spectrum) in [("rows", &layer.rows), ("columns", &layer.columns)] {
                let name = |what: &str| format!("{of}_{what}.{}", t + 1);
                named.push(Named::matrix(name("vectors"), spectrum.vectors()));
                named.push(Named::vector(&name("values"), spectrum.values()));
            }
        }
        named
    }
}

impl Tensors for LowRank {
    fn tensors(&self) -> Vec<Named<'_>> {
        let (factor, diagonal) = names_of(self.form());
        vec![Named::matrix(factor, self.factor()), Named::vector(diagonal, self.own_diagonal())]
    }
}

impl Tensors for Full {
    fn tensors(&self) -> Vec<Named<'_>> {
        vec![Named::matrix("covariance", self.matrix())]
    }
}
