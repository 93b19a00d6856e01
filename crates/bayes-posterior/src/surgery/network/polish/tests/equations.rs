//! M and g against Jacobians by the parameters, finite differences, and each other.

use super::*;

/// ∂f_c/∂\[W | b\] of each example and output, (o, n + 1), by the parameters themselves.
fn jacobian(case: &Case, params: &Params, map: &LinearMap, i: usize) -> Vec<Mat<f64>> {
    let w = params.trainable().unwrap();
    let x = case.x.narrow(0, i, 1).unwrap();
    let f = case.graph.forward(&w, &x).unwrap();
    (0..f.dim(1).unwrap())
        .map(|c| {
            let f = f.narrow(1, c, 1).unwrap().sum_all().unwrap();
            let gradient = w.gradient(&f).unwrap();
            let weights = matrix(&map.weights(&case.graph, &gradient).unwrap()).unwrap();
            let bias = map.biases(&case.graph, &gradient).unwrap();
            let bias = bias.map(|b| b.to_vec1::<f64>().unwrap());
            let n = weights.ncols();
            Mat::from_fn(weights.nrows(), n + bias.iter().len(), |i, j| {
                if j < n { weights[(i, j)] } else { bias.as_ref().unwrap()[i] }
            })
        })
        .collect()
}

fn equations(
    case: &Case,
    small: &Params,
    map: &LinearMap,
    likelihood: Likelihood,
    options: &Polish,
) -> Equations {
    let calibration = case.calibration(0);
    let target = Target::of(&case.network(), &calibration, likelihood).unwrap();
    let at = (&case.graph, map, small);
    Equations::of(at, &target, options, |_| true, &mut Rng::new(7)).unwrap()
}

fn whole(equations: &Equations) -> Mat<f64> {
    let Curvature::Whole(m) = &equations.curvature else { return Mat::new() };
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i.max(j), i.min(j))])
}

#[test]
fn equations_are_sums_over_jacobians() {
    let m = 11;
    let several = cases(m).into_iter().map(|case| (case, vec![SOFTMAX, NORMAL]));
    let sigmoid = |f: f64| 1.0 / (1.0 + (-f).exp());
    for (case, likelihoods) in several.chain([(one_logit(m), vec![SIGMOID])]) {
        let small = other(&case.params, 1);
        let f = |params| rows(&case.graph.forward(params, &case.x).unwrap());
        let (before, after) = (f(&case.params), f(&small));
        let each = |map| likelihoods.iter().map(move |&likelihood| (map, likelihood));
        for (map, likelihood) in case.axes.maps().iter().flat_map(each) {
            let found = equations(&case, &small, map, likelihood, &Polish::one_sweep());
            assert_eq!(found.method, PolishMethod::Exact);
            let (o, q) = found.gradient.shape();
            let (mut g, mut curvature) = (Mat::zeros(o, q), Mat::<f64>::zeros(o * q, o * q));
            for i in 0..m {
                let j = jacobian(&case, &small, map, i);
                let (p, q_) = (softmax(&before[i]), softmax(&after[i]));
                for c in 0..j.len() {
                    let slope = match likelihood {
                        Likelihood::Categorical => q_[c] - p[c],
                        Likelihood::Bernoulli => sigmoid(after[i][c]) - sigmoid(before[i][c]),
                        Likelihood::Normal { variance } => (after[i][c] - before[i][c]) / variance,
                    };
                    g += &j[c] * faer::Scale(slope / m as f64);
                    for d in 0..j.len() {
                        let is_same = f64::from(u8::from(c == d));
                        let hessian = match likelihood {
                            Likelihood::Categorical => q_[c] * (is_same - q_[d]),
                            Likelihood::Bernoulli => sigmoid(after[i][c]) * sigmoid(-after[i][c]),
                            Likelihood::Normal { variance } => is_same / variance,
                        };
                        let vec = |j: &Mat<f64>| Mat::from_fn(o * q, 1, |a, _| j[(a / q, a % q)]);
                        let product = vec(&j[c]) * vec(&j[d]).transpose();
                        curvature += product * faer::Scale(hessian / m as f64);
                    }
                }
            }
            let what = format!("{} {} {likelihood:?}", case.name, map.name);
            assert!(relative(&found.gradient, &g) < CLOSE, "g of {what}");
            assert!(relative(&whole(&found), &curvature) < CLOSE, "M of {what}");
        }
    }
}

#[test]
fn g_is_the_slope_of_the_divergence() {
    for case in cases(12) {
        let small = other(&case.params, 2);
        let before = case.graph.forward(&case.params, &case.x).unwrap();
        for map in case.axes.maps() {
            let found = equations(&case, &small, map, SOFTMAX, &Polish::one_sweep());
            let d = found.solve(1e-2).unwrap();
            let at = |step: f64| {
                let w = moved(&case.graph, map, &small, d.as_ref(), step).unwrap();
                divergence(&before, &case.graph.forward(&w, &case.x).unwrap())
            };
            let h = 1e-6;
            let slope = (at(-h) - at(h)) / (2.0 * h);
            let expected = found.gradient.as_ref().col_iter().zip(d.col_iter());
            let expected: f64 = expected.map(|(g, d)| g.transpose() * d).sum();
            // Differences of KL over 2e-6 keep about six digits.
            assert!((slope - expected).abs() < 1e-5 * expected, "{} {}", case.name, map.name);
        }
    }
}

#[test]
fn principal_directions_restrict_the_whole_equations() {
    let (mut net, x) = Growing::new(8, &[40]);
    let h = net.gemm("a", x, [3, 40], true).unwrap();
    let h = net.relu(h).unwrap();
    let y = net.gemm("b", h, [3, 3], true).unwrap();
    let case = Case::new("wide", net, y, &[40], 90);
    let (small, map) = (other(&case.params, 3), &case.axes.maps()[0]);
    let exact = equations(&case, &small, map, SOFTMAX, &Polish::one_sweep());
    let options = Polish { most_unknowns: 70, ..Polish::one_sweep() };
    let found = equations(&case, &small, map, SOFTMAX, &options);
    assert_eq!(found.method, PolishMethod::Principal(22));
    let basis = found.basis.as_ref().unwrap();
    assert!(relative(&found.gradient, &(&exact.gradient * basis)) < CLOSE);
    let (o, n, q) = (3, basis.nrows(), basis.ncols());
    let spread =
        Mat::from_fn(o * n, o * q, |i, j| if i / n == j / q { basis[(i % n, j % q)] } else { 0.0 });
    let expected = spread.transpose() * whole(&exact) * &spread;
    assert!(relative(&whole(&found), &expected) < CLOSE);
    // E a aᵀ = I.
    let h = matrix(&case.x).unwrap();
    let a = Mat::from_fn(90, 41, |i, j| if j < 40 { h[(i, j)] } else { 1.0 }) * basis;
    let second = a.transpose() * &a * faer::Scale(1.0 / 90.0);
    assert!(relative(&second, &Mat::identity(23, 23)) < CLOSE);
}

#[test]
fn kronecker_factors_are_those_of_surgery() {
    let case = perceptron(1, 20);
    let options = Polish { most_unknowns: 0, ..Polish::one_sweep() };
    let calibration = case.calibration(0);
    let rng = &mut Rng::new(1);
    let of_surgery =
        super::super::super::output_curvatures(&case.network(), &calibration, SOFTMAX, 10, rng)
            .unwrap();
    for (m, map) in case.axes.maps().iter().enumerate() {
        let small = case.params.clone();
        let found = equations(&case, &small, map, SOFTMAX, &options);
        let Curvature::Kronecker { outputs, columns } = &found.curvature else {
            panic!("{:?}", found.method)
        };
        assert!(relative(outputs, &of_surgery.get(m).unwrap().to_owned()) < CLOSE, "{}", map.name);
        let h = case.graph.values_from(&small, std::slice::from_ref(&case.x), &[], &[map.input]);
        let h = matrix(&h.unwrap()[0]).unwrap();
        let n = h.ncols();
        let a = Mat::from_fn(20, n + 1, |i, j| if j < n { h[(i, j)] } else { 1.0 });
        let second = a.transpose() * &a * faer::Scale(1.0 / 20.0);
        assert!(relative(columns, &second) < CLOSE, "{}", map.name);
        // The original itself: nothing to learn.
        assert!(found.gradient.norm_max() < CLOSE);
    }
}
