//! Measures of a classifier on a test set, from its logits.

use candle_core::{DType, Tensor};
use core_tensors::Expected;

use crate::calibration::expected_calibration_error;
use crate::checks::{check_count, check_temperature};
use crate::error::Result;
use crate::kernel::softmax;

/// Predicted log-probabilities of m examples.
///
/// A mean over examples wants at least one, a measure against labels one label an example; see each for its formula.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::Predictions;
///
/// let logits = Tensor::new(&[[3f64.ln(), 0.0], [0.0, 0.0]], &Device::Cpu)?; // (¾, ¼) and (½, ½)
/// let (predictions, labels) = (Predictions::new(&logits)?, [0, 1]);
/// assert_eq!(predictions.classes(), [0, 0]);
/// assert_eq!(predictions.accuracy(&labels)?, 0.5);
/// assert!((predictions.brier(&labels)? - 0.3125).abs() < 1e-12);
/// assert!((predictions.calibration_error(&labels)? - 0.375).abs() < 1e-12);
/// # Ok::<(), losses::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Predictions {
    /// log g, row by row, (m, k).
    log_probabilities: Vec<f64>,
    /// g, likewise.
    probabilities: Vec<f64>,
    n_classes: usize,
}

impl Predictions {
    /// Predictions log softmax(logits), logits (m, k).
    pub fn new(logits: &Tensor) -> Result<Self> {
        Self::tempered(logits, 1.0)
    }

    /// Predictions log softmax(logits / T), T > 0.
    pub fn tempered(logits: &Tensor, temperature: f64) -> Result<Self> {
        check_temperature(temperature)?;
        let (_, n_classes) = logits.dims2()?;
        check_count("classes to predict", Expected::AtLeast(1), n_classes > 0, n_classes)?;
        let mut log_probabilities = logits.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let mut probabilities = vec![0.0; log_probabilities.len()];
        softmax(&mut log_probabilities, &mut probabilities, n_classes, temperature);
        Ok(Self { log_probabilities, probabilities, n_classes })
    }

    /// m: number of examples.
    pub fn n_examples(&self) -> usize {
        self.log_probabilities.len() / self.n_classes
    }

    /// g of all examples row by row, (m, k).
    pub fn into_probabilities(self) -> Vec<f64> {
        self.probabilities
    }

    /// g of one example, shape (k,); none where there is no such example.
    pub fn probabilities(&self, example: usize) -> Option<&[f64]> {
        self.rows().nth(example).map(|row| row.g)
    }

    /// −log g_{yᵢ}(xᵢ) of each example, in nats: its share of [`Predictions::cross_entropy`].
    pub fn negative_logs(&self, labels: &[u32]) -> Result<Vec<f64>> {
        self.check_labels(labels)?;
        Ok(self.rows().zip(labels).map(|(row, &y)| -row.log_g[y as usize]).collect())
    }

    /// Σₖ (gₖ − \[k = yᵢ\])² of each example: its share of [`Predictions::brier`].
    pub fn briers(&self, labels: &[u32]) -> Result<Vec<f64>> {
        self.check_labels(labels)?;
        Ok(self.rows().zip(labels).map(|(row, &y)| brier(row, y as usize)).collect())
    }

    /// Probability of the most probable class of each example, and whether that is the label: what calibration errors are
    /// made of.
    pub fn judged(&self, labels: &[u32]) -> Result<Vec<(f64, bool)>> {
        self.check_labels(labels)?;
        let judged = |(row, &y): (Row, &u32)| {
            let class = row.most_probable();
            (row.g[class], class == y as usize)
        };
        Ok(self.rows().zip(labels).map(judged).collect())
    }

    /// Σₖ pₖ (log pₖ − log gₖ) of each example, in nats: its share of [`Predictions::divergence_from`].
    pub fn divergences_from(&self, truth: &Self) -> Result<Vec<f64>> {
        self.check_same(truth)?;
        let of = |(own, p): (Row, Row)| -> f64 {
            let logs = p.log_g.iter().zip(own.log_g);
            p.g.iter().zip(logs).map(|(&p, (log_p, log_g))| expected(p, log_p - log_g)).sum()
        };
        Ok(self.rows().zip(truth.rows()).map(of).collect())
    }

    /// Entropy −Σₖ gₖ log gₖ of each example, in nats.
    pub fn entropies(&self) -> Vec<f64> {
        let entropy =
            |row: Row| -> f64 { row.g.iter().zip(row.log_g).map(|(&g, l)| expected(g, -l)).sum() };
        self.rows().map(entropy).collect()
    }

    /// Most probable class of each example, the first among equals.
    pub fn classes(&self) -> Vec<u32> {
        self.rows().map(|row| row.most_probable() as u32).collect()
    }

    /// Share of examples whose most probable class is the label; in \[0, 1\], NaN where a logit was NaN.
    pub fn accuracy(&self, labels: &[u32]) -> Result<f64> {
        self.mean_over(labels, |row, y| row.if_defined(f64::from(row.most_probable() == y)))
    }

    /// Hard cross-entropy, which is the mean negative log-likelihood: −(1/m) Σᵢ log g_{yᵢ}(xᵢ), in nats.
    pub fn cross_entropy(&self, labels: &[u32]) -> Result<f64> {
        self.mean_over(labels, |row, y| -row.log_g[y])
    }

    /// Brier score (1/m) Σᵢ Σₖ (gₖ − \[k = yᵢ\])²; in \[0, 2\].
    ///
    /// Source: Brier (1950), the multi-class form.
    pub fn brier(&self, labels: &[u32]) -> Result<f64> {
        self.mean_over(labels, brier)
    }

    /// Expected calibration error over 15 bins of equal width; in \[0, 1\].
    pub fn calibration_error(&self, labels: &[u32]) -> Result<f64> {
        expected_calibration_error(&self.judged(labels)?)
    }

    /// Share of examples on which both choose the same class; in \[0, 1\], NaN where a logit was NaN.
    pub fn agreement(&self, other: &Self) -> Result<f64> {
        self.check_same(other)?;
        let is_equal = |(a, b): (Row, Row)| {
            a.if_defined(b.if_defined(f64::from(a.most_probable() == b.most_probable())))
        };
        Ok(self.rows().zip(other.rows()).map(is_equal).sum::<f64>() / self.n_examples() as f64)
    }

    /// max − min of each example's class probabilities, the papers' "MAX-MIN".
    pub fn spreads(&self) -> Vec<f64> {
        let spread = |row: Row| {
            let ends = (f64::INFINITY, f64::NEG_INFINITY);
            let (low, high) = row.g.iter().fold(ends, |(a, b), &g| (a.min(g), b.max(g)));
            row.if_defined(high - low)
        };
        self.rows().map(spread).collect()
    }

    /// Cross-entropy against the classes' true probabilities: −(1/m) Σᵢ Σₖ pₖ log gₖ, in nats.
    pub fn cross_entropy_against(&self, truth: &Self) -> Result<f64> {
        self.check_same(truth)?;
        let terms = self.log_probabilities.iter().zip(&truth.probabilities);
        Ok(terms.map(|(l, &p)| expected(p, -l)).sum::<f64>() / self.n_examples() as f64)
    }

    /// KL divergence of the predictions from the true probabilities: (1/m) Σᵢ Σₖ pₖ (log pₖ − log gₖ), in nats.
    pub fn divergence_from(&self, truth: &Self) -> Result<f64> {
        self.check_same(truth)?;
        let terms = truth.probabilities.iter().zip(&truth.log_probabilities);
        let terms = terms.zip(&self.log_probabilities).map(|((&p, own), l)| expected(p, own - l));
        Ok(terms.sum::<f64>() / self.n_examples() as f64)
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let k = self.n_classes;
        let rows = self.log_probabilities.chunks_exact(k).zip(self.probabilities.chunks_exact(k));
        rows.map(|(log_g, g)| Row { log_g, g })
    }

    fn check(&self, n_examples: usize) -> Result<()> {
        let (what, m) = ("examples to judge", self.n_examples());
        check_count(what, Expected::Exactly(m), n_examples == m, n_examples)?;
        check_count(what, Expected::AtLeast(1), n_examples > 0, n_examples)
    }

    fn check_same(&self, other: &Self) -> Result<()> {
        let (k, found) = (self.n_classes, other.n_classes);
        check_count("classes to compare", Expected::Exactly(k), k == found, found)?;
        self.check(other.n_examples())
    }

    fn check_labels(&self, labels: &[u32]) -> Result<()> {
        self.check(labels.len())?;
        if let Some(&y) = labels.iter().find(|&&y| y as usize >= self.n_classes) {
            let range = "0 .. the number of classes";
            let value = f64::from(y);
            return Err(core_tensors::Error::OutOfRange { name: "class", value, range }.into());
        }
        Ok(())
    }

    fn mean_over(&self, labels: &[u32], measure: impl Fn(Row, usize) -> f64) -> Result<f64> {
        self.check_labels(labels)?;
        let total: f64 = self.rows().zip(labels).map(|(row, &y)| measure(row, y as usize)).sum();
        Ok(total / labels.len() as f64)
    }
}

/// p times a number that may be infinite where p is 0: then it counts for nothing.
fn expected(p: f64, number: f64) -> f64 {
    if p == 0.0 { 0.0 } else { p * number }
}

/// Σₖ (gₖ − \[k = y\])² of one example.
fn brier(row: Row, y: usize) -> f64 {
    row.g.iter().enumerate().map(|(k, g)| (g - f64::from(k == y)).powi(2)).sum()
}

/// One example.
#[derive(Clone, Copy)]
struct Row<'a> {
    log_g: &'a [f64],
    g: &'a [f64],
}

impl Row<'_> {
    /// `value`, or NaN where the network's logits were not numbers: a run that diverged must not look like a poor one.
    fn if_defined(self, value: f64) -> f64 {
        if self.log_g.iter().any(|l| l.is_nan()) { f64::NAN } else { value }
    }

    /// The most probable class, the first among equals.
    fn most_probable(self) -> usize {
        let mut best = 0;
        for (class, l) in self.log_g.iter().enumerate() {
            if *l > self.log_g[best] {
                best = class;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const EXACT: f64 = 1e-12;

    /// Predictions with these probabilities.
    fn predictions(rows: &[[f64; 3]]) -> Predictions {
        let logits: Vec<f64> = rows.iter().flatten().map(|p| p.ln()).collect();
        let logits = Tensor::from_vec(logits, (rows.len(), 3), &Device::Cpu).unwrap();
        Predictions::new(&logits).unwrap()
    }

    fn assert_near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < EXACT, "found {found}, wanted {wanted}");
    }

    #[test]
    fn measures_by_hand() {
        let p = predictions(&[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]);
        let labels = [0, 1];
        assert_near(p.accuracy(&labels).unwrap(), 0.5);
        assert_near(p.cross_entropy(&labels).unwrap(), (2f64.ln() + 5f64.ln()) / 2.0);
        let brier = (0.25 + 2.0 * 0.0625 + 0.01 + 0.64 + 0.49) / 2.0;
        assert_near(p.brier(&labels).unwrap(), brier);
        // Bins hold one example each: |0.5 − 1| and |0.7 − 0|.
        assert_near(p.calibration_error(&labels).unwrap(), (0.5 + 0.7) / 2.0);
        assert_near(p.spreads()[1], 0.6);
        assert_near(p.negative_logs(&labels).unwrap()[1], 5f64.ln());
        assert_near(p.briers(&labels).unwrap()[0], 0.375);
        assert!(!p.judged(&labels).unwrap()[1].1);
        assert_near(p.judged(&labels).unwrap()[1].0, 0.7);
        assert_near(p.entropies()[0], 0.5 * 2f64.ln() + 0.5 * 4f64.ln());
        assert_near(p.probabilities(1).unwrap()[2], 0.7);
        assert!(p.probabilities(2).is_none());
        assert_eq!(p.n_examples(), 2);
        assert_eq!(p.classes(), [0, 2]);
    }

    #[test]
    fn comparisons_of_two_predictions() {
        let truth = predictions(&[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]);
        let other = predictions(&[[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]);
        assert_near(other.agreement(&truth).unwrap(), 0.5);
        assert_near(other.divergence_from(&truth).unwrap(), 0.25 * 2f64.ln() / 2.0);
        assert_near(other.divergences_from(&truth).unwrap()[0], 0.25 * 2f64.ln());
        assert_near(truth.divergence_from(&truth).unwrap(), 0.0);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let logits = Tensor::new(&[[1e6, -1e6], [-1e6, 1e6]], &Device::Cpu).unwrap();
        let p = Predictions::new(&logits).unwrap();
        assert_near(p.cross_entropy(&[1, 1]).unwrap(), 1e6);
        assert_near(p.accuracy(&[1, 1]).unwrap(), 0.5);
        assert_near(p.brier(&[1, 1]).unwrap(), 1.0);
    }

    #[test]
    fn logits_that_are_not_numbers_give_no_numbers() {
        let logits = Tensor::new(&[[f64::NAN, 0.0], [1.0, 0.0]], &Device::Cpu).unwrap();
        let p = Predictions::new(&logits).unwrap();
        let labels = [0, 0];
        assert!(p.accuracy(&labels).unwrap().is_nan());
        assert!(p.cross_entropy(&labels).unwrap().is_nan());
        assert!(p.brier(&labels).unwrap().is_nan());
        assert!(p.calibration_error(&labels).unwrap().is_nan());
        assert!(p.agreement(&p).unwrap().is_nan());
        assert!(p.spreads()[0].is_nan() && p.spreads()[1] > 0.0);
    }

    #[test]
    fn a_class_that_is_ruled_out_has_no_share() {
        let logits = Tensor::new(&[[0.0, 0.0, f64::NEG_INFINITY]], &Device::Cpu).unwrap();
        let p = Predictions::new(&logits).unwrap();
        assert_near(p.entropies()[0], 2f64.ln());
        assert_near(p.cross_entropy_against(&p).unwrap(), 2f64.ln());
        assert_near(p.divergence_from(&p).unwrap(), 0.0);
        let open = predictions(&[[0.25, 0.25, 0.5]]);
        assert_near(open.divergence_from(&p).unwrap(), 2f64.ln());
        assert_eq!(p.divergence_from(&open).unwrap(), f64::INFINITY);
    }

    #[test]
    fn a_tiny_divergence_keeps_its_digits() {
        // KL((½ + e, ½ − e) ‖ even) = 2 e² + O(e⁴).
        let e = 1e-7;
        let truth = predictions(&[[0.5 + e, 0.5 - e, 0.0]]);
        let even = predictions(&[[0.5, 0.5, 0.0]]);
        let found = even.divergence_from(&truth).unwrap();
        // Each logarithm is rounded at 1e-16.
        assert!((found - 2.0 * e * e).abs() < 2e-16, "{found:e}");
    }

    #[test]
    fn the_first_of_equal_classes_is_the_most_probable() {
        let p = predictions(&[[0.25, 0.25, 0.5], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]]);
        assert_eq!(p.classes(), [2, 0, 1]);
    }

    #[test]
    fn a_mean_over_nothing_is_refused() {
        let nobody = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
        let p = Predictions::new(&nobody).unwrap();
        let measures = [
            p.accuracy(&[]),
            p.cross_entropy(&[]),
            p.brier(&[]),
            p.calibration_error(&[]),
            p.agreement(&p),
            p.cross_entropy_against(&p),
            p.divergence_from(&p),
        ];
        for measure in measures {
            let message = measure.unwrap_err().to_string();
            assert_eq!(message, "examples to judge: expected at least 1, found 0");
        }
        assert!(p.classes().is_empty() && p.entropies().is_empty() && p.spreads().is_empty());
        let empty = Tensor::zeros((2, 0), DType::F64, &Device::Cpu).unwrap();
        let message = Predictions::new(&empty).unwrap_err().to_string();
        assert_eq!(message, "classes to predict: expected at least 1, found 0");
    }

    #[test]
    fn lengths_and_classes_are_checked() {
        let p = predictions(&[[0.5, 0.25, 0.25]]);
        let message = p.accuracy(&[0, 1]).unwrap_err().to_string();
        assert_eq!(message, "examples to judge: expected 1, found 2");
        let message = p.negative_logs(&[]).unwrap_err().to_string();
        assert_eq!(message, "examples to judge: expected 1, found 0");
        let two = predictions(&[[0.5, 0.25, 0.25]; 2]);
        let message = p.divergence_from(&two).unwrap_err().to_string();
        assert_eq!(message, "examples to judge: expected 1, found 2");
        let message = p.cross_entropy(&[3]).unwrap_err().to_string();
        assert_eq!(message, "class must lie in 0 .. the number of classes, got 3");
        assert_eq!(p.calibration_error(&[3]).unwrap_err().to_string(), message);
        let logits = Tensor::new(&[[0.0, 0.0]], &Device::Cpu).unwrap();
        let message = p.agreement(&Predictions::new(&logits).unwrap()).unwrap_err().to_string();
        assert_eq!(message, "classes to compare: expected 3, found 2");
    }
}
