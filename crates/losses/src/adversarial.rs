//! GAN losses: a discriminator tells a teacher's outputs from a student's, and the student misleads it.

use candle_core::Tensor;
use core_tensors::kernels::composed_softplus;

use crate::checks::check_examples;
use crate::error::Result;

/// What both players of an adversarial distillation minimize.
///
/// The discriminator gives logits r, (m, 1) or (m,); D = sigmoid(r) is the probability that an output is the teacher's.
/// t are its logits of the teacher's outputs, s those of the student's.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::GanLoss;
///
/// // D = ¾ on the teacher's output, ¼ on the student's.
/// let (t, s) = (Tensor::new(&[3f64.ln()], &Device::Cpu)?, Tensor::new(&[-(3f64.ln())], &Device::Cpu)?);
/// let loss = GanLoss::NonSaturating;
/// assert!((loss.discriminator(&t, &s)?.to_scalar::<f64>()? - 0.575364).abs() < 1e-6); // −2 log ¾
/// assert!((loss.student(&s)?.to_scalar::<f64>()? - 1.386294).abs() < 1e-6); // −log ¼
/// # Ok::<(), losses::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GanLoss {
    /// The formula as printed: D minimizes E log D(t) + E log(1 − D(s)), the student maximizes E D(s).
    ///
    /// The sign of D's half is wrong: D tends to 0 on the teacher and to 1 on the student, who becomes ever easier to
    /// recognize, and no optimum is inside. Kept to show that.
    ///
    /// Source: paper 002, steps 3 to 5.
    AsPrinted,
    /// D maximizes E log D(t) + E log(1 − D(s)), the student minimizes E log(1 − D(s)).
    ///
    /// The optimum is D* = q_t / (q_t + q_s) with the value 2 JS(q_t, q_s) − 2 log 2. Where D is sure the student's
    /// gradient vanishes.
    ///
    /// Source: Goodfellow et al. (2014), equation 1; paper 002 with the sign corrected.
    Saturating,
    /// D as above, the student maximizes E log D(s).
    ///
    /// Source: Goodfellow et al. (2014), section 3.
    NonSaturating,
    /// D minimizes E max(0, 1 − t) + E max(0, 1 + s), the student −E s.
    ///
    /// Source: Lim & Ye (2017); Miyato et al. (2018), equation 16.
    Hinge,
    /// D minimizes E s − E t, the student −E s; wants a D of bounded derivative, see `models::SpectralNorm`.
    ///
    /// Source: Arjovsky, Chintala & Bottou (2017).
    Wasserstein,
}

impl GanLoss {
    /// All of them, the printed one first.
    pub const ALL: [Self; 5] =
        [Self::AsPrinted, Self::Saturating, Self::NonSaturating, Self::Hinge, Self::Wasserstein];

    /// The discriminator's loss, a mean over each player's outputs; shape (). `teacher` and `student` are its logits.
    pub fn discriminator(self, teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
        check_examples(teacher.elem_count())?;
        check_examples(student.elem_count())?;
        // −log D(t) − log(1 − D(s)) = log(1 + e^−t) + log(1 + e^s)
        let cross_entropy = || -> Result<Tensor> {
            Ok((composed_softplus(&teacher.neg()?)?.mean_all()?
                + composed_softplus(student)?.mean_all()?)?)
        };
        Ok(match self {
            Self::AsPrinted => cross_entropy()?.neg()?,
            Self::Saturating | Self::NonSaturating => cross_entropy()?,
            Self::Hinge => {
                let teacher = teacher.affine(-1.0, 1.0)?.relu()?.mean_all()?;
                (teacher + student.affine(1.0, 1.0)?.relu()?.mean_all()?)?
            }
            Self::Wasserstein => (student.mean_all()? - teacher.mean_all()?)?,
        })
    }

    /// The student's loss, a mean over its outputs; shape (). `student` are the discriminator's logits of them.
    pub fn student(self, student: &Tensor) -> Result<Tensor> {
        check_examples(student.elem_count())?;
        Ok(match self {
            // −D(s) = −1 / (1 + e^−s), finite at logits of any size
            Self::AsPrinted => sigmoid(student)?.mean_all()?.neg()?,
            Self::Saturating => composed_softplus(student)?.mean_all()?.neg()?,
            Self::NonSaturating => composed_softplus(&student.neg()?)?.mean_all()?,
            Self::Hinge | Self::Wasserstein => student.mean_all()?.neg()?,
        })
    }
}

/// D = sigmoid(r) of each logit: the probability of being the teacher's.
pub fn probability_of_teacher(logits: &Tensor) -> Result<Tensor> {
    sigmoid(&logits.detach())
}

/// e^{−log(1 + e^{−r})}.
fn sigmoid(logits: &Tensor) -> Result<Tensor> {
    Ok(composed_softplus(&logits.neg()?)?.neg()?.exp()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use core_tensors::Rng;

    fn logits(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (values.len(), 1), &Device::Cpu).unwrap()
    }

    fn number(t: &Tensor) -> f64 {
        t.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn losses_of_both_players_by_hand() {
        // D = ¾ and ½ on the teacher, ¼ and ½ on the student.
        let (t, s) = (logits(&[3f64.ln(), 0.0]), logits(&[-(3f64.ln()), 0.0]));
        let (ln2, l34) = (2f64.ln(), (4.0 / 3.0f64).ln());
        let hinge = (1.0 + 0.0f64.max(1.0 - 3f64.ln())) / 2.0;
        for (gan_loss, of_d, of_s) in [
            (GanLoss::AsPrinted, -(l34 + ln2), -(0.25 + 0.5) / 2.0),
            (GanLoss::Saturating, l34 + ln2, -(l34 + ln2) / 2.0),
            (GanLoss::NonSaturating, l34 + ln2, (4f64.ln() + ln2) / 2.0),
            (GanLoss::Hinge, 2.0 * hinge, 3f64.ln() / 2.0),
            (GanLoss::Wasserstein, -(3f64.ln()), 3f64.ln() / 2.0),
        ] {
            let found = number(&gan_loss.discriminator(&t, &s).unwrap());
            assert!((found - of_d).abs() < 1e-12, "{gan_loss:?}: {found} against {of_d}");
            let found = number(&gan_loss.student(&s).unwrap());
            assert!((found - of_s).abs() < 1e-12, "{gan_loss:?}: {found} against {of_s}");
        }
    }

    #[test]
    fn a_game_of_nobody_is_refused() {
        let (one, nobody) = (logits(&[0.5]), logits(&[]));
        for gan_loss in GanLoss::ALL {
            for loss in [
                gan_loss.discriminator(&one, &nobody),
                gan_loss.discriminator(&nobody, &one),
                gan_loss.student(&nobody),
            ] {
                let message = loss.unwrap_err().to_string();
                assert_eq!(message, "examples of a batch: expected at least 1, found 0");
            }
        }
    }

    #[test]
    fn probabilities_by_hand_and_without_a_gradient() {
        let r = Var::from_tensor(&logits(&[3f64.ln(), -(3f64.ln()), 1e6, -1e6])).unwrap();
        let d = probability_of_teacher(&r).unwrap();
        let found = d.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (found, wanted) in found.iter().zip([0.75, 0.25, 1.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-15, "{found} {wanted}");
        }
        assert!(d.sum_all().unwrap().backward().unwrap().get(&r).is_none());
    }

    #[test]
    fn gradients_are_differences_and_finite_at_any_logit() {
        let base = [0.3, -1.2, 2.0, -0.4];
        for gan_loss in GanLoss::ALL {
            let of = |z: &Tensor| {
                let (t, s) = (z.narrow(0, 0, 2).unwrap(), z.narrow(0, 2, 2).unwrap());
                (gan_loss.discriminator(&t, &s).unwrap() + gan_loss.student(&s).unwrap()).unwrap()
            };
            let z = Var::from_tensor(&logits(&base)).unwrap();
            let gradient = of(&z).backward().unwrap().get(&z).unwrap().flatten_all().unwrap();
            for (i, derivative) in gradient.to_vec1::<f64>().unwrap().into_iter().enumerate() {
                let at = |h: f64| {
                    let mut moved = base;
                    moved[i] += h;
                    number(&of(&logits(&moved)))
                };
                let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (derivative - wanted).abs() < 1e-8,
                    "{gan_loss:?}: {derivative} against {wanted}"
                );
            }
            for sign in [1.0, -1.0] {
                let z = Var::from_tensor(&logits(&[1e6 * sign, -1e6, 1e6, -1e6 * sign])).unwrap();
                let loss = of(&z);
                let gradient = loss.backward().unwrap().get(&z).unwrap().flatten_all().unwrap();
                let derivatives = gradient.to_vec1::<f64>().unwrap();
                assert!(
                    number(&loss).is_finite() && derivatives.iter().all(|g| g.is_finite()),
                    "{gan_loss:?}"
                );
            }
        }
    }

    #[test]
    fn two_gaussians_have_the_known_best_discriminator() {
        // t ~ N(0, 1), s ~ N(1, 1): D* = q_t / (q_t + q_s) has the logit ½ − x, which a line can take.
        let n = 20_000;
        let mut rng = Rng::new(0);
        let mut draw = |mean: f64| -> Vec<f64> { (0..n).map(|_| mean + rng.normal()).collect() };
        let (t, s) = (logits(&draw(0.0)), logits(&draw(1.0)));
        let line = Var::new(&[0.0f64, 0.0], &Device::Cpu).unwrap();
        let at = |x: &Tensor| {
            let [a, b] = [0, 1].map(|i| line.get(i).unwrap());
            x.broadcast_mul(&a).unwrap().broadcast_add(&b).unwrap()
        };
        // Plain gradient descent on a convex loss whose curvature is at most ½.
        for _ in 0..400 {
            let loss = GanLoss::Saturating.discriminator(&at(&t), &at(&s)).unwrap();
            let store = loss.backward().unwrap();
            let step = (store.get(&line).unwrap() * 1.0).unwrap();
            line.set(&(line.as_tensor() - step).unwrap()).unwrap();
        }
        let found = line.to_vec1::<f64>().unwrap();
        // Standard errors of a logistic regression of 2n examples: about 1.6 / √n for the derivative; four of them.
        let tolerance = 4.0 * 1.6 / (n as f64).sqrt();
        assert!(
            (found[0] + 1.0).abs() < tolerance && (found[1] - 0.5).abs() < tolerance,
            "{found:?}"
        );
        // The value is 2 log 2 − 2 JS, JS by the trapezoid over the densities.
        let density =
            |x: f64, m: f64| (-0.5 * (x - m).powi(2)).exp() / std::f64::consts::TAU.sqrt();
        let term = |x: f64| {
            let (p, q) = (density(x, 0.0), density(x, 1.0));
            0.5 * (p * (2.0 * p / (p + q)).ln() + q * (2.0 * q / (p + q)).ln())
        };
        let js: f64 = (-800..=900).map(|i| 0.01 * term(0.01 * f64::from(i))).sum();
        let value = number(&GanLoss::Saturating.discriminator(&at(&t), &at(&s)).unwrap());
        let wanted = 2.0 * 2f64.ln() - 2.0 * js;
        assert!((value - wanted).abs() < 4.0 * 0.6 / (n as f64).sqrt(), "{value} against {wanted}");
    }

    #[test]
    fn the_printed_sign_drives_the_discriminator_apart() {
        // One step of D's logit of each output, against the gradient.
        let direction = |gan_loss: GanLoss| {
            let t = Var::new(&[0.0f64], &Device::Cpu).unwrap();
            let s = Var::new(&[0.0f64], &Device::Cpu).unwrap();
            let store = gan_loss.discriminator(&t, &s).unwrap().backward().unwrap();
            let of = |v: &Var| -store.get(v).unwrap().to_vec1::<f64>().unwrap()[0];
            (of(&t), of(&s))
        };
        assert_eq!(direction(GanLoss::Saturating), (0.5, -0.5));
        assert_eq!(
            direction(GanLoss::AsPrinted),
            (-0.5, 0.5),
            "the teacher becomes the improbable one"
        );
    }
}
