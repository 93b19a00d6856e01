//! A trained network, ready to be narrowed: what can go, what it costs, and what it saves.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use bayes_posterior::surgery::network::{
    Allocation, Budget as Most, Calibration, Curve, Cutting, Network, Operated, OutputCurvatures,
    Surgery, allocate, curves, descend, descending_sizes, enough_directions, operate,
    output_curvatures, pinned_groups,
};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use losses::Likelihood;
use models::graph::Graph;
use models::graph::axes::{Axes, Sizes};

use super::likelihood::{InUnits, OutputLikelihood};

/// What a small network may have less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Numbers that are learned.
    Parameters,
    /// Multiply-adds of an example.
    Products,
    /// Bytes of the ONNX file.
    Bytes,
}

impl Resource {
    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Products => "multiply-adds",
            Self::Bytes => "bytes",
        }
    }
}

/// A network, its units, and what calibration examples tell of them.
pub(crate) struct Plan {
    /// f(x, w), batch normalizations folded into the maps before them.
    pub(crate) graph: Graph,
    /// w, with outputs in units of their noise.
    params: Params,
    /// σ, by which the outputs are divided; `None` where they are those of the network.
    scales: Option<Vec<f64>>,
    /// Why outputs of different noise share one variance, where they do.
    pub(crate) shared_variance: Option<String>,
    /// The units of the graph.
    pub(crate) axes: Axes,
    sizes: Sizes,
    /// Bytes of the file beside its parameters.
    n_bytes_beside: f64,
    n_bytes_each: f64,
    calibration: Calibration,
    curvatures: OutputCurvatures,
    /// What each group that can lose units costs at each width.
    curves: Vec<Curve>,
    likelihood: Likelihood,
    multiple: usize,
    n_directions: usize,
}

/// How a plan is made.
#[derive(Clone, Debug)]
pub(crate) struct PlanOptions {
    /// In what a loss of the network is measured.
    pub(crate) likelihood: OutputLikelihood,
    /// Widths are multiples of this.
    pub(crate) multiple: usize,
    /// Bytes of the network's ONNX file.
    pub(crate) n_bytes: usize,
    /// Bytes of a parameter there: 4, or 8 of a network in f64.
    pub(crate) n_bytes_each: usize,
}

impl Plan {
    /// Looks at each group of units by the calibration examples `x`, which need no labels.
    pub(crate) fn new(
        graph: &Graph,
        params: &Params,
        x: &Tensor,
        options: PlanOptions,
        rng: &Rng,
    ) -> Result<Self> {
        let PlanOptions { likelihood, multiple, n_bytes, n_bytes_each } = options;
        let n_bytes_each = n_bytes_each as f64;
        let before = graph.layout().n_parameters() as f64;
        let (graph, params, _) = graph.with_batch_norm_folded(params)?;
        let InUnits { params, likelihood, scales, shared } =
            likelihood.in_units(&graph, &params)?;
        let axes = Axes::of(&graph);
        let calibration = Calibration::new(std::slice::from_ref(x), None, Cutting::default())?;
        let network = Network { graph: &graph, params: &params, axes: &axes };
        let n_directions = enough_directions(&calibration).min(n_outputs(&graph));
        let mut draws = rng.split("curvatures");
        let curvatures =
            output_curvatures(&network, &calibration, likelihood, n_directions, &mut draws)?;
        let surgery = Surgery::held_out();
        let curves = curves(&network, &calibration, &surgery, Some(&curvatures))?;
        let n_bytes_beside = (n_bytes as f64 - n_bytes_each * before).max(0.0);
        let sizes = axes.sizes(&graph);
        Ok(Self {
            graph,
            params,
            scales,
            shared_variance: shared,
            axes,
            sizes,
            n_bytes_beside,
            n_bytes_each,
            calibration,
            curvatures,
            curves,
            likelihood,
            multiple,
            n_directions,
        })
    }

    /// Units of each group of the whole network.
    pub(crate) fn full(&self) -> Vec<usize> {
        self.axes.groups().iter().map(|group| group.n_units).collect()
    }

    /// Groups that can lose units, by index, the input side first.
    pub(crate) fn free(&self) -> Vec<usize> {
        let mut free: Vec<usize> = self.curves.iter().map(|curve| curve.group).collect();
        free.sort_unstable();
        free
    }

    /// The smallest widths that can be reached.
    pub(crate) fn least(&self) -> Vec<usize> {
        self.least_of_multiple(self.multiple)
    }

    /// The smallest widths, were they multiples of this.
    pub(crate) fn least_of_multiple(&self, multiple: usize) -> Vec<usize> {
        let mut widths = self.full();
        for curve in &self.curves {
            widths[curve.group] = multiple.clamp(1, widths[curve.group]);
        }
        widths
    }

    /// Why no smaller network can be reached.
    pub(crate) fn floor_reasons(&self) -> String {
        let kept = match self.multiple {
            0 | 1 => "each layer keeps a unit".to_owned(),
            n => format!("--multiple {n} keeps at least {n} units of each layer"),
        };
        match &self.pinned()[..] {
            [] => kept,
            pinned => format!("{kept}, and all of {}", pinned.join(", ")),
        }
    }

    /// Gradients of each example behind the curvatures of the outputs.
    pub(crate) fn n_directions(&self) -> usize {
        self.n_directions
    }

    /// What must stay, the largest first, with the reason.
    pub(crate) fn pinned(&self) -> Vec<String> {
        pinned_groups(&self.axes)
    }

    /// How much of a resource the network has at some widths.
    pub(crate) fn size(&self, resource: Resource, widths: &[usize]) -> f64 {
        match resource {
            Resource::Parameters => self.sizes.n_parameters(widths),
            Resource::Products => self.sizes.n_products(widths),
            Resource::Bytes => {
                self.n_bytes_beside + self.n_bytes_each * self.sizes.n_parameters(widths)
            }
        }
    }

    /// Widths with at most so much of a resource, at a small predicted cost.
    pub(crate) fn widths(&self, resource: Resource, most: f64) -> Result<Vec<usize>> {
        self.check_can_lose()?;
        let size = |widths: &[usize]| self.size(resource, widths);
        let allocation = allocate(&self.curves, &self.full(), size, &self.most(most))?;
        Ok(allocation.widths)
    }

    /// Widths of the same share of units in every group that feeds one map only, with at most so much of a resource; `None`
    /// where such widths do not reach it.
    pub(crate) fn uniform_widths(&self, resource: Resource, most: f64) -> Option<Vec<usize>> {
        let (mut low, mut high) = (0.0, 1.0);
        if self.size(resource, &self.at_share(low)) > most {
            return None;
        }
        // Widths change at no more than as many shares as there are units.
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            let fits = self.size(resource, &self.at_share(middle)) <= most;
            *(if fits { &mut low } else { &mut high }) = middle;
        }
        Some(self.at_share(low))
    }

    fn at_share(&self, share: f64) -> Vec<usize> {
        let mut widths = self.full();
        for curve in &self.curves {
            let group = &self.axes.groups()[curve.group];
            if group.consumers.len() == 1 && group.producers.len() == 1 {
                let multiple = self.multiple.clamp(1, group.n_units) as f64;
                let kept = (share * group.n_units as f64 / multiple).round().max(1.0) * multiple;
                widths[curve.group] = (kept as usize).min(group.n_units);
            }
        }
        widths
    }

    /// Names of a group: its own, then those of the nodes whose outputs its units are, and of its layers in the file, which
    /// `spelled` has with the names of the graph.
    fn names(&self, g: usize, spelled: &[(String, String)]) -> Vec<String> {
        let group = &self.axes.groups()[g];
        let mut names = vec![group.name.clone()];
        for producer in &group.producers {
            let node = &self.graph.nodes()[producer.node].name;
            names.extend([producer.name.clone(), node.clone()]);
        }
        let of_file = spelled.iter().filter(|(_, graph)| names.contains(graph));
        let of_file: Vec<String> = of_file.map(|(file, _)| file.clone()).collect();
        names.extend(of_file);
        let mut seen = HashSet::new();
        names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
        names
    }

    /// Widths by the names of groups, which are those of layers in the file or in the graph; the others stay.
    pub(crate) fn named_widths(
        &self,
        named: &[(String, usize)],
        spelled: &[(String, String)],
    ) -> Result<Vec<usize>> {
        let names: Vec<Vec<String>> =
            (0..self.axes.groups().len()).map(|g| self.names(g, spelled)).collect();
        let mut taken: Vec<usize> = Vec::new();
        let mut widths = self.full();
        for (name, width) in named {
            // A group's own name wins over a node's of the same name elsewhere.
            let own = self.axes.groups().iter().position(|group| group.name == *name);
            let Some(g) = own.or_else(|| names.iter().position(|names| names.contains(name)))
            else {
                let listed = self.free().into_iter().map(|g| {
                    let n = self.axes.groups()[g].n_units;
                    format!("{} ({n} units)", names[g].join(" or "))
                });
                let listed = listed.collect::<Vec<_>>().join(", ");
                bail!("--widths: no layer `{name}`; layers that can lose units: {listed}");
            };
            ensure!(
                !taken.contains(&g),
                "--widths: `{name}` is there twice ({})",
                names[g].join(" or ")
            );
            taken.push(g);
            let n = self.axes.groups()[g].n_units;
            if *width == 0 || *width > n {
                bail!(
                    "--widths: `{name}` has {n} units, expected a width of 1 to {n}, found {width}"
                );
            }
            widths[g] = *width;
        }
        Ok(widths)
    }

    /// Ever smaller networks by parameters, each `ratio` times the one before, until `accept` refuses one; those accepted, with
    /// their students.
    pub(crate) fn descend(
        &self,
        ratio: f64,
        mut accept: impl FnMut(&[usize], &Operated) -> Result<bool>,
    ) -> Result<Vec<(Vec<usize>, Operated)>> {
        self.check_can_lose()?;
        let size = |widths: &[usize]| self.size(Resource::Parameters, widths);
        let sizes = descending_sizes(size(&self.full()), size(&self.least()), ratio)?;
        let mut students = Vec::new();
        let judged = |allocation: &Allocation| -> Result<bool> {
            let student = self.student(&allocation.widths)?;
            let is_accepted = accept(&allocation.widths, &student)?;
            if is_accepted {
                students.push((allocation.widths.clone(), student));
            }
            Ok(is_accepted)
        };
        descend(&self.curves, &self.full(), size, &self.most(f64::INFINITY), &sizes, judged)?;
        Ok(students)
    }

    /// The graph at some widths with whatever parameters come first: what it takes to run, not what it computes.
    pub(crate) fn shape(&self, widths: &[usize]) -> Result<(Graph, Params)> {
        let groups = self.axes.groups().iter().zip(widths).enumerate();
        let narrower = groups.filter(|(_, (group, width))| **width < group.n_units);
        let kept: Vec<(usize, Vec<usize>)> =
            narrower.map(|(g, (_, &width))| (g, (0..width).collect())).collect();
        Ok(self.axes.narrow(&self.graph, &self.params, &kept)?)
    }

    /// The network at some widths, one a group, without training; its outputs are in the network's own units.
    pub(crate) fn student(&self, widths: &[usize]) -> Result<Operated> {
        let network = Network { graph: &self.graph, params: &self.params, axes: &self.axes };
        let (surgery, curvatures) = (Surgery::held_out(), Some(&self.curvatures));
        let likelihood = Some(self.likelihood);
        let operated =
            operate(&network, &self.calibration, widths, &surgery, curvatures, likelihood)?;
        let Some(scales) = &self.scales else { return Ok(operated) };
        let params = operated.graph.with_scaled_outputs(&operated.params, scales)?;
        Ok(Operated { params, ..operated })
    }

    fn most(&self, most: f64) -> Most {
        Most { most, multiple: self.multiple, pinned: self.pinned() }
    }

    fn check_can_lose(&self) -> Result<()> {
        ensure!(
            !self.curves.is_empty(),
            "no layer of this network can lose units{}",
            match &self.pinned()[..] {
                [] => String::from(": it has no hidden layer"),
                pinned => format!(": {}", pinned.join("; ")),
            }
        );
        Ok(())
    }
}

/// Numbers that come out for an example.
fn n_outputs(graph: &Graph) -> usize {
    let last = graph.outputs().first().and_then(|&id| graph.value(id).shape.last());
    let known = last.and_then(|extent| extent.as_known()).and_then(|n| usize::try_from(n).ok());
    known.unwrap_or(usize::MAX).max(1)
}
