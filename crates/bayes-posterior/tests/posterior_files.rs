//! Posteriors on disk: what this program writes it reads, and what another writes by the documented format as well.

mod dense;

use bayes_posterior::{
    AnyPosterior, Damping, Gaussian, LowRankForm, Posterior, Provenance, Task, with_posterior,
};
use core_tensors::Rng;
use core_tensors::kernels::Activation;
use dense::{TestResult, distance, network, normals, to_dense};
use models::graph::change::Standardization;
use models::{Architecture, Mlp};

/// A safetensors file put together by hand: length of the header, header, numbers.
fn by_hand(metadata: &str, tensors: &[(&str, &[usize], &[f64])]) -> Vec<u8> {
    let quoted = metadata.replace('"', "\\\"");
    let (mut header, mut data) =
        (format!("{{\"__metadata__\":{{\"distill\":\"{quoted}\"}}"), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let end = data.len();
        header += &format!(
            ",\"{name}\":{{\"dtype\":\"F64\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        );
    }
    header.push('}');
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn every_activation_comes_back() -> TestResult {
    let names = [
        (Activation::Identity, "identity"),
        (Activation::Relu, "relu"),
        (Activation::LeakyRelu { slope: 0.25 }, "leaky_relu"),
        (Activation::Tanh, "tanh"),
        (Activation::Sigmoid, "sigmoid"),
        (Activation::Silu, "silu"),
        (Activation::Gelu, "gelu"),
    ];
    for (activation, name) in names {
        let network = Mlp { activation, ..network(&[2, 3, 1], true) };
        let layout = network.layout();
        let mean = vec![0.5; layout.n_parameters()];
        let covariance = dense::diagonal(&layout, &mut Rng::new(0));
        let posterior = Posterior::new(network, Gaussian::new(layout, mean, covariance)?)?;
        let bytes = AnyPosterior::Diagonal(posterior).to_bytes(&Provenance::default())?;
        let (after, _) = AnyPosterior::from_bytes(&bytes)?;
        assert_eq!(after.network().activation, activation);
        let header = String::from_utf8_lossy(&bytes).replace('\\', "");
        assert!(header.contains(&format!("\"activation\":\"{name}\"")), "{header}");
    }
    Ok(())
}

#[test]
fn every_structure_comes_back_bit_for_bit() -> TestResult {
    let mut rng = Rng::new(0);
    let teacher =
        Mlp { activation: Activation::LeakyRelu { slope: 0.01 }, ..network(&[2, 3, 1], true) };
    let layout = teacher.layout();
    let provenance = Provenance {
        task: Some(Task::Regression),
        noise_variance: Some(0.01),
        prior_precision: Some(2.5),
        n_examples: Some(900),
        log_likelihood: Some(-17.25),
        damping: Some(Damping::Numerical { epsilon: 1e-3 }),
        parent: Some("ab".into()),
        ..Provenance::default()
    };
    let mean = normals(layout.n_parameters(), &mut rng);
    macro_rules! posterior {
        ($covariance:expr) => {
            Posterior::with_history(
                teacher.clone(),
                Gaussian::new(layout.clone(), mean.clone(), $covariance)?,
                vec![vec![0, 1], vec![4, 7, 9], vec![0]],
                true,
            )?
        };
    }
    let r = &mut rng;
    let all = [
        AnyPosterior::Diagonal(posterior!(dense::diagonal(&layout, r))),
        AnyPosterior::BlockDiagonal(posterior!(dense::by_layer(&layout, r))),
        AnyPosterior::BlockDiagonal(posterior!(dense::by_unit(&layout, r))),
        AnyPosterior::Kronecker(posterior!(dense::kronecker(&layout, r))),
        AnyPosterior::KroneckerEigen(posterior!(dense::kronecker_eigen(&layout, r))),
        AnyPosterior::LowRank(posterior!(dense::low_rank(LowRankForm::Covariance, &layout, r))),
        AnyPosterior::LowRank(posterior!(dense::low_rank(LowRankForm::Precision, &layout, r))),
        AnyPosterior::Full(posterior!(dense::full(&layout, r))),
    ];
    for before in all {
        let bytes = before.to_bytes(&provenance)?;
        let (after, read) = AnyPosterior::from_bytes(&bytes)?;
        assert_eq!(read, provenance);
        assert_eq!((after.network(), after.structure()), (&teacher, before.structure()));
        assert_eq!(after.to_bytes(&provenance)?, bytes);
        let [a, b] = [&before, &after].map(|any| {
            with_posterior!(any, p => (to_dense(p.gaussian().covariance()), p.gaussian().mean().to_vec(), p.kept().to_vec(), p.is_inexact()))
        });
        assert_eq!(a, b);
    }
    Ok(())
}

#[test]
fn files_of_another_program_are_read_as_documented() -> TestResult {
    // p = 2 and r = 2: a square factor is not symmetric. Optional keys are left out.
    let metadata = r#"{"format":1,"widths":[2,1],"bias":false,"activation":"relu","structure":"low_rank","parent":null}"#;
    let bytes = by_hand(
        metadata,
        &[
            ("factor", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            ("mean", &[2], &[0.5, -1.0]),
            ("variance", &[2], &[0.25, 0.75]),
        ],
    );
    let (AnyPosterior::LowRank(posterior), provenance) = AnyPosterior::from_bytes(&bytes)? else {
        return Err("another structure".into());
    };
    let wanted = vec![vec![5.25, 11.0], vec![11.0, 25.75]];
    assert!(distance(&wanted, &to_dense(posterior.gaussian().covariance())) < 1e-15);
    assert_eq!(
        (posterior.gaussian().mean(), provenance),
        (&[0.5, -1.0][..], Provenance::default())
    );
    assert_eq!(
        (posterior.kept().to_vec(), posterior.is_inexact()),
        (vec![vec![0, 1], vec![0]], false)
    );

    let metadata = r#"{"format":1,"widths":[1,2],"bias":false,"activation":"identity","structure":"kronecker","kept":[[3],[0,8]]}"#;
    let tensors: [(&str, &[usize], &[f64]); 3] = [
        ("columns.1", &[1, 1], &[3.0]),
        ("mean", &[2], &[0.0, 0.0]),
        ("rows.1", &[2, 2], &[2.0, 1.0, 1.0, 2.0]),
    ];
    let (any, _) = AnyPosterior::from_bytes(&by_hand(metadata, &tensors))?;
    let dense = with_posterior!(&any, p => to_dense(p.gaussian().covariance()));
    assert_eq!(dense, [[6.0, 3.0], [3.0, 6.0]]);

    // (diag(2, 0) ⊗ 3 + ½ I)⁻¹
    let metadata = metadata.replace("kronecker", "kronecker_eigen");
    let tensors: [(&str, &[usize], &[f64]); 6] = [
        ("columns_values.1", &[1], &[3.0]),
        ("columns_vectors.1", &[1, 1], &[1.0]),
        ("mean", &[2], &[0.0, 0.0]),
        ("prior_precision", &[1], &[0.5]),
        ("rows_values.1", &[2], &[0.0, 2.0]),
        ("rows_vectors.1", &[2, 2], &[0.0, 1.0, 1.0, 0.0]),
    ];
    let (any, _) = AnyPosterior::from_bytes(&by_hand(&metadata, &tensors))?;
    let dense = with_posterior!(&any, p => to_dense(p.gaussian().covariance()));
    assert_eq!(dense, [[1.0 / 6.5, 0.0], [0.0, 2.0]]);
    let mut wrong = tensors;
    wrong[5].2 = &[0.0, 1.0, 1.0, 0.5];
    let text = AnyPosterior::from_bytes(&by_hand(&metadata, &wrong)).unwrap_err().to_string();
    assert!(text.contains("orthonormal"), "{text}");
    wrong[5] = tensors[5];
    wrong[4].2 = &[0.0, -2.0];
    let text = AnyPosterior::from_bytes(&by_hand(&metadata, &wrong)).unwrap_err().to_string();
    assert!(text.contains("eigenvalue 1 of a curvature must lie in [0, ∞), got -2"), "{text}");
    Ok(())
}

#[test]
fn far_more_directions_than_parameters_are_as_many_as_parameters() -> TestResult {
    let metadata =
        r#"{"format":1,"widths":[2,1],"bias":false,"activation":"relu","structure":"low_rank"}"#;
    let n = 3000;
    let factor = normals(2 * n, &mut Rng::new(3));
    let tensors: [(&str, &[usize], &[f64]); 3] = [
        ("factor", &[2, n], &factor),
        ("mean", &[2], &[0.0, 0.0]),
        ("variance", &[2], &[0.5, 0.75]),
    ];
    let (any, provenance) = AnyPosterior::from_bytes(&by_hand(metadata, &tensors))?;
    let entry = |i: usize, j: usize| {
        let sum: f64 = (0..n).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
        sum + if i == j { [0.5, 0.75][i] } else { 0.0 }
    };
    let wanted = vec![vec![entry(0, 0), entry(0, 1)], vec![entry(1, 0), entry(1, 1)]];
    let found = with_posterior!(&any, p => to_dense(p.gaussian().covariance()));
    // The rounding of 3000 terms.
    assert!(distance(&wanted, &found) < 1e-13);
    assert!(any.to_bytes(&provenance)?.len() < 1000);
    Ok(())
}

#[test]
fn standardized_inputs_and_the_noise_of_each_output_come_back() -> TestResult {
    let network = network(&[2, 3, 2], true);
    let layout = network.layout();
    let mean = normals(layout.n_parameters(), &mut Rng::new(0));
    let covariance = dense::diagonal(&layout, &mut Rng::new(1));
    let posterior = Posterior::new(network, Gaussian::new(layout, mean, covariance)?)?;
    let posterior = AnyPosterior::Diagonal(posterior);
    let standardization =
        Standardization { shape: vec![2], mean: vec![0.1, -1.0 / 3.0], std: vec![1e-3, 7.0] };
    let provenance = Provenance {
        noise_variances: Some(vec![0.1, 1.0 / 3.0]),
        standardization: Some(standardization.clone()),
        ..Provenance::default()
    };
    let bytes = posterior.to_bytes(&provenance)?;
    let (again, read) = AnyPosterior::from_bytes(&bytes)?;
    assert_eq!((again.mean(), &read), (posterior.mean(), &provenance));
    let header = String::from_utf8_lossy(&bytes).replace('\\', "");
    assert!(header.contains("\"format\":2"), "{header}");
    // Where inputs are taken as they are, the file is what older versions read.
    let plain = posterior.to_bytes(&Provenance::default())?;
    let header = String::from_utf8_lossy(&plain).replace('\\', "");
    assert!(header.contains("\"format\":1") && !header.contains("noise_variances"), "{header}");
    let refused = |provenance: Provenance| posterior.to_bytes(&provenance).unwrap_err().to_string();
    let with = |mean: &[f64], std: &[f64]| Provenance {
        standardization: Some(Standardization {
            shape: vec![mean.len()],
            mean: mean.to_vec(),
            std: std.to_vec(),
        }),
        ..Provenance::default()
    };
    let error = refused(with(&[0.0; 3], &[1.0; 3]));
    assert!(error.contains("means of inputs"), "{error}");
    let error = refused(with(&[0.0; 2], &[1.0, 0.0]));
    assert!(error.contains("deviation of input 1 must lie in (0, ∞), got 0"), "{error}");
    let of = Provenance { noise_variances: Some(vec![1.0]), ..Provenance::default() };
    assert!(refused(of).contains("noise variances"));
    Ok(())
}

#[test]
fn bad_files_are_refused_with_what_is_wrong() {
    let header = |structure: &str, more: &str| {
        format!(
            r#"{{"format":1,"widths":[2,1],"bias":false,"activation":"relu","structure":"{structure}"{more}}}"#
        )
    };
    let mean: (&str, &[usize], &[f64]) = ("mean", &[2], &[0.0, 0.0]);
    let message = |metadata: &str, tensors: &[(&str, &[usize], &[f64])]| {
        AnyPosterior::from_bytes(&by_hand(metadata, tensors)).unwrap_err().to_string()
    };
    let cases = [
        (header("diagonal", ""), vec![mean], "the tensor `variance` is missing"),
        (header("round", ""), vec![mean], "structure `round`, wanted diagonal"),
        (
            header("diagonal", r#","format":1"#).replace("[2,1]", "[2]"),
            vec![mean],
            "duplicate field",
        ),
        (header("full", "").replace("[2,1]", "[2,0]"), vec![mean], "widths [2, 0]"),
        (header("full", "").replace("relu", "sine"), vec![mean], "activation `sine`"),
        (header("block", ""), vec![mean], "wants `blocks`"),
        (
            header("full", "").replace("\"format\":1", "\"format\":3"),
            vec![mean],
            "format 3, this version reads 1 and 2",
        ),
        (
            header("full", ""),
            vec![("covariance", &[2, 2], &[1.0, 0.5, 0.4, 1.0]), mean],
            "entry (0, 1) equal to (1, 0)",
        ),
        (
            header("full", ""),
            vec![("covariance", &[2, 1], &[1.0, 0.5]), mean],
            "shape [2, 1], wanted [2, 2]",
        ),
        (
            header("diagonal", ""),
            vec![mean, ("variance", &[2], &[1.0, -1.0])],
            "variance of parameter 1 must lie in (0, ∞), got -1",
        ),
        (
            header("diagonal", r#","kept":[[0],[0]]"#),
            vec![mean, ("variance", &[2], &[1.0, 1.0])],
            "ids of kept units: expected [2, 1] of them by the widths, found [1, 1]",
        ),
        (
            header("diagonal", "").replace("[2,1]", "[3,1]"),
            vec![mean, ("variance", &[2], &[1.0, 1.0])],
            "tensor `mean` has shape [2], wanted [3] by the widths",
        ),
    ];
    for (metadata, tensors, part) in cases {
        let text = message(&metadata, &tensors);
        assert!(text.contains(part), "{text} / {part}");
    }
    let plain =
        safetensors::serialize::<String, safetensors::tensor::TensorView, _>(vec![], None).unwrap();
    let text = AnyPosterior::from_bytes(&plain).unwrap_err().to_string();
    assert!(text.contains("lack the key `distill`"), "{text}");
    assert!(AnyPosterior::from_bytes(b"nothing").is_err());
}
