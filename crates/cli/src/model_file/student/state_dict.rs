//! A student's parameters under the names, and in the layout, that the original's had.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow};
use candle_core::{DType, Device, Tensor};
use core_tensors::Params;
use models::graph::change::Standardization;
use models::graph::{Entries, Graph, Op, Source, ValueId};

use super::names::{Place, in_state_dict, is_made_up};
use super::norms::identity;
use super::tensor;
use crate::files::write_described_tensors;
use crate::model_file::network::{Network, OnnxFile, Origin};
use crate::model_file::state_dict::{SpelledLayer, SpelledNorm, SpelledWeight, about};
use crate::model_file::{Trained, network};

/// The tensors of a student's file.
pub(crate) struct StateDict {
    /// By their names, f32.
    pub(super) tensors: Vec<(String, Tensor)>,
    /// Where each parameter of the graph is, by its name there.
    pub(super) places: HashMap<String, Place>,
    /// Biases of the graph that are 0 and have no tensor.
    pub(super) zeros: HashSet<String>,
    /// Biases of the graph that are means of a normalization, with the other sign.
    pub(super) negated: HashSet<String>,
    /// What a user of the original's class must know.
    pub(crate) notes: Vec<String>,
    /// What the file says of itself.
    about: HashMap<String, String>,
}

impl Network {
    /// The parameters of a student, whose graph is this network's, changed under the names that it had.
    ///
    /// What was folded into a linear map is written as a batch normalization that changes nothing, so that the original's class
    /// at the new widths loads the file and computes the same.
    pub(crate) fn student_state_dict(&self, graph: &Graph, params: &Params) -> Result<StateDict> {
        let mut writer = Writer::new(graph, params);
        let format = ("format".to_owned(), "pt".to_owned());
        let mut said = HashMap::from([format]);
        match &self.origin {
            Origin::Onnx(file) => writer.onnx(file)?,
            Origin::Perceptron(trained) => {
                writer.perceptron(trained)?;
                said = about(trained, Some(&self.sha256))?;
            }
        }
        said.extend(self.carried_metadata());
        said.insert(network::PARENT.to_owned(), self.sha256.clone());
        let Writer { tensors, places, zeros, negated, notes, .. } = writer;
        Ok(StateDict { tensors, places, zeros, negated, notes, about: said })
    }
}

impl StateDict {
    /// Lets the metadata of the file say this, too.
    pub(crate) fn say(&mut self, metadata: &[(String, String)]) {
        self.about.extend(metadata.iter().cloned());
    }

    /// The bytes of a safetensors file.
    ///
    /// Its metadata say the SHA-256 of the original, and how examples are standardized before they enter, where they are.
    pub(crate) fn to_bytes(&self, standardization: Option<&Standardization>) -> Result<Vec<u8>> {
        let mut about = self.about.clone();
        if let Some(Standardization { shape, mean, std }) = standardization {
            let said = serde_json::json!({ "shape": shape, "mean": mean, "std": std });
            about.insert("distill.standardization".to_owned(), said.to_string());
        }
        let mut bytes = Vec::new();
        write_described_tensors(&self.tensors, Some(about), &mut bytes)?;
        Ok(bytes)
    }
}

/// A state dict in the making.
struct Writer<'a> {
    graph: &'a Graph,
    params: &'a Params,
    ids: HashMap<&'a str, ValueId>,
    tensors: Vec<(String, Tensor)>,
    places: HashMap<String, Place>,
    zeros: HashSet<String>,
    negated: HashSet<String>,
    notes: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph, params: &'a Params) -> Self {
        let ids = graph.parameters().iter().map(|&id| (graph.value(id).name.as_str(), id));
        let (tensors, places, zeros) = (Vec::new(), HashMap::new(), HashSet::new());
        Self {
            graph,
            params,
            ids: ids.collect(),
            tensors,
            places,
            zeros,
            negated: HashSet::new(),
            notes: Vec::new(),
        }
    }

    /// The numbers of a parameter of the graph, where it has one of this name.
    fn numbers(&self, parameter: &str) -> Result<Option<Tensor>> {
        match self.ids.get(parameter) {
            Some(&id) => Ok(tensor(self.graph, self.params, id)?),
            None => Ok(None),
        }
    }

    fn put(&mut self, parameter: &str, place: Place, numbers: &Tensor) -> Result<()> {
        let numbers = if place.is_turned { numbers.t()?.contiguous()? } else { numbers.clone() };
        self.tensors.push((place.name.clone(), numbers));
        self.places.insert(parameter.to_owned(), place);
        Ok(())
    }

    /// A bias where the original's layer has none.
    fn new_bias(&mut self, parameter: &str, name: &str, numbers: &Tensor) -> Result<()> {
        self.notes.push(format!(
            "`{name}` is new: the student adds a bias where the original has none; give that layer bias=True"
        ));
        self.put(parameter, Place { name: name.to_owned(), is_turned: false }, numbers)
    }

    /// The layers of a state dict, which the graph of a perceptron calls `layers.0.weight`, `layers.0.bias`, and so on.
    fn perceptron(&mut self, trained: &Trained) -> Result<()> {
        if trained.spelled.is_empty() {
            for (&name, &id) in &self.ids.clone() {
                if let Some(numbers) = tensor(self.graph, self.params, id)? {
                    self.put(name, Place { name: name.to_owned(), is_turned: false }, &numbers)?;
                }
            }
            return Ok(());
        }
        for (t, layer) in trained.spelled.iter().enumerate() {
            let [weight, bias] = ["weight", "bias"].map(|role| format!("layers.{t}.{role}"));
            let missing = || anyhow!("the student has no parameter `{weight}`");
            let numbers = self.numbers(&weight)?.ok_or_else(missing)?;
            let (n_units, n_inputs) = numbers.dims2()?;
            let name = self.weight(&weight, layer, &numbers)?;
            let shift = self.layer_bias(&bias, layer, &name, n_units)?;
            if let Some(norm) = &layer.of_units {
                self.tensors.extend(identity(norm, n_units, shift.as_ref())?);
            }
            if let Some(norm) = &layer.of_inputs {
                self.tensors.extend(identity(norm, n_inputs, None)?);
            }
        }
        Ok(())
    }

    /// Writes a weight; the name of the tensor that has its shape.
    fn weight(
        &mut self,
        parameter: &str,
        layer: &SpelledLayer,
        numbers: &Tensor,
    ) -> Result<String> {
        let is_turned = layer.is_turned;
        let place = |name: &str| Place { name: name.to_owned(), is_turned };
        match &layer.weight {
            SpelledWeight::Plain(name) => {
                self.put(parameter, place(name), numbers)?;
                Ok(name.clone())
            }
            SpelledWeight::Masked { original, mask } => {
                self.put(parameter, place(original), numbers)?;
                let ones = numbers.ones_like()?;
                let ones = if is_turned { ones.t()?.contiguous()? } else { ones };
                self.tensors.push((mask.clone(), ones));
                Ok(original.clone())
            }
            SpelledWeight::Normalized { gain, n_axes, is_one, direction } => {
                /// The numbers of a row of zeros, which has no direction; its gain is 0.
                const NO_DIRECTION: f32 = 1e-12;
                let mut rows = numbers.to_vec2::<f32>()?;
                let square = |row: &Vec<f32>| row.iter().map(|&v| f64::from(v).powi(2)).sum();
                let mut squares: Vec<f64> = rows.iter().map(square).collect();
                if *is_one {
                    squares = vec![squares.iter().sum()];
                }
                let is_still = squares.iter().all(|&square| square == 0.0);
                for (i, row) in rows.iter_mut().enumerate() {
                    let square = squares.get(i).copied().filter(|_| !is_one);
                    if square == Some(0.0) || *is_one && is_still {
                        row.fill(NO_DIRECTION);
                    }
                }
                let gains: Vec<f32> = squares.iter().map(|square| square.sqrt() as f32).collect();
                let mut shape = vec![1; *n_axes];
                if let Some(first) = shape.first_mut() {
                    *first = gains.len();
                }
                self.tensors.push((gain.clone(), Tensor::from_vec(gains, shape, &Device::Cpu)?));
                self.put(parameter, place(direction), &Tensor::new(rows, &Device::Cpu)?)?;
                Ok(direction.clone())
            }
        }
    }

    /// Writes a bias; gives the one that the normalization behind the layer has to add instead.
    fn layer_bias(
        &mut self,
        parameter: &str,
        layer: &SpelledLayer,
        weight: &str,
        n_units: usize,
    ) -> Result<Option<Tensor>> {
        let numbers = self.numbers(parameter)?;
        let zeros = || Tensor::zeros(n_units, DType::F32, &Device::Cpu);
        if let Some((name, mask)) = &layer.bias {
            let numbers = numbers.map_or_else(zeros, Ok)?;
            self.put(parameter, Place { name: name.clone(), is_turned: false }, &numbers)?;
            if let Some(mask) = mask {
                self.tensors.push((mask.clone(), numbers.ones_like()?));
            }
            return Ok(None);
        }
        let Some(numbers) = numbers else { return Ok(None) };
        if let Some(norm) = &layer.of_units {
            let name = norm.shift.as_ref().unwrap_or(&norm.mean).clone();
            self.places.insert(parameter.to_owned(), Place { name, is_turned: false });
            if norm.shift.is_none() {
                self.negated.insert(parameter.to_owned());
            }
            return Ok(Some(numbers));
        }
        if numbers.abs()?.max_all()?.to_scalar::<f32>()? > 0.0 {
            let module = weight.rsplit_once('.').map_or("", |(module, _)| module);
            let module = module.strip_suffix(".parametrizations.weight").unwrap_or(module);
            let name = if module.is_empty() { "bias".into() } else { format!("{module}.bias") };
            self.new_bias(parameter, &name, &numbers)?;
        } else {
            self.zeros.insert(parameter.to_owned());
        }
        Ok(None)
    }

    /// The tensors of an ONNX file, under the names of PyTorch where exporters have replaced those.
    fn onnx(&mut self, file: &OnnxFile) -> Result<()> {
        let (graph, original) = (self.graph, &file.imported.graph);
        let were: HashSet<&str> =
            original.parameters().iter().map(|&id| original.value(id).name.as_str()).collect();
        let (norms, shifts) = folded(original, graph);
        let mut taken: HashSet<String> = were.iter().map(|name| (*name).to_owned()).collect();
        taken.extend(norms.iter().flat_map(|(norm, _)| norm_names(norm)));
        let (mut left, mut came) = (Vec::new(), Vec::new());
        for &id in graph.parameters() {
            let name = graph.value(id).name.as_str();
            let Some(numbers) = tensor(graph, self.params, id)? else { continue };
            if let Some(shift) = shifts.get(&id).filter(|_| !were.contains(name)) {
                let place = Place { name: shift.clone(), is_turned: false };
                self.places.insert(name.to_owned(), place);
                continue;
            }
            let place = in_state_dict(graph, id).filter(|place| !taken.contains(&place.name));
            let place = place.filter(|place| !place.is_turned || numbers.rank() == 2);
            match place {
                Some(place) => {
                    taken.insert(place.name.clone());
                    if place.name.ends_with(".bias") {
                        came.push(format!("`{}`", place.name));
                    }
                    self.put(name, place, &numbers)?;
                }
                None if were.contains(name) => {
                    if is_made_up(name) {
                        left.push(format!("`{name}`"));
                    }
                    self.put(name, Place { name: name.to_owned(), is_turned: false }, &numbers)?;
                }
                None => self.new_bias(name, name, &numbers)?,
            }
        }
        for (norm, bias) in norms {
            let Some(numbers) = tensor(graph, self.params, bias)? else { continue };
            let name = graph.value(bias).name.as_str();
            let shift = (!were.contains(name)).then_some(&numbers);
            self.tensors.extend(identity(&norm, numbers.elem_count(), shift)?);
        }
        self.buffers(file)?;
        if !came.is_empty() {
            self.notes.push(format!(
                "{}: the exporter folded batch normalizations into these layers; give them bias=True and leave the \
                 normalizations out",
                came.join(", ")
            ));
        }
        if !left.is_empty() {
            self.notes.push(format!(
                "{}: the exporter made up these names; rename them before load_state_dict",
                left.join(", ")
            ));
        }
        Ok(())
    }

    /// Floats of the file that are no parameters, such as the mean and std that a module normalizes images with.
    fn buffers(&mut self, file: &OnnxFile) -> Result<()> {
        let is_float = |name: &str| {
            let mut tensors = file.model.initializers().iter();
            tensors.any(|tensor| tensor.name == name && tensor.data_type.is_float())
        };
        for value in self.graph.values() {
            let Source::Constant(numbers) = &value.source else { continue };
            let Entries::Floats(entries) = &numbers.entries else { continue };
            let name = value.name.as_str();
            if numbers.shape.is_empty() || is_made_up(name) || !is_float(name) {
                continue;
            }
            let entries: Vec<f32> = entries.iter().map(|&v| v as f32).collect();
            let tensor = Tensor::from_vec(entries, numbers.shape.as_slice(), &Device::Cpu)?;
            self.tensors.push((name.to_owned(), tensor));
        }
        Ok(())
    }
}

/// The batch normalizations that the original has and the student not, each with the parameter that is added in its place;
/// and the shift of each by that parameter.
fn folded(
    original: &Graph,
    student: &Graph,
) -> (Vec<(SpelledNorm, ValueId)>, HashMap<ValueId, String>) {
    let (mut norms, mut shifts) = (Vec::new(), HashMap::new());
    for node in original.nodes() {
        let Op::BatchNormalization { epsilon } = node.op else { continue };
        let &[_, scale, shift, mean, variance] = node.operands.as_slice() else { continue };
        let name = |id: ValueId| original.value(id).name.clone();
        let is_named = [scale, shift, mean, variance].iter().all(|&id| !is_made_up(&name(id)));
        let Some(result) = node.results.first().filter(|_| is_named) else { continue };
        let Some(bias) = bias_of(student, &name(*result)) else { continue };
        shifts.insert(bias, name(shift));
        let norm = SpelledNorm {
            scale: Some(name(scale)),
            shift: Some(name(shift)),
            mean: name(mean),
            variance: name(variance),
            epsilon: f64::from(epsilon),
        };
        norms.push((norm, bias));
    }
    (norms, shifts)
}

/// The parameter that is added by the linear node, or the Add behind it, that gives this value.
fn bias_of(graph: &Graph, value: &str) -> Option<ValueId> {
    let is_result = |id: &ValueId| graph.value(*id).name == value;
    let node = graph.nodes().iter().find(|node| node.results.first().is_some_and(is_result))?;
    let is_parameter = |id: &ValueId| matches!(graph.value(*id).source, Source::Parameter(_));
    match node.op {
        Op::Gemm { .. } | Op::Conv { .. } => node.operands.get(2).copied().filter(is_parameter),
        Op::Binary(_) => node.operands.iter().copied().find(is_parameter),
        _ => None,
    }
}

fn norm_names(norm: &SpelledNorm) -> Vec<String> {
    let SpelledNorm { scale, shift, mean, variance, epsilon: _ } = norm;
    scale.iter().chain(shift).chain([mean, variance]).cloned().collect()
}
