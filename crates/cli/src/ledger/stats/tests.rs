//! Statistics against SciPy, closed forms and enumeration.

use super::*;

/// Agreement with printed double-precision values.
const PRINTED: f64 = 1e-12;

const A: [f64; 8] = [0.61, 0.63, 0.59, 0.62, 0.66, 0.60, 0.64, 0.58];
const B: [f64; 8] = [0.60, 0.58, 0.59, 0.57, 0.63, 0.61, 0.60, 0.53];

fn assert_near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < PRINTED, "found {found:?}, wanted {wanted:?}");
}

/// p of Student, Wilcoxon and sign flips.
fn all_p(first: &[f64], second: &[f64]) -> [f64; 3] {
    let student = Paired::new(first, second).unwrap().p;
    let flips = sign_flip_p(first, second, &mut Rng::new(0)).unwrap();
    [student, wilcoxon_p(first, second).unwrap(), flips]
}

/// The same of numbers against 0.
fn all_p_of(differences: &[f64]) -> [f64; 3] {
    all_p(differences, &vec![0.0; differences.len()])
}

#[test]
fn estimates_equal_numpy_and_scipy() {
    // A.mean(), A.std(), stats.t.interval(.95, 7, A.mean(), stats.sem(A))
    let estimate = Estimate::new(&A);
    assert_eq!(estimate.n, 8);
    assert_near(estimate.mean, 0.61625);
    assert_near(estimate.std, 0.024_968_730_444_297_746);
    assert_near(estimate.ci95.0, 0.593_934_347_998_560_6);
    assert_near(estimate.ci95.1, 0.638_565_652_001_439_3);
    assert_near(estimate.half_width(), 0.5 * (0.638_565_652_001_439_3 - 0.593_934_347_998_560_6));
}

#[test]
fn two_runs_have_the_interval_of_a_cauchy_quantile() {
    // One degree of freedom: t₀.₉₇₅ = tan(.475 π), and the error of (1, 3) is 1.
    let estimate = Estimate::new(&[1.0, 3.0]);
    let half = (0.475 * std::f64::consts::PI).tan();
    assert!(
        (estimate.ci95.1 - 2.0 - half).abs() < 1e-9 && (estimate.half_width() - half).abs() < 1e-9
    );
    // 2 P(T > 2) = 1 − 2 arctan(2) / π
    let p = Paired::new(&[1.0, 3.0], &[0.0; 2]).unwrap().p;
    assert_near(p, 1.0 - 2.0 * 2f64.atan() / std::f64::consts::PI);
}

#[test]
fn paired_tests_equal_scipy() {
    // stats.ttest_rel(A, B); stats.t.interval(.95, 7, (A - B).mean(), stats.sem(A - B))
    let paired = Paired::new(&A, &B).unwrap();
    assert_near(paired.p, 0.015_181_422_003_732_839);
    assert_near(paired.difference.ci95.0, 0.007_144_012_559_232_624);
    assert_near(paired.difference.ci95.1, 0.047_855_987_440_767_4);
    // Differences 1, 5, 0, 5, 3, −1, 4, 5 hundredths, whose signs Python enumerates over their ranks and over themselves.
    assert_eq!(paired.p_wilcoxon, Some(wilcoxon_p(&A, &B).unwrap()));
    assert_near(paired.p_wilcoxon.unwrap(), 0.046_875);
    assert_near(sign_flip_p(&A, &B, &mut Rng::new(0)).unwrap(), 0.046_875);

    // stats.ttest_1samp(x, 0); stats.wilcoxon(x, mode="exact");
    // stats.permutation_test((x,), np.sum, permutation_type="samples", n_resamples=np.inf)
    let cases: [(&[f64], [f64; 3]); 4] = [
        (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.005_933_544_517_592_255, 0.031_25, 0.031_25]),
        (&[5.0, -1.0, 7.0, 3.0, -2.0, 11.0], [0.114_379_511_494_266_3, 0.156_25, 0.156_25]),
        (
            &[5.0, -1.0, 7.0, 3.0, -2.0, 11.0, -8.0, 4.0, 9.0, 10.0],
            [0.076_818_750_830_554_14, 0.083_984_375, 0.087_890_625],
        ),
        (&[1.0, -1.0], [1.0, 1.0, 1.0]),
    ];
    for (x, wanted) in cases {
        let opposite: Vec<f64> = x.iter().map(|x| -x).collect();
        for found in [all_p_of(x), all_p_of(&opposite)] {
            found.into_iter().zip(wanted).for_each(|(found, wanted)| assert_near(found, wanted));
        }
    }
}

#[test]
fn sixteen_pairs_are_enumerated_and_seventeen_drawn() {
    // Python's itertools.product over the 2¹⁶ signs.
    let x: [f64; 16] = [3., -1., 4., 1., -5., 9., 2., -6., 5., 3., 5., -8., 9., 7., -9., 3.];
    let [_, wilcoxon, flips] = all_p_of(&x);
    assert_near(wilcoxon, 0.353_729_248_046_875);
    assert_eq!(flips, 23_938.0 / 65_536.0);
    // No random flip of forty equal differences reaches their own sum: the observed one alone counts.
    assert_eq!(all_p_of(&[1.0; 40])[2], 1.0 / 100_001.0);
    let of_seventeen = 100_001.0 * all_p_of(&[&x[..], &[2.0]].concat())[2];
    assert!((of_seventeen - of_seventeen.round()).abs() < 1e-6, "{of_seventeen}");
}

#[test]
fn wilcoxon_stands_for_six_to_five_hundred_pairs() {
    let x: Vec<f64> = (1..=501).map(|i| f64::from(if i % 3 == 0 { -i } else { i })).collect();
    let of = |n: usize| Paired::new(&x[..n], &vec![0.0; n]).unwrap().p_wilcoxon;
    assert_eq!(of(5), None);
    assert_near(of(6).unwrap(), wilcoxon_p(&x[..6], &[0.0; 6]).unwrap());
    // In Python's integers, where stats.wilcoxon(x, mode="exact") has five digits of this:
    // c = [1]
    // for r in range(1, 501): c = [a + b for a, b in zip(c + [0] * r, [0] * r + c)]
    // 2 * sum(c[:sum(range(3, 501, 3)) + 1]) / 2 ** 500
    assert!((of(500).unwrap() / 4.386_227_310_651_279_5e-11 - 1.0).abs() < 1e-9);
    assert_eq!(of(501), None);
}

#[test]
fn what_rounding_explains_is_no_difference() {
    for (first, second) in [(0.1 + 0.2, 0.3), (1e9 * (0.1 + 0.2), 3e8), (-0.7, -0.1 * 7.0)] {
        assert_ne!(first, second);
        for n in [6, 20] {
            assert_eq!(all_p(&vec![first; n], &vec![second; n]), [1.0; 3], "{first} {second}");
        }
        let paired = Paired::new(&[first; 6], &[second; 6]).unwrap();
        assert_eq!((paired.difference.mean, paired.difference.ci95), (0.0, (0.0, 0.0)));
    }
    // Sixteen roundings of 1 and no more; what is less than 1e-15 without them is a difference.
    let one = |gap: f64| Paired::new(&[1.0; 6], &[1.0 - gap; 6]).unwrap().difference.mean;
    assert_eq!(one(16.0 * f64::EPSILON), 0.0);
    assert_eq!(one(17.0 * f64::EPSILON), 17.0 * f64::EPSILON);
    assert_eq!(all_p(&[1e-20; 6], &[0.0; 6]), [0.0, 0.031_25, 0.031_25]);
    // Constant but for rounding is constant: nothing is less probable.
    let constant = Paired::new(&[0.5 + 0.1, 0.3 + 0.1, 0.7 + 0.1], &[0.5, 0.3, 0.7]).unwrap();
    assert!(constant.p < 1e-20, "{}", constant.p);
}

#[test]
fn wilcoxon_with_ties_equals_enumeration() {
    let differences = [1.0, -1.0, 2.0, 2.0, -3.0, 0.0, 4.0, 2.0];
    let ranks = [1.5, 1.5, 4.0, 4.0, 6.0, 7.0, 4.0]; // of 1, −1, 2, 2, −3, 4, 2
    let observed: f64 = 1.5 + 4.0 + 4.0 + 7.0 + 4.0;
    let sums: Vec<f64> = (0..128)
        .map(|flip| (0..7).filter(|i| flip >> i & 1 == 1).map(|i| ranks[i]).sum())
        .collect();
    let center = 14.0;
    let tail = sums.iter().filter(|&&s: &&f64| (s - center).abs() >= observed - center).count();
    assert_near(wilcoxon_p(&differences, &[0.0; 8]).unwrap(), tail as f64 / 128.0);
    // The same numbers as differences of decimal fractions, which are equal up to rounding.
    for unit in [1e-4, 1e-8] {
        let first = differences.map(|d| 0.7871 + d * unit);
        assert_near(wilcoxon_p(&first, &[0.7871; 8]).unwrap(), tail as f64 / 128.0);
        let flips = sign_flip_p(&first, &[0.7871; 8], &mut Rng::new(0)).unwrap();
        assert_eq!(flips, sign_flip_p(&differences, &[0.0; 8], &mut Rng::new(0)).unwrap());
    }
    // A run that diverged has large roundings of its own, not of the others.
    let mut first = differences.map(|d| 0.7871 + d * 1e-4);
    (first[6], first[7]) = (1e20, 0.7871);
    let ordered = [1.0, -1.0, 2.0, 2.0, -3.0, 0.0, 4.0, 0.0];
    let [found, wanted] =
        [(first, [0.7871; 8]), (ordered, [0.0; 8])].map(|(a, b)| wilcoxon_p(&a, &b).unwrap());
    assert_near(found, wanted);
}

#[test]
fn sizes_are_tied_up_to_the_roundings_of_both() {
    // Numbers of size 2 have roundings of 2⁻⁴⁷ each. Differences 1, −(1 + gap), ½ and ¼: the positive ranks sum to
    // 1 + 2 + 3.5 of 10 if the first two are tied, else to 1 + 2 + 3; 12 or 14 of 16 signs are as far from 5.
    let tie = 64.0 * f64::EPSILON;
    let p = |gap: f64| wilcoxon_p(&[2.0, 1.0 - gap, 2.0, 2.0], &[1.0, 2.0, 1.5, 1.75]).unwrap();
    assert_eq!([p(0.0), p(tie), p(2.0 * tie)], [0.75, 0.75, 0.875]);
}

#[test]
fn random_flips_agree_with_student_on_normal_differences() {
    let mut rng = Rng::new(4);
    let differences: Vec<f64> = (0..40).map(|_| 0.3 + rng.normal()).collect();
    let flips = sign_flip_p(&differences, &[0.0; 40], &mut rng).unwrap();
    let student = Paired::new(&differences, &[0.0; 40]).unwrap().p;
    // Monte-Carlo standard deviation below 0.0016, and the two tests differ by O(1/n).
    assert!((flips - student).abs() < 0.01, "{flips} against {student}");
}

#[test]
fn holm_by_hand() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, f64::NAN])[..3], [0.03, 0.06, 0.06]);
    assert!(holm(&[0.5, f64::NAN])[1].is_nan());
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[]), [0.0; 0]);
    // 4 · .01, then 3 · .02, then 2 · .0225 which the one before exceeds, then 1 · .5.
    assert_eq!(holm(&[0.5, 0.0225, 0.01, 0.02]), [0.5, 0.06, 0.04, 0.06]);
}

#[test]
fn trapezoid_is_exact_for_lines() {
    assert_near(trapezoid(&[1.0, 2.0, 3.0, 4.0]), 7.5);
    assert_near(trapezoid(&[5.0]), 0.0);
    assert_near(trapezoid(&[]), 0.0);
}

#[test]
fn degenerate_samples_are_not_a_number_rather_than_a_verdict() {
    assert!(mean(&[]).is_nan() && population_std(&[]).is_nan());
    assert!(Estimate::new(&[1.0]).ci95.0.is_nan());
    assert!(Paired::new(&[1.0], &[2.0]).unwrap().p.is_nan());
    assert!(sign_flip_p(&[], &[], &mut Rng::new(0)).unwrap().is_nan());
    assert_eq!(wilcoxon_p(&[], &[]).unwrap(), 1.0);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let all = all_p(&[bad, 1.0, 2.0], &[0.0; 3]);
        assert!(all.iter().all(|p| p.is_nan()), "{bad}: {all:?}");
        assert!(Paired::new(&[bad; 6], &[1.0; 6]).unwrap().p_wilcoxon.unwrap().is_nan());
    }
    assert_eq!(all_p(&[1.0, 2.0], &[1.0, 2.0]), [1.0; 3]);
    // Nothing but zeros, whose rounding is 0, too.
    assert_eq!(all_p(&[0.0; 3], &[0.0; 3]), [1.0; 3]);
    assert_eq!(all_p(&[0.0; 20], &[0.0; 20]), [1.0; 3]);
    // A constant difference leaves Student no doubt.
    assert_eq!(Paired::new(&[2.0; 3], &[1.0; 3]).unwrap().p, 0.0);
    let message = "paired runs: wanted 1, found 0";
    assert_eq!(Paired::new(&[1.0], &[]).unwrap_err().to_string(), message);
    assert_eq!(wilcoxon_p(&[1.0], &[]).unwrap_err().to_string(), message);
    assert_eq!(sign_flip_p(&[1.0], &[], &mut Rng::new(0)).unwrap_err().to_string(), message);
}

#[test]
fn normal_quantiles_are_those_of_tables() {
    for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.05, -1.644_853_627)] {
        assert!((normal_quantile(p) - z).abs() < 1e-9);
    }
    assert_eq!([0.0, 1.0].map(normal_quantile), [f64::NEG_INFINITY, f64::INFINITY]);
    assert!([1.5, -0.1, f64::NAN].iter().all(|p| normal_quantile(*p).is_nan()));
}
