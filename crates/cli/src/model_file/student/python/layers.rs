//! Operators as modules of `torch.nn`.

use models::graph::{Op, Reduction, Unary, Window};

/// A module, and where its tensors are.
pub(super) struct Layer {
    /// As Python writes it.
    pub(super) module: String,
    /// Roles and tensors.
    pub(super) tensors: Vec<(&'static str, String)>,
    /// Of a linear map.
    pub(super) n_outputs: Option<usize>,
}

/// What a linear map without a bias says.
const NO_BIAS: &str = ", bias=False)";

impl Layer {
    fn plain(module: impl Into<String>) -> Self {
        Self { module: module.into(), tensors: Vec::new(), n_outputs: None }
    }

    /// A linear map with a bias.
    pub(super) fn with_bias(mut self, bias: String) -> Self {
        if let Some(start) = self.module.strip_suffix(NO_BIAS) {
            self.module = format!("{start})");
        }
        self.tensors.push(("bias", bias));
        self
    }
}

/// A dense layer without a bias.
pub(super) fn linear(inputs: usize, outputs: usize, weight: String) -> Layer {
    Layer {
        module: format!("nn.Linear({inputs}, {outputs}{NO_BIAS}"),
        tensors: vec![("weight", weight)],
        n_outputs: Some(outputs),
    }
}

/// A convolution without a bias, over one axis or two, and the padding in front of it where that is not even.
pub(super) fn convolution(
    rank: usize,
    [inputs, outputs]: [usize; 2],
    window: &Window,
    groups: usize,
    weight: String,
) -> Option<Vec<Layer>> {
    let n = dimensions(rank)?;
    let Window { kernel, strides, dilations, pads: [top, left, bottom, right], ceil: _ } = *window;
    let is_even = top == bottom && left == right;
    let mut settings = setting("stride", strides, n, 1);
    if is_even {
        settings += &setting("padding", [top, left], n, 0);
    }
    settings += &setting("dilation", dilations, n, 1);
    if groups != 1 {
        settings += &format!(", groups={groups}");
    }
    let kernel = pair(kernel, n);
    let pad = match n {
        1 => Layer::plain(format!("nn.ConstantPad1d(({left}, {right}), 0.0)")),
        _ => Layer::plain(format!("nn.ZeroPad2d(({left}, {right}, {top}, {bottom}))")),
    };
    let layer = Layer {
        module: format!("nn.Conv{n}d({inputs}, {outputs}, {kernel}{settings}{NO_BIAS}"),
        tensors: vec![("weight", weight)],
        n_outputs: Some(outputs),
    };
    Some((!is_even).then_some(pad).into_iter().chain([layer]).collect())
}

/// A batch normalization with scale, shift, mean and variance.
pub(super) fn batch_norm(
    rank: usize,
    n: usize,
    epsilon: f32,
    vectors: Vec<String>,
) -> Option<Layer> {
    let dimension = if rank == 4 { 2 } else { 1 };
    let roles = ["weight", "bias", "running_mean", "running_var"];
    (matches!(rank, 2..=4) && vectors.len() == roles.len()).then(|| Layer {
        module: format!("nn.BatchNorm{dimension}d({n}, eps={epsilon:?})"),
        tensors: roles.into_iter().zip(vectors).collect(),
        n_outputs: None,
    })
}

/// A ReLU with learned slopes.
pub(super) fn prelu(n: usize, slopes: String) -> Layer {
    Layer { module: format!("nn.PReLU({n})"), tensors: vec![("weight", slopes)], n_outputs: None }
}

/// Operators without parameters, for operands of some rank and results of `n_axes`.
pub(super) fn without_parameters(op: &Op, rank: usize, n_axes: usize) -> Option<Vec<Layer>> {
    let layer = match op {
        Op::Unary(unary) => activation(*unary)?,
        Op::Flatten { axis: 1 } => "nn.Flatten()".to_owned(),
        Op::Reshape { shape } if n_axes == 2 && shape.first()?.is_per_batch() => {
            "nn.Flatten()".to_owned()
        }
        Op::MaxPool { window } => {
            let (n, padding) = pool(rank, window)?;
            let ceil = if window.ceil { ", ceil_mode=True" } else { "" };
            let dilation = setting("dilation", window.dilations, n, 1);
            let (kernel, strides) = (pair(window.kernel, n), pair(window.strides, n));
            format!("nn.MaxPool{n}d({kernel}, stride={strides}{padding}{dilation}{ceil})")
        }
        Op::AveragePool { window, counts_padding }
            if window.dilations == [1; 2] && !window.ceil =>
        {
            let (n, padding) = pool(rank, window)?;
            let counts = if *counts_padding { "" } else { ", count_include_pad=False" };
            let (kernel, strides) = (pair(window.kernel, n), pair(window.strides, n));
            format!("nn.AvgPool{n}d({kernel}, stride={strides}{padding}{counts})")
        }
        Op::Reduce { reduction, axes, keep } => {
            let n = dimensions(rank)?;
            let kind = match reduction {
                Reduction::Mean => "Avg",
                Reduction::Max => "Max",
                _ => return None,
            };
            if axes.iter().copied().ne(2..rank) {
                return None;
            }
            let pool = Layer::plain(format!("nn.Adaptive{kind}Pool{n}d(1)"));
            let flat = Layer::plain("nn.Flatten()");
            return Some(if *keep { vec![pool] } else { vec![pool, flat] });
        }
        _ => return None,
    };
    Some(vec![Layer::plain(layer)])
}

fn activation(unary: Unary) -> Option<String> {
    let plain = match unary {
        Unary::Relu => "nn.ReLU()",
        Unary::HardSwish => "nn.Hardswish()",
        Unary::Sigmoid => "nn.Sigmoid()",
        Unary::Tanh => "nn.Tanh()",
        Unary::Gelu => "nn.GELU()",
        Unary::GeluTanh => "nn.GELU(approximate=\"tanh\")",
        Unary::Silu => "nn.SiLU()",
        Unary::Mish => "nn.Mish()",
        Unary::Softplus => "nn.Softplus()",
        Unary::Softsign => "nn.Softsign()",
        Unary::LeakyRelu { slope } => return Some(format!("nn.LeakyReLU({slope:?})")),
        Unary::Elu { alpha } => return Some(format!("nn.ELU({alpha:?})")),
        Unary::Celu { alpha } => return Some(format!("nn.CELU({alpha:?})")),
        Unary::ThresholdedRelu { alpha } => return Some(format!("nn.Threshold({alpha:?}, 0.0)")),
        Unary::Clip { min: Some(min), max: Some(max) } => {
            return Some(format!("nn.Hardtanh({min:?}, {max:?})"));
        }
        Unary::HardSigmoid { alpha, beta }
            if (alpha - 1.0 / 6.0).abs() < f32::EPSILON && beta == 0.5 =>
        {
            "nn.Hardsigmoid()"
        }
        _ => return None,
    };
    Some(plain.to_owned())
}

/// The spatial axes, one or two, and the padding of a pool that PyTorch has.
fn pool(rank: usize, window: &Window) -> Option<(usize, String)> {
    let n = dimensions(rank)?;
    let [top, left, bottom, right] = window.pads;
    let fits = |pad: usize, kernel: usize| 2 * pad <= kernel;
    let is_possible = fits(top, window.kernel[0]) && fits(left, window.kernel[1]);
    let padding = setting("padding", [top, left], n, 0);
    (top == bottom && left == right && is_possible).then_some((n, padding))
}

/// Axes behind the channels.
fn dimensions(rank: usize) -> Option<usize> {
    matches!(rank, 3 | 4).then(|| rank - 2)
}

/// A setting that is not what it is by default.
fn setting(name: &str, values: [usize; 2], n: usize, default: usize) -> String {
    match values {
        [a, b] if (a == default || n == 1) && b == default => String::new(),
        values => format!(", {name}={}", pair(values, n)),
    }
}

/// One number for each axis.
fn pair([a, b]: [usize; 2], n: usize) -> String {
    if n == 1 || a == b { b.to_string() } else { format!("({a}, {b})") }
}
