//! Measures of a network on a test set, and what a run records of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Dataset, Epoch, Params, Rng};
use domain_adapt::{proxy_distance, unbiased_mmd};
use losses::Predictions;
use models::Architecture;

use super::examples::{labels, logits, some_rows};
use crate::ledger::{Curve, Metric, metric, stats};

/// A test set and what a student is compared with on it.
pub struct Examination {
    x: Tensor,
    labels: Vec<u32>,
    /// The teacher's predictions on the test examples.
    pub teacher: Option<Predictions>,
    /// The true class probabilities of the test examples.
    pub truth: Option<Predictions>,
}

/// Metrics of one run, one value an epoch.
#[derive(Clone, Default)]
pub struct Record {
    curves: BTreeMap<String, Curve>,
}

impl Examination {
    /// An examination on a test set.
    pub fn new(test: &Dataset) -> Result<Self> {
        Ok(Self { x: test.x().clone(), labels: labels(test)?, teacher: None, truth: None })
    }

    /// The same with a teacher to agree with.
    pub fn with_teacher(self, teacher: Predictions) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Predictions of a network on the test examples.
    pub fn predictions(&self, network: &dyn Architecture, w: &Params) -> Result<Predictions> {
        Ok(Predictions::new(&logits(network, w, &self.x)?)?)
    }

    /// Classes of the test examples.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The test examples.
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// Appends this epoch's metrics of predictions on the test examples to a record.
    pub fn take(&self, p: &Predictions, epoch: Epoch, record: &mut Record) -> Result<()> {
        record.push(metric::OBJECTIVE, epoch.objective);
        for (metric, value) in self.measure(p)? {
            record.push(metric, value);
        }
        Ok(())
    }

    /// Every metric of predictions on the test examples, as curves of length 1.
    pub fn once(&self, p: &Predictions) -> Result<BTreeMap<String, Curve>> {
        let metrics = self.measure(p)?.into_iter();
        Ok(metrics.map(|(metric, value)| (metric.key(), vec![value])).collect())
    }

    fn measure(&self, p: &Predictions) -> Result<Vec<(Metric, f64)>> {
        let mut metrics = vec![
            (metric::ACCURACY, p.accuracy(&self.labels)?),
            (metric::CROSS_ENTROPY, p.cross_entropy(&self.labels)?),
            (metric::BRIER, p.brier(&self.labels)?),
            (metric::CALIBRATION_ERROR, p.calibration_error(&self.labels)?),
        ];
        if let Some(teacher) = &self.teacher {
            metrics.push((metric::AGREEMENT, p.agreement(teacher)?));
        }
        if let Some(truth) = &self.truth {
            metrics.push((metric::CROSS_ENTROPY_TRUE, p.cross_entropy_against(truth)?));
            metrics.push((metric::DIVERGENCE_TRUE, p.divergence_from(truth)?));
        }
        Ok(metrics)
    }
}

impl Record {
    /// Appends a value to a metric.
    pub fn push(&mut self, metric: Metric, value: f64) {
        self.curves.entry(metric.key()).or_default().push(value);
    }

    /// The curves, with what is derived from the test cross-entropy of a run:
    ///
    /// `integral`, the trapezoid over the epochs (lower is better); `best_cross_entropy`, its minimum; `best_epoch`,
    /// counted from 1; `overfitting`, last value minus minimum.
    pub fn finish(mut self) -> Result<BTreeMap<String, Curve>> {
        let curve = self
            .curves
            .get(metric::CROSS_ENTROPY.name)
            .context("a record without cross-entropy")?;
        let (mut best, mut best_epoch) = (f64::NAN, f64::NAN);
        for (epoch, &value) in curve.iter().enumerate() {
            if best.is_nan() || value < best {
                (best, best_epoch) = (value, (epoch + 1) as f64);
            }
        }
        let last = curve.last().copied().unwrap_or(f64::NAN);
        let integral = stats::trapezoid(curve);
        self.push(metric::INTEGRAL, integral);
        self.push(metric::BEST_CROSS_ENTROPY, best);
        self.push(metric::BEST_EPOCH, best_epoch);
        self.push(metric::OVERFITTING, last - best);
        Ok(self.curves)
    }
}

/// How far φ(x) lies from the teacher's own examples: proxy A-distance and squared maximum mean discrepancy, as metrics.
///
/// At most `most` random examples of either sample are looked at.
pub fn apart(
    mapped: &Tensor,
    own: &Tensor,
    most: usize,
    rng: &mut Rng,
) -> Result<BTreeMap<String, Curve>> {
    let mut part = |x: &Tensor| some_rows(x, most, rng);
    let (mapped, own) = (part(mapped)?, part(own)?);
    let distance = proxy_distance(&mapped, &own, rng)?;
    let mmd = unbiased_mmd(&mapped, &own, rng)?;
    let metrics = [(metric::PROXY_DISTANCE, distance), (metric::MMD, mmd)];
    Ok(metrics.map(|(metric, value)| (metric.key(), vec![value])).into())
}

/// Last value of a metric, not a number where it was not taken.
pub fn last(metrics: &BTreeMap<String, Curve>, metric: Metric) -> f64 {
    metrics.get(metric.name).and_then(|curve| curve.last()).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn domains_are_compared_by_random_examples() {
        // The first 300 examples are alike; of the others of φ(x) none is.
        let mut rng = Rng::new(0);
        let mut examples = |n: usize, shift: f64| {
            let values = (0..5 * n).map(|_| (shift + rng.normal()) as f32).collect();
            Tensor::from_vec::<_, f32>(values, (n, 5), &Device::Cpu).unwrap()
        };
        let own = examples(600, 0.0);
        let mapped = Tensor::cat(&[examples(300, 0.0), examples(2700, 6.0)], 0).unwrap();
        let mut rng = Rng::new(1);
        let [first, second] = [(); 2].map(|()| apart(&mapped, &own, 300, &mut rng).unwrap());
        for (found, least) in [(metric::PROXY_DISTANCE, 1.0), (metric::MMD, 0.2)] {
            let [first, second] = [&first, &second].map(|measures| last(measures, found));
            assert!(first > least && second > least && first != second, "{first} {second}");
        }
        // All of fewer, in some order.
        let mut all = some_rows(&own, 700, &mut rng).unwrap().to_vec2::<f32>().unwrap();
        let mut wanted = own.to_vec2::<f32>().unwrap();
        for rows in [&mut all, &mut wanted] {
            rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        }
        assert_eq!(all, wanted);
    }

    #[test]
    fn derived_metrics_by_hand() {
        let mut record = Record::default();
        [0.9, 0.5, 0.7].into_iter().for_each(|v| record.push(metric::CROSS_ENTROPY, v));
        let curves = record.finish().unwrap();
        assert!((curves[metric::INTEGRAL.name][0] - 1.3).abs() < 1e-12);
        assert_eq!(curves[metric::BEST_CROSS_ENTROPY.name], [0.5]);
        assert_eq!(curves[metric::BEST_EPOCH.name], [2.0]);
        assert!((curves[metric::OVERFITTING.name][0] - 0.2).abs() < 1e-12);
    }
}
