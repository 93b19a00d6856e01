//! φ by style transfer: pixels that keep an image's content and take on the texture of another image.

use candle_core::Tensor;
use core_tensors::kernels::features;
use core_tensors::{Adam, AdamConfig, Block, Error, Expected, Layout, Params, Result, Rng};
use models::Vgg19;

use crate::DomainMap;

/// Images whose pixels are optimized together; each on its own, so that the number changes speed alone.
const TOGETHER: usize = 16;

/// What a style transfer minimizes, and how far it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct StyleConfig {
    /// Layers whose activations are the content, and whose Gram matrices are the style.
    pub layers: Vec<&'static str>,
    /// ≥ 0: weight of the content.
    pub content_weight: f64,
    /// ≥ 0: weight of the style.
    pub style_weight: f64,
    /// Whether a Gram matrix is divided by c·h·w, so that layers and sizes of images compare.
    pub is_gram_normalized: bool,
    /// Steps of Adam from the image itself, and their size.
    pub steps: usize,
    /// > 0: size of a step, in intensities of \[0, 1\].
    pub learning_rate: f64,
    /// Whether the intensities of the result are clipped to \[0, 1\].
    pub is_clipped: bool,
}

impl StyleConfig {
    /// The source's: five layers up to conv5_1, 8 · content + 70 · style on plain Gram matrices, three steps of 0.04.
    ///
    /// Source: paper 003, the authors' code. It sees intensities as they are ([`models::InputScale::INTENSITIES`]) and takes
    /// the layers before their ReLU, which torchvision computes in place: so after it.
    pub fn as_published() -> Self {
        Self {
            layers: vec!["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"],
            content_weight: 8.0,
            style_weight: 70.0,
            is_gram_normalized: false,
            steps: 3,
            learning_rate: 0.04,
            is_clipped: false,
        }
    }

    /// For weights of the first three blocks: the layers of these, weights of our own, results clipped; steps as in
    /// the source.
    pub fn three_blocks() -> Self {
        Self {
            layers: vec!["conv1_1", "conv2_1", "conv3_1"],
            content_weight: 1.0,
            style_weight: 10.0,
            is_gram_normalized: true,
            is_clipped: true,
            ..Self::as_published()
        }
    }
}

/// φ(x) = the pixels after some steps that lower, from x on,
///
/// content_weight Σₗ mean((Fₗ(·) − Fₗ(x))²) + style_weight Σₗ mean((Gₗ(·) − Gₗ(style))²),  Gₗ = Fₗ Fₗᵀ (over places)
///
/// with Fₗ the activations of a layer. Examples are (m, 3, h, w) or rows (m, 3·h·w), bytes or intensities; the shape stays.
/// Every image is optimized on its own: the steps of Adam are element by element, and no image enters another's
/// cost. Deterministic.
///
/// Source: Gatys, Ecker & Bethge (2016); settings by [`StyleConfig`].
#[derive(Clone, Debug)]
pub struct Style {
    network: Vgg19,
    config: StyleConfig,
    /// h and w of the images.
    image: [usize; 2],
    /// Gram matrices of the style, (c, c) a layer.
    grams: Vec<Tensor>,
}

impl Style {
    /// The style of an image, (3, h′, w′), for images of h × w.
    pub fn new(
        network: Vgg19,
        style: &Tensor,
        image: [usize; 2],
        config: StyleConfig,
    ) -> Result<Self> {
        if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
            let (name, value) = ("step size of a style transfer", config.learning_rate);
            return Err(Error::OutOfRange { name, value, range: "(0, ∞)" });
        }
        for (name, value) in [
            ("weight of the content", config.content_weight),
            ("weight of the style", config.style_weight),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
            }
        }
        let activations = network.activations(&style.unsqueeze(0)?, &config.layers)?;
        let grams = activations.iter().map(|f| Ok(gram(f, &config)?.squeeze(0)?.detach()));
        let grams = grams.collect::<Result<_>>()?;
        Ok(Self { network, config, image, grams })
    }

    /// The cost of m images by their activations and those of their content; summed over them, shape ().
    fn cost(&self, activations: &[Tensor], content: &[Tensor]) -> Result<Tensor> {
        let mut cost: Option<Tensor> = None;
        for ((f, content), style) in activations.iter().zip(content).zip(&self.grams) {
            // A mean over the batch times m is the sum of the means of its images.
            let m = f.dim(0)? as f64;
            let kept = ((f - content)?.sqr()?.mean_all()? * (m * self.config.content_weight))?;
            let taken = gram(f, &self.config)?.broadcast_sub(style)?.sqr()?.mean_all()?;
            let term = (kept + (taken * (m * self.config.style_weight))?)?;
            cost = Some(match cost {
                Some(cost) => (cost + term)?,
                None => term,
            });
        }
        let (what, expected) = ("layers of a style transfer", Expected::AtLeast(1));
        cost.ok_or(Error::Count { what, expected, found: 0 })
    }

    /// One group of images as rows, (m, 3·h·w).
    fn transfer(&self, rows: &Tensor) -> Result<Tensor> {
        let (m, n) = rows.dims2()?;
        let [h, w] = self.image;
        let pixels =
            Params::new(Layout { blocks: vec![Block { rows: m, cols: n }] }, vec![rows.clone()])?;
        let pixels = pixels.trainable()?;
        let [x] = pixels.blocks() else {
            let (what, found) = ("blocks of pixels", pixels.blocks().len());
            return Err(Error::Count { what, expected: Expected::Exactly(1), found });
        };
        let shaped = |x: &Tensor| x.reshape((m, 3, h, w));
        let mut adam = Adam::new(AdamConfig::pytorch(self.config.learning_rate), &pixels)?;
        let mut content: Option<Vec<Tensor>> = None;
        for _ in 0..self.config.steps {
            let activations = self.network.activations(&shaped(x)?, &self.config.layers)?;
            // The first step starts at the image itself.
            let content =
                content.get_or_insert_with(|| activations.iter().map(Tensor::detach).collect());
            let cost = self.cost(&activations, content)?;
            adam.step(&cost.backward()?)?;
        }
        let result = x.detach().copy()?;
        Ok(if self.config.is_clipped { result.clamp(0.0, 1.0)? } else { result })
    }
}

impl DomainMap for Style {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        let rows = features(x)?.flatten_from(1)?;
        let ((m, n), [h, w]) = (rows.dims2()?, self.image);
        if h.checked_mul(w).and_then(|n| n.checked_mul(3)) != Some(n) {
            let (expected, found) = (vec![m, 3, h, w], x.dims().to_vec());
            return Err(Error::Shape { what: "images for φ", expected, found });
        }
        if m == 0 {
            return Ok(rows.reshape(x.shape())?);
        }
        let group =
            |start: usize| self.transfer(&rows.narrow(0, start, TOGETHER.min(m - start))?);
        let groups: Vec<Tensor> = (0..m).step_by(TOGETHER).map(group).collect::<Result<_>>()?;
        Ok(Tensor::cat(&groups, 0)?.reshape(x.shape())?)
    }
}

/// F Fᵀ over the places of each image; (m, c, h, w) → (m, c, c).
fn gram(f: &Tensor, config: &StyleConfig) -> Result<Tensor> {
    let (m, c, h, w) = f.dims4()?;
    let f = f.reshape((m, c, h * w))?;
    let gram = f.matmul(&f.transpose(1, 2)?.contiguous()?)?;
    if config.is_gram_normalized {
        return Ok((gram / (c * h * w) as f64)?);
    }
    Ok(gram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use models::InputScale;
    use std::collections::BTreeMap;

    fn random(shape: &[usize], scale: f64, rng: &mut Rng) -> Tensor {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| (scale * rng.uniform()) as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn network(rng: &mut Rng) -> Vgg19 {
        let mut all = BTreeMap::new();
        for (name, (o, c)) in
            ["conv1_1", "conv1_2", "conv2_1"].into_iter().zip([(4, 3), (4, 4), (5, 4)])
        {
            let weight = random(&[o, c, 3, 3], 0.02, rng).affine(1.0, -0.01).unwrap();
            all.insert(format!("{name}.weight"), weight);
            all.insert(format!("{name}.bias"), random(&[o], 0.1, rng));
        }
        Vgg19::new(&all, InputScale { factor: [100.0; 3], shift: [50.0; 3] }).unwrap()
    }

    fn style(steps: usize) -> (Style, Tensor) {
        let mut rng = Rng::new(0);
        let layers = vec!["conv1_1", "conv2_1"];
        let config = StyleConfig { layers, steps, ..StyleConfig::three_blocks() };
        let network = network(&mut rng);
        // A dark painting, so that bright images are far from its style.
        let painting = random(&[3, 10, 6], 0.3, &mut rng);
        let x = random(&[20, 3 * 8 * 8], 1.0, &mut rng);
        (Style::new(network, &painting, [8, 8], config).unwrap(), x)
    }

    #[test]
    fn a_gram_matrix_by_hand() {
        let f = Tensor::new(&[1f32, 2.0, 3.0, 4.0], &Device::Cpu)
            .unwrap()
            .reshape((1, 2, 1, 2))
            .unwrap();
        let plain = gram(&f, &StyleConfig::as_published()).unwrap().squeeze(0).unwrap();
        assert_eq!(plain.to_vec2::<f32>().unwrap(), [[5.0, 11.0], [11.0, 25.0]]);
        let normalized = gram(&f, &StyleConfig::three_blocks()).unwrap().squeeze(0).unwrap();
        assert_eq!(normalized.to_vec2::<f32>().unwrap(), [[1.25, 2.75], [2.75, 6.25]]);
    }

    /// Σ over layers and images of content · mean (F − C)² + style · mean (G − S)², by loops in double precision.
    fn naive_cost(style: &Style, activations: &[Tensor], content: &[Tensor]) -> f64 {
        let list = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut cost = 0.0;
        for ((f, content), gram) in activations.iter().zip(content).zip(&style.grams) {
            let (_, c, h, w) = f.dims4().unwrap();
            let (places, size) = (h * w, c * h * w);
            let gram = list(gram);
            for (f, content) in list(f).chunks(size).zip(list(content).chunks(size)) {
                let gap = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                let kept = f.iter().zip(content).map(gap).sum::<f64>() / size as f64;
                let product = |i: usize, j: usize| -> f64 {
                    (0..places)
                        .map(|p| f64::from(f[i * places + p]) * f64::from(f[j * places + p]))
                        .sum()
                };
                let divisor = if style.config.is_gram_normalized { size as f64 } else { 1.0 };
                let taken: f64 = (0..c * c)
                    .map(|at| product(at / c, at % c) / divisor - f64::from(gram[at]))
                    .map(|gap| gap * gap)
                    .sum();
                let (content, style) = (style.config.content_weight, style.config.style_weight);
                cost += content * kept + style * taken / (c * c) as f64;
            }
        }
        cost
    }

    #[test]
    fn the_cost_is_its_two_terms_each_with_its_weight() {
        let (style, x) = style(0);
        let of = |from: usize| {
            let x = x.narrow(0, from, 3).unwrap().reshape((3, 3, 8, 8)).unwrap();
            style.network.activations(&x, &style.config.layers).unwrap()
        };
        let (activations, content) = (of(0), of(3));
        let cost = |content_weight, style_weight, is_gram_normalized| {
            let layers = style.config.layers.clone();
            let config = StyleConfig {
                layers,
                content_weight,
                style_weight,
                is_gram_normalized,
                ..StyleConfig::three_blocks()
            };
            let style = Style { config, ..style.clone() };
            let found = style.cost(&activations, &content).unwrap().to_scalar::<f32>().unwrap();
            let (found, wanted) = (f64::from(found), naive_cost(&style, &activations, &content));
            // Sums of a few hundred f32 terms.
            assert!((found - wanted).abs() < 1e-5 * wanted, "{found} {wanted}");
            wanted
        };
        for is_normalized in [true, false] {
            // Each term counts, and they are not the same.
            let (content, style) = (cost(1.0, 0.0, is_normalized), cost(0.0, 1.0, is_normalized));
            assert!(content > 0.0 && style > 0.0 && (content / style - 1.0).abs() > 0.01);
            let both = cost(3.0, 0.5, is_normalized);
            assert!((both - (3.0 * content + 0.5 * style)).abs() < 1e-9 * both);
        }
    }

    #[test]
    fn steps_lower_the_cost() {
        let cost = |steps| {
            let (style, x) = style(steps);
            let y = style.apply(&x, &mut Rng::new(0)).unwrap();
            let of = |x: &Tensor| {
                let x = x.reshape((20, 3, 8, 8)).unwrap();
                style.network.activations(&x, &style.config.layers).unwrap()
            };
            style.cost(&of(&y), &of(&x)).unwrap().to_scalar::<f32>().unwrap()
        };
        let (none, some, more) = (cost(0), cost(2), cost(6));
        assert!(some < none && more < 0.9 * none, "{none} {some} {more}");
    }

    #[test]
    fn no_step_changes_nothing_and_bytes_are_intensities() {
        let (style, x) = style(0);
        let bytes = (x * 255.0).unwrap().to_dtype(candle_core::DType::U8).unwrap();
        let y = style.apply(&bytes, &mut Rng::new(0)).unwrap();
        let gap = (features(&bytes).unwrap() - y).unwrap().abs().unwrap().max_all().unwrap();
        assert_eq!(gap.to_scalar::<f32>().unwrap(), 0.0);
    }

    #[test]
    fn a_image_does_not_depend_on_its_neighbors() {
        let (style, x) = style(3);
        let all = style.apply(&x, &mut Rng::new(0)).unwrap();
        let one = style.apply(&x.narrow(0, 17, 1).unwrap(), &mut Rng::new(0)).unwrap();
        let gap = (all.narrow(0, 17, 1).unwrap() - one).unwrap().abs().unwrap().max_all().unwrap();
        // The same steps, up to the order of sums: a step is at most 0.04.
        assert!(gap.to_scalar::<f32>().unwrap() < 1e-4);
    }

    #[test]
    fn images_of_another_size_are_refused() {
        let (style, x) = style(1);
        let message = style.apply(&x.narrow(1, 0, 100).unwrap(), &mut Rng::new(0)).unwrap_err();
        assert_eq!(
            message.to_string(),
            "images for φ: expected shape [20, 3, 8, 8], found [20, 100]"
        );
        let huge = Style { image: [1 << 63, 2], ..style.clone() };
        assert!(huge.apply(&x, &mut Rng::new(0)).is_err());
        let nobody = style.apply(&x.narrow(0, 0, 0).unwrap(), &mut Rng::new(0)).unwrap();
        assert_eq!(nobody.dims(), [0, 192]);
        let shaped = x.reshape((20, 3, 8, 8)).unwrap();
        assert_eq!(style.apply(&shaped, &mut Rng::new(0)).unwrap().dims(), [20, 3, 8, 8]);
    }
}
