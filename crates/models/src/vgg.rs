//! The convolutions of VGG-19: features of images, with gradients to the pixels alone.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use core_tensors::kernels::{Window, convolve, convolve_relu_max_pool, features, relu_max_pool};
use core_tensors::{Error, Expected, Result};

/// Names of the convolutions, in order.
const LAYERS: [&str; 16] = [
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4",
];
/// Each convolution is 3 × 3 and keeps height and width.
const WINDOW: Window = Window { kernel: 3, padding: 1 };
/// Weights of a filter for one channel.
const PER_CHANNEL: usize = WINDOW.kernel * WINDOW.kernel;

/// What the first convolution sees of red, green and blue in \[0, 1\]: factorᵢ · xᵢ − shiftᵢ for channel i.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputScale {
    /// 255 for weights in the Caffe form, one over the standard deviations of ImageNet for torchvision's.
    pub factor: [f64; 3],
    /// Means of ImageNet, in the units of what was multiplied.
    pub shift: [f64; 3],
}

impl InputScale {
    /// Intensities as they are, as in the code of paper 003.
    pub const INTENSITIES: Self = Self { factor: [1.0; 3], shift: [0.0; 3] };
}

/// VGG-19 up to some convolution: 3 × 3, padding 1, ReLU; 2 × 2 max-pooling before the blocks 2 to 5.
///
/// Source: Simonyan & Zisserman (2015), configuration E.
#[derive(Clone, Debug)]
pub struct Vgg19 {
    /// One matrix a convolution, (o, 9c + 1), as [`convolve`] takes them.
    filters: Vec<Tensor>,
    scale: InputScale,
}

impl Vgg19 {
    /// The convolutions among named tensors, `convB_K.weight` (o, c, 3, 3) and `convB_K.bias` (o,), whose first takes red,
    /// green and blue: those from conv1_1 on that are there, at least one.
    pub fn new(tensors: &BTreeMap<String, Tensor>, scale: InputScale) -> Result<Self> {
        let mut filters: Vec<Tensor> = Vec::new();
        let mut channels = 3;
        for name in LAYERS {
            let part = |end: &str| tensors.get(&format!("{name}.{end}"));
            let (Some(weight), Some(bias)) = (part("weight"), part("bias")) else { break };
            let (o, c, _, _) = weight.dims4()?;
            let expected = [vec![o, channels, WINDOW.kernel, WINDOW.kernel], vec![o]];
            for (tensor, expected) in [weight, bias].into_iter().zip(expected) {
                if tensor.dims() != expected {
                    let found = tensor.dims().to_vec();
                    return Err(Error::Shape { what: name, expected, found });
                }
            }
            let rows = weight.to_dtype(DType::F32)?.reshape((o, c * PER_CHANNEL))?;
            let bias = bias.to_dtype(DType::F32)?.reshape((o, 1))?;
            filters.push(Tensor::cat(&[rows, bias], 1)?.detach());
            channels = o;
        }
        if filters.is_empty() {
            let names = ["weight", "bias"].map(|end| format!("{}.{end}", LAYERS[0]));
            let name = names.into_iter().find(|name| !tensors.contains_key(name));
            return Err(Error::MissingTensor { name: name.unwrap_or_default() });
        }
        Ok(Self { filters, scale })
    }

    /// Outputs of these convolutions after their ReLU, (m, c, h, w) each, in the order of `layers`.
    ///
    /// `layers` are names such as `conv3_1`; `x` is (m, 3, h, w), red, green, blue as bytes or in \[0, 1\].
    pub fn activations(&self, x: &Tensor, layers: &[&str]) -> Result<Vec<Tensor>> {
        let wanted: Vec<usize> =
            layers.iter().map(|name| self.index(name)).collect::<Result<_>>()?;
        let last = wanted.iter().copied().max().unwrap_or(0);
        let mut z = self.prepare(x)?;
        let mut kept: BTreeMap<usize, Tensor> = BTreeMap::new();
        for (i, filter) in self.filters.iter().enumerate().take(last + 1) {
            // The next block sees a pooled image, the next layer of a block the whole one.
            let is_end = LAYERS.get(i + 1).is_some_and(|next| next.ends_with("_1"));
            if is_end && !wanted.contains(&i) {
                z = convolve_relu_max_pool(&z, filter, WINDOW)?;
                continue;
            }
            let relu = convolve(&z, filter, WINDOW)?.relu()?;
            z = if is_end { relu_max_pool(&relu)? } else { relu.clone() };
            kept.insert(i, relu);
        }
        Ok(wanted.iter().filter_map(|i| kept.get(i).cloned()).collect())
    }

    fn index(&self, name: &str) -> Result<usize> {
        let index = LAYERS.iter().position(|layer| *layer == name);
        let Some(index) = index else {
            let (what, known) = ("layer of VGG-19", "conv1_1 … conv5_4");
            return Err(Error::UnknownName { what, name: name.to_owned(), known });
        };
        if index >= self.filters.len() {
            return Err(Error::MissingTensor { name: format!("{name}.weight") });
        }
        Ok(index)
    }

    fn prepare(&self, x: &Tensor) -> Result<Tensor> {
        let x = features(x)?;
        let (_, channels, _, _) = x.dims4()?;
        Expected::Exactly(3).check("channels of an image for VGG-19", channels)?;
        let row = |values: [f64; 3]| {
            Tensor::new(&values.map(|v| v as f32), x.device())?.reshape((1, 3, 1, 1))
        };
        Ok(x.broadcast_mul(&row(self.scale.factor)?)?.broadcast_sub(&row(self.scale.shift)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use core_tensors::Rng;

    const SCALE: InputScale = InputScale { factor: [255.0, 2.0, 1.0], shift: [100.0, 0.5, 0.0] };

    /// Random filters up to conv2_1.
    fn tensors() -> BTreeMap<String, Tensor> {
        let mut rng = Rng::new(0);
        let mut draw = |shape: &[usize], scale: f64| {
            let n = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|_| (scale * rng.normal()) as f32).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let mut all = BTreeMap::new();
        for (name, (o, c)) in LAYERS.iter().zip([(4, 3), (5, 4), (6, 5)]) {
            all.insert(format!("{name}.weight"), draw(&[o, c, 3, 3], 0.3));
            all.insert(format!("{name}.bias"), draw(&[o], 0.1));
        }
        all
    }

    fn image() -> Tensor {
        let mut rng = Rng::new(1);
        let intensities: Vec<f32> = (0..2 * 3 * 6 * 8).map(|_| rng.uniform() as f32).collect();
        Tensor::from_vec(intensities, (2, 3, 6, 8), &Device::Cpu).unwrap()
    }

    fn gap(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    /// A layer with its ReLU in candle's operations.
    fn composed(z: &Tensor, name: &str) -> Tensor {
        let tensors = tensors();
        let (w, b) = (&tensors[&format!("{name}.weight")], &tensors[&format!("{name}.bias")]);
        let b = b.reshape((1, b.elem_count(), 1, 1)).unwrap();
        z.conv2d(w, 1, 1, 1, 1).unwrap().broadcast_add(&b).unwrap().relu().unwrap()
    }

    #[test]
    fn layers_equal_those_put_together_from_candles_operations() {
        let x = image();
        let vgg = Vgg19::new(&tensors(), SCALE).unwrap();
        let channel = |i: usize| x.narrow(1, i, 1).unwrap();
        let inputs: Vec<Tensor> =
            (0..3).map(|i| channel(i).affine(SCALE.factor[i], -SCALE.shift[i]).unwrap()).collect();
        let first = composed(&Tensor::cat(&inputs, 1).unwrap(), "conv1_1");
        let end = composed(&first, "conv1_2");
        let next = composed(&end.max_pool2d(2).unwrap(), "conv2_1");
        assert_eq!(next.dims(), [2, 6, 3, 4]);
        // Pooling follows the end of a block whether that is wanted itself or not.
        for layers in [&["conv2_1", "conv1_1"][..], &["conv1_2", "conv2_1"], &["conv2_1"]] {
            let found = vgg.activations(&x, layers).unwrap();
            assert_eq!(found.len(), layers.len());
            for (found, &name) in found.iter().zip(layers) {
                // Sums of a few hundred terms of size 100, in single precision; errors grow with the layers.
                let (wanted, rounding) = match name {
                    "conv1_1" => (&first, 1e-3),
                    "conv1_2" => (&end, 1e-2),
                    _ => (&next, 1e-2),
                };
                assert_eq!(found.dims(), wanted.dims());
                assert!(gap(found, wanted) < rounding, "{name}: {}", gap(found, wanted));
            }
        }
    }

    #[test]
    fn the_gradient_reaches_the_pixels() {
        let x = Var::from_tensor(&image()).unwrap();
        let vgg = Vgg19::new(&tensors(), SCALE).unwrap();
        let loss = vgg.activations(&x, &["conv2_1"]).unwrap()[0].sum_all().unwrap();
        let gradient = loss.backward().unwrap().remove(&x).unwrap();
        assert!(gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() > 0.0);
    }

    #[test]
    fn what_is_missing_is_named() {
        let vgg = Vgg19::new(&tensors(), SCALE).unwrap();
        let message = |layer: &str| vgg.activations(&image(), &[layer]).unwrap_err().to_string();
        assert_eq!(message("conv5_1"), "the tensor `conv5_1.weight` is missing");
        assert_eq!(
            message("relu"),
            "layer of VGG-19 `relu` is unknown: expected conv1_1 … conv5_4"
        );
        let none = Vgg19::new(&BTreeMap::new(), SCALE).unwrap_err().to_string();
        assert_eq!(none, "the tensor `conv1_1.weight` is missing");
        let mut wrong = tensors();
        let bias = Tensor::zeros(7, DType::F32, &Device::Cpu).unwrap();
        wrong.insert("conv1_2.bias".into(), bias);
        let message = Vgg19::new(&wrong, SCALE).unwrap_err().to_string();
        assert_eq!(message, "conv1_2: expected shape [5], found [7]");
    }
}
