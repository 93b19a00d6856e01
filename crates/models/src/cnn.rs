//! Convolutional classifiers: the small teacher of paper 004, the networks of paper 003 for Imagenette.

use candle_core::{Device, Tensor};
use core_tensors::kernels::{Activation, Window, convolve_relu_max_pool, features, linear};
use core_tensors::{Block, Error, Expected, Layout, Params, Result, Rng};

use crate::Architecture;

/// Channels of an Imagenette image.
const COLORS: usize = 3;
/// Classes of all the named networks.
const CLASSES: usize = 10;

/// Blocks of convolution, ReLU and 2 × 2 max-pooling, then dense layers with ReLU between; the last has no activation.
///
/// Takes images (m, c, h, w), or the same as rows (m, c·h·w). Convolutions have stride 1 and no padding, so that a
/// kernel k makes ⌊(h − k + 1)/2⌋ rows of h. Without blocks it is a perceptron.
///
/// ```
/// use models::{Architecture, Cnn, Convolution};
/// let network = Cnn {
///     input: [3, 32, 32],
///     convolutions: vec![Convolution { channels: 8, kernel: 5 }],
///     is_averaged: false,
///     dense: vec![20, 10],
///     bias: true,
/// };
/// assert_eq!(network.layout().n_parameters(), 8 * (75 + 1) + 20 * (8 * 14 * 14 + 1) + 10 * 21);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cnn {
    /// c, h, w: channels, rows and columns of an image.
    pub input: [usize; 3],
    /// Input side first; every image must stay at least 1 × 1 after pooling.
    pub convolutions: Vec<Convolution>,
    /// Whether each channel is averaged over its places before the dense part, which makes a network small.
    pub is_averaged: bool,
    /// Widths of the dense layers after the first input, at least one: hidden units, then outputs.
    pub dense: Vec<usize>,
    /// Whether filters and dense layers have a bias, kept as the last column of their block.
    pub bias: bool,
}

/// The filters of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Number of filters, at least 1.
    pub channels: usize,
    /// k ≥ 1: side of the square filters.
    pub kernel: usize,
}

impl Cnn {
    /// Two 5 × 5 convolutions of 3 and 9 filters on 28 × 28 grayscale intensities, then \[144, 120, 84, 10\]; 29 176 parameters.
    ///
    /// Source: Grabovoy & Strijov (2022), FashionMNIST experiment; architecture from the authors' code.
    pub fn small() -> Self {
        Self {
            input: [1, 28, 28],
            convolutions: filters(&[(3, 5), (9, 5)]),
            is_averaged: false,
            dense: vec![120, 84, CLASSES],
            bias: true,
        }
    }

    /// Five convolutions, then \[384, 120, 84, 10\] at 200 pixels a side, where it has 4 455 984 parameters.
    ///
    /// Source: paper 003, the teacher of Imagenette; architecture from the authors' code.
    pub fn imagenette_teacher(side: usize) -> Self {
        let of = [(24, 5), (48, 5), (96, 8), (192, 5), (384, 7)];
        Self::imagenette(side, &of, &[120, 84, CLASSES])
    }

    /// Two 5 × 5 convolutions and a wide dense layer; 12 755 640 parameters at 200 pixels a side, 2.9 times as many as
    /// its teacher.
    ///
    /// Source: paper 003, the student of Imagenette; architecture from the authors' code.
    pub fn imagenette_student(side: usize) -> Self {
        Self::imagenette(side, &[(24, 5), (48, 5)], &[120, CLASSES])
    }

    /// The idea of [`Cnn::imagenette_teacher`] for small images: four convolutions, which leave one place of 192
    /// channels at 64 pixels a side; 271 920 parameters there.
    pub fn imagenette_teacher_scaled(side: usize) -> Self {
        let of = [(24, 5), (48, 5), (96, 3), (192, 3)];
        Self::imagenette(side, &of, &[120, 84, CLASSES])
    }

    /// A student smaller than either teacher, whatever the side: three convolutions, averages, one dense layer;
    /// 18 948 parameters.
    pub fn imagenette_smaller(side: usize) -> Self {
        let of = [(12, 5), (24, 5), (48, 3)];
        Self { is_averaged: true, ..Self::imagenette(side, &of, &[CLASSES]) }
    }

    fn imagenette(side: usize, convolutions: &[(usize, usize)], dense: &[usize]) -> Self {
        Self {
            input: [COLORS, side, side],
            convolutions: filters(convolutions),
            is_averaged: false,
            dense: dense.to_vec(),
            bias: false,
        }
    }

    /// Inputs n of the first dense layer; an error names the convolution that an image is too small for.
    pub(crate) fn flat_width(&self) -> Result<usize> {
        let [mut c, mut h, mut w] = self.input;
        for (t, &Convolution { channels, kernel }) in self.convolutions.iter().enumerate() {
            if kernel == 0 || h <= kernel || w <= kernel {
                let (convolution, image) = (t + 1, [h, w]);
                return Err(Error::SmallImage { convolution, kernel, image });
            }
            // ⌊(side − k + 1) / 2⌋
            let pooled = |side: usize| (side - kernel).div_ceil(2);
            (c, h, w) = (channels, pooled(h), pooled(w));
        }
        Ok(if self.is_averaged { c } else { c * h * w })
    }

    /// Inputs of every block.
    fn inputs(&self) -> Vec<usize> {
        let channels = self.convolutions.iter().map(|of| of.channels);
        let channels = std::iter::once(self.input[0]).chain(channels);
        let filters = self.convolutions.iter().zip(channels).map(|(of, c)| c * of.kernel.pow(2));
        // A network that fits no image has no first dense layer either; `init` and `forward` say why.
        let first = self.flat_width().unwrap_or(0);
        let hidden = self.dense.iter().take(self.dense.len().saturating_sub(1));
        filters.chain((!self.dense.is_empty()).then_some(first)).chain(hidden.copied()).collect()
    }
}

fn filters(of: &[(usize, usize)]) -> Vec<Convolution> {
    of.iter().map(|&(channels, kernel)| Convolution { channels, kernel }).collect()
}

impl Architecture for Cnn {
    fn layout(&self) -> Layout {
        let outputs = self.convolutions.iter().map(|of| of.channels);
        let outputs = outputs.chain(self.dense.iter().copied());
        let bias = usize::from(self.bias);
        let block = |(rows, n): (usize, usize)| Block { rows, cols: n + bias };
        Layout { blocks: outputs.zip(self.inputs()).map(block).collect() }
    }

    /// Maps (m, c, h, w) of every convolution after ReLU and max-pooling, hidden dense layers (m, n), the logits.
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
        self.flat_width()?;
        self.layout().check_same("parameters of a convolutional network", w.layout())?;
        let m = x.dim(0)?;
        let [c, height, width] = self.input;
        if x.elem_count() != m * c * height * width {
            let (expected, found) = (vec![m, c, height, width], x.dims().to_vec());
            return Err(Error::Shape {
                what: "images of a convolutional network",
                expected,
                found,
            });
        }
        let (filters, dense) = w.blocks().split_at(self.convolutions.len());
        let Some((last, hidden)) = dense.split_last() else {
            let what = "dense layers of a convolutional network";
            return Err(Error::Count { what, expected: Expected::AtLeast(1), found: 0 });
        };
        let mut z = features(x)?.reshape((m, c, height, width))?;
        let mut outputs = Vec::with_capacity(w.blocks().len());
        for (u, of) in filters.iter().zip(&self.convolutions) {
            z = convolve_relu_max_pool(&z, u, Window { kernel: of.kernel, padding: 0 })?;
            outputs.push(z.clone());
        }
        let mut z = if self.is_averaged { z.mean((2, 3))? } else { z.flatten_from(1)? }; // (m, n)
        for u in hidden {
            z = linear(&z, u, Activation::Relu)?;
            outputs.push(z.clone());
        }
        outputs.push(linear(&z, last, Activation::Identity)?);
        Ok(outputs)
    }

    fn fan_in(&self) -> Vec<usize> {
        self.inputs()
    }

    fn init(&self, rng: &mut Rng, device: &Device) -> Result<Params> {
        self.flat_width()?;
        let bounds: Vec<f64> = self.inputs().iter().map(|&n| 1.0 / (n as f64).sqrt()).collect();
        Params::uniform(&self.layout(), &bounds, rng, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    fn pixels(m: usize, of: &Cnn) -> Tensor {
        let [c, h, w] = of.input;
        let mut rng = Rng::new(2);
        let pixels: Vec<f32> = (0..m * c * h * w).map(|_| rng.uniform() as f32).collect();
        Tensor::from_vec(pixels, (m, c * h * w), &Device::Cpu).unwrap()
    }

    #[test]
    fn every_layer_shows_what_it_puts_out() {
        let cnn = Cnn::small();
        let w = cnn.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let found = cnn.activations(&w, &pixels(2, &cnn)).unwrap();
        let shapes: Vec<&[usize]> = found.iter().map(Tensor::dims).collect();
        let wanted: [&[usize]; 5] = [&[2, 3, 12, 12], &[2, 9, 4, 4], &[2, 120], &[2, 84], &[2, 10]];
        assert_eq!(shapes, wanted);
        // After ReLU nothing is negative.
        for hidden in &found[..4] {
            let least = hidden.flatten_all().unwrap().min(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(least >= 0.0);
        }
    }

    #[test]
    fn have_the_published_counts() {
        let count = |of: Cnn| of.layout().n_parameters();
        assert_eq!(count(Cnn::small()), 29_176);
        assert_eq!(count(Cnn::imagenette_teacher(200)), 4_455_984);
        assert_eq!(count(Cnn::imagenette_student(200)), 12_755_640);
        assert_eq!(count(Cnn::imagenette_teacher_scaled(64)), 271_920);
        assert_eq!(count(Cnn::imagenette_student(64)), 1_005_240);
        assert_eq!(count(Cnn::imagenette_smaller(64)), 18_948);
        assert_eq!(count(Cnn::imagenette_smaller(200)), 18_948);
    }

    #[test]
    fn rows_images_and_bytes_give_the_same_scores() {
        for of in [Cnn::small(), Cnn::imagenette_teacher_scaled(64), Cnn::imagenette_smaller(40)] {
            let w = of.init(&mut Rng::new(0), &Device::Cpu).unwrap();
            let [c, h, width] = of.input;
            let bytes = (pixels(2, &of) * 255.0).unwrap().to_dtype(DType::U8).unwrap();
            let rows = (bytes.to_dtype(DType::F32).unwrap() / 255.0).unwrap();
            let images = rows.reshape((2, c, h, width)).unwrap();
            let [a, b, d] = [bytes, rows, images]
                .map(|x| of.forward(&w, &x).unwrap().to_vec2::<f32>().unwrap());
            assert!(a.len() == 2 && a[0].len() == 10 && a[0] != a[1]);
            // x / 255 and x · (1/255) may differ in the last bit.
            let gap = |a: &[Vec<f32>], b: &[Vec<f32>]| {
                let pairs = a.iter().flatten().zip(b.iter().flatten());
                pairs.fold(0f32, |gap, (a, b)| gap.max((a - b).abs()))
            };
            assert!(gap(&a, &b) < 1e-5 && gap(&b, &d) == 0.0);
        }
    }

    #[test]
    fn averages_by_hand() {
        // One 1 × 1 filter 2 on a 2 × 4 image: maxima 8 and 12, average 10, dense 3 · 10.
        let of = Cnn {
            input: [1, 2, 4],
            convolutions: filters(&[(1, 1)]),
            is_averaged: true,
            dense: vec![1],
            bias: false,
        };
        let u = |value: f32| Tensor::new(&[[value]], &Device::Cpu).unwrap();
        let w = Params::new(of.layout(), vec![u(2.0), u(3.0)]).unwrap();
        let x = Tensor::new(&[[1f32, 4.0, -5.0, 6.0, 2.0, 3.0, 0.0, 1.0]], &Device::Cpu).unwrap();
        assert_eq!(of.forward(&w, &x).unwrap().to_vec2::<f32>().unwrap(), [[30.0]]);
    }

    #[test]
    fn every_block_receives_a_gradient() {
        for of in [Cnn::small(), Cnn::imagenette_teacher_scaled(64), Cnn::imagenette_smaller(40)] {
            let w = of.init(&mut Rng::new(1), &Device::Cpu).unwrap().trainable().unwrap();
            let loss = of.forward(&w, &pixels(3, &of)).unwrap().sqr().unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            for block in w.blocks() {
                let size = gradients.get(block).unwrap().abs().unwrap().sum_all().unwrap();
                assert!(size.to_scalar::<f32>().unwrap() > 0.0);
            }
        }
    }

    #[test]
    fn images_that_shrink_below_a_kernel_are_refused() {
        let of = Cnn::imagenette_teacher(64);
        let message = of.init(&mut Rng::new(0), &Device::Cpu).unwrap_err().to_string();
        let wanted = "convolution 4 has a kernel of 5 × 5 and needs larger images, found 3 × 3; layers count from 1";
        assert_eq!(message, wanted);
        let of = Cnn::small();
        let w = of.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::zeros((2, 783), DType::F32, &Device::Cpu).unwrap();
        let message = of.forward(&w, &x).unwrap_err().to_string();
        assert!(message.contains("[2, 1, 28, 28], found [2, 783]"), "{message}");
        let message = Cnn::imagenette_smaller(64).forward(&w, &x).unwrap_err().to_string();
        assert!(
            message.starts_with("parameters of a convolutional network: expected blocks"),
            "{message}"
        );
    }
}
