//! Files that lie, are damaged, or hold numbers that are none: an error that says what is wrong, never more.

mod dense;

use std::error::Error;

use bayes_posterior::{
    AnyPosterior, Damping, Edit, EditOptions, Gaussian, LowRankForm, Posterior, Provenance,
    PruningCriterion, Removal, Task, UnitMatching,
};
use core_tensors::Rng;
use dense::{TestResult, network, normals};
use models::Architecture;
use models::graph::change::Standardization;

/// A safetensors file of a header without metadata's quotes escaped, and numbers.
fn file(metadata: &str, tensors: &[(&str, &str, &[f64])]) -> Vec<u8> {
    let (mut start, mut data, mut entries) = (0, Vec::new(), String::new());
    for (name, shape, values) in tensors {
        let end = start + 8 * values.len();
        entries += &format!(
            r#","{name}":{{"dtype":"F64","shape":{shape},"data_offsets":[{start},{end}]}}"#
        );
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        start = end;
    }
    let quoted = metadata.replace('\\', "\\\\").replace('"', "\\\"");
    with_header(&format!(r#"{{"__metadata__":{{"distill":"{quoted}"}}{entries}}}"#), &data)
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Metadata of a network without biases.
fn metadata(widths: &str, structure: &str, more: &str) -> String {
    format!(
        r#"{{"format":1,"widths":{widths},"bias":false,"activation":"relu","structure":"{structure}"{more}}}"#
    )
}

fn message(bytes: &[u8]) -> String {
    AnyPosterior::from_bytes(bytes).err().map(|e| e.to_string()).unwrap_or_default()
}

const HUGE: [&str; 6] = [
    "1099511627776",
    "1152921504606846976",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
];

#[test]
fn sizes_that_the_file_does_not_bear_out() {
    let mean = ("mean", "[2]", &[0.0, 0.0][..]);
    let of = |what: &str| format!("not a posterior of this program: {what}");
    for kept in ["", r#","kept":null"#] {
        // 520 bytes that declared 2^40 units filled the memory.
        let text = message(&file(&metadata("[1099511627776,1]", "diagonal", kept), &[mean]));
        let wanted = "tensor `mean` has shape [2], wanted [1099511627776] by the widths";
        assert_eq!(text, of(wanted));
    }
    for widths in HUGE.iter().flat_map(|n| {
        [format!("[{n},1]"), format!("[1,{n}]"), format!("[{n},{n}]"), format!("[2,1,{n}]")]
    }) {
        for structure in ["diagonal", "block", "kronecker", "kronecker_eigen", "low_rank", "full"] {
            let text = message(&file(&metadata(&widths, structure, ""), &[mean]));
            assert!(text.contains("widths") || text.contains("metadata"), "{text}");
        }
    }
    let zero: &[f64] = &[];
    let squares = [
        ("full", "covariance", "[2, 2]"),
        ("low_rank", "factor", "[2, 1]"),
        ("low_rank", "precision_factor", "[2, 1]"),
        ("kronecker", "rows.1", "[1, 1]"),
        ("kronecker_eigen", "rows_vectors.1", "[1, 1]"),
        ("block", "block.0", "[2, 2]"),
    ];
    for (structure, name, wanted) in squares {
        for shape in ["[0,1152921504606846976]", "[9223372036854775808,0]", "[0,0]", "[0]", "[]"] {
            let values = if shape == "[]" { &[1.0][..] } else { zero };
            let header = metadata("[2,1]", structure, r#","blocks":"layer""#);
            let mut tensors = vec![
                mean,
                (name, shape, values),
                ("variance", "[2]", &[1.0, 1.0]),
                ("precision_diagonal", "[2]", &[1.0, 1.0]),
            ];
            if structure == "kronecker_eigen" {
                tensors.push(("prior_precision", "[1]", &[1.0]));
                tensors.push(("rows_values.1", "[1]", &[1.0]));
            }
            let text = message(&file(&header, &tensors));
            // A precision without its factor is looked for where that of a covariance is missing.
            let found = shape.replace(',', ", ");
            let shape = format!("tensor `{name}` has shape {found}, wanted ");
            assert!(text.contains(&shape), "{text} / {shape}");
            let rank = wanted.replace("1]", "");
            assert!(text.contains(if structure == "low_rank" { &rank } else { wanted }), "{text}");
        }
    }
    for (structure, more) in [("full", ""), ("diagonal", "")] {
        let header = metadata("[2,1]", structure, more);
        let text = message(&file(&header, &[("mean", "[0,18446744073709551615]", zero)]));
        assert!(text.contains("tensor `mean` has shape [0, 18446744073709551615], wanted [2]"));
    }
    let header = metadata("[2,1]", "block", r#","blocks":"unit""#);
    let one = ("block.0", "[2,2]", &[1.0, 0.0, 0.0, 1.0][..]);
    let text = message(&file(&header, &[mean, one, ("block.1", "[0]", zero)]));
    assert_eq!(text, of("tensor `block.1` is one too many beside 1"));
}

#[test]
fn lists_of_the_metadata_are_bounded_and_make_sense() {
    let (mean, variance) = (("mean", "[2]", &[0.0, 0.0][..]), ("variance", "[2]", &[1.0, 1.0][..]));
    let text = |widths: &str, more: &str| {
        message(&file(&metadata(widths, "diagonal", more), &[mean, variance]))
    };
    assert_eq!(text("[2,1]", ""), "");
    let ones = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    let long = text(&ones(1 << 20), "");
    assert!(long.contains("1048579 entries, wanted at most 4100 beside a `mean` of 2"), "{long}");
    for more in [format!(r#","kept":{}"#, ones(5000)), format!(r#","x":{}"#, ones(5000))] {
        assert!(text("[2,1]", &more).contains("entries, wanted at most 4100"), "{more:.20}");
    }
    // Deep, but with as many numbers as it says.
    let numbers = vec![1.0; 6000];
    let deep = message(&file(
        &metadata(&ones(6001), "diagonal", ""),
        &[("mean", "[6000]", &numbers), ("variance", "[6000]", &numbers)],
    ));
    assert!(deep.contains("wanted 2 to 4097 of them, each at least 1"), "{deep}");
    assert!(deep.len() < 1000, "{}", deep.len());
    for widths in ["[]", "[2]", "[2,0]", "[0,1]"] {
        assert!(text(widths, "").contains("each at least 1"), "{widths}");
    }
    let kept = [
        ("[[0,1]]", "ids of kept units: expected [2, 1] of them by the widths, found [2]"),
        ("[[0,0],[0]]", "ids of kept units of a layer: expected each once, found 0 twice"),
        ("[[0,4294967296],[0]]", "kept unit 4294967296 is out of range: there are 4294967296"),
        ("[[0,18446744073709551615],[0]]", "kept unit 18446744073709551615 is out of range"),
        ("[[0,18446744073709551616],[0]]", "the metadata `distill`: "),
        ("[[0,-1],[0]]", "the metadata `distill`: "),
    ];
    for (kept, part) in kept {
        let text = text("[2,1]", &format!(r#","kept":{kept}"#));
        assert!(text.contains(part), "{text} / {part}");
    }
}

#[test]
fn numbers_of_the_metadata_are_in_range() {
    let (mean, variance) = (("mean", "[2]", &[0.0, 0.0][..]), ("variance", "[2]", &[1.0, 1.0][..]));
    let text = |more: &str| {
        let more = format!(",{more}");
        message(&file(&metadata("[2,1]", "diagonal", &more), &[mean, variance]))
    };
    let cases = [
        (r#""noise_variance":0"#, "`noise_variance` must lie in (0, ∞), got 0"),
        (r#""noise_variance":-1.5"#, "`noise_variance` must lie in (0, ∞), got -1.5"),
        (r#""prior_precision":-0.0"#, "`prior_precision` must lie in (0, ∞), got -0"),
        (r#""prior_precision":1e999"#, "the metadata `distill`: number out of range"),
        (r#""log_likelihood":-1e999"#, "the metadata `distill`: number out of range"),
        (r#""n_objects":0"#, "`n_examples`: expected at least 1, or null, found 0"),
        (r#""damping":{"numerical":{"epsilon":0}}"#, "numerical damping must lie in (0, ∞), got 0"),
        (r#""parent":"../x""#, "`parent`: expected at most 64 hexadecimal digits, or null"),
        (r#""task":"x\ny""#, r"unknown variant `x\ny`"),
    ];
    for (more, part) in cases {
        assert!(text(more).contains(part), "{} / {part}", text(more));
    }
    for slope in ["0", "1", "-0.5", "null"] {
        let header = metadata("[2,1]", "diagonal", &format!(r#","slope":{slope}"#));
        let text = message(&file(&header.replace("relu", "leaky_relu"), &[mean, variance]));
        assert!(text.contains("leaky_relu with slope"), "{text}");
    }
}

#[test]
fn strings_of_a_file_stay_on_one_short_line() {
    let long = "a\\n\\u001b[31m".repeat(100_000);
    let mean = ("mean", "[2]", &[0.0, 0.0][..]);
    let good = metadata("[2,1]", "diagonal", "");
    let files = [
        file(&metadata("[2,1]", &long, ""), &[mean]),
        file(&good.replace("relu", &long), &[mean]),
        file(&good.replace("format", &long), &[mean]),
        file(&metadata("[2,1]", "diagonal", &format!(r#","task":"{long}""#)), &[mean]),
        file(&metadata("[2,1]", "diagonal", &format!(r#","parent":"{long}""#)), &[mean]),
        // An offset that is wrong, of a tensor whose name is told.
        with_header(
            &format!(r#"{{"{long}":{{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}}}"#),
            &[0; 16],
        ),
        with_header(
            &format!(r#"{{"x":{{"dtype":"{long}","shape":[1],"data_offsets":[0,8]}}}}"#),
            &[0; 8],
        ),
    ];
    for bytes in files {
        let text = message(&bytes);
        assert!(!text.is_empty() && text.chars().count() < 400, "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

#[test]
fn headers_that_lie_or_are_longer_than_the_numbers_deserve() {
    for head in [1 << 40, u64::MAX, u64::MAX - 7, 9] {
        let text = message(&head.to_le_bytes());
        assert!(text.contains("header"), "{text}");
    }
    let names: Vec<String> = (0..90_000)
        .map(|i| format!(r#""{i}":{{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let text = message(&with_header(&format!("{{{}}}", names.join(",")), &[]));
    let wanted =
        "bytes of the header of a file: expected at most 4194304 beside 0 bytes of numbers";
    assert!(text.starts_with(wanted), "{text}");
    let header = r#"{"x":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}}"#;
    assert!(message(&with_header(header, &[0; 8])).contains("invalid shape"));
    assert!(message(&with_header(header, &[])).contains("invalid shape"));
}

#[test]
fn a_number_that_is_none_is_named_with_its_place() {
    let mean = ("mean", "[2]", &[0.0, 0.0][..]);
    let text = |structure: &str, tensors: &[(&str, &str, &[f64])]| {
        let header = metadata("[2,1]", structure, r#","blocks":"layer""#);
        message(&file(&header, &[tensors, &[mean]].concat()))
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let bad_mean = file(
        &metadata("[2,1]", "diagonal", ""),
        &[("mean", "[2]", &[0.0, nan]), ("variance", "[2]", &[1.0, 1.0])],
    );
    let of = |what: &str| {
        format!("not a posterior of this program: tensor {what}, wanted a finite number")
    };
    assert_eq!(message(&bad_mean), of("`mean`, entry [1] is NaN"));
    assert_eq!(
        text("diagonal", &[("variance", "[2]", &[inf, 1.0])]),
        of("`variance`, entry [0] is inf")
    );
    // Both triangles, and where ∞ ≤ 1e-9 · ∞.
    for (at, place) in [(1, "[0, 1]"), (2, "[1, 0]"), (0, "[0, 0]"), (3, "[1, 1]")] {
        let mut values = [1.0, 0.0, 0.0, 1.0];
        values[at] = -inf;
        for (structure, name) in [("full", "covariance"), ("block", "block.0")] {
            let found = text(structure, &[(name, "[2,2]", &values)]);
            assert_eq!(found, of(&format!("`{name}`, entry {place} is -inf")));
        }
        let columns = ("columns.1", "[2,2]", &values[..]);
        let found = text("kronecker", &[("rows.1", "[1,1]", &[1.0]), columns]);
        assert_eq!(found, of(&format!("`columns.1`, entry {place} is -inf")));
    }
    let factor = ("factor", "[2,1]", &[0.0, nan][..]);
    let found = text("low_rank", &[factor, ("variance", "[2]", &[1.0, 1.0])]);
    assert_eq!(found, of("`factor`, entry [1, 0] is NaN"));
    // Finite, but no covariance.
    let found = text("full", &[("covariance", "[2,2]", &[1.0, 0.0, 0.0, -1.0])]);
    assert!(
        found.contains(
            "tensor `covariance`: entry (1, 1) of a covariance must lie in (0, ∞), got -1"
        ),
        "{found}"
    );
}

/// One posterior of each structure; the network has a square layer.
fn all(rng: &mut Rng) -> Result<Vec<AnyPosterior>, Box<dyn Error>> {
    let teacher = network(&[2, 3, 3, 1], true);
    let layout = teacher.layout();
    let mean = normals(layout.n_parameters(), rng);
    macro_rules! posterior {
        ($covariance:expr) => {
            Posterior::new(
                teacher.clone(),
                Gaussian::new(layout.clone(), mean.clone(), $covariance)?,
            )?
        };
    }
    Ok(vec![
        AnyPosterior::Diagonal(posterior!(dense::diagonal(&layout, rng))),
        AnyPosterior::BlockDiagonal(posterior!(dense::by_layer(&layout, rng))),
        AnyPosterior::BlockDiagonal(posterior!(dense::by_unit(&layout, rng))),
        AnyPosterior::Kronecker(posterior!(dense::kronecker(&layout, rng))),
        AnyPosterior::KroneckerEigen(posterior!(dense::kronecker_eigen(&layout, rng))),
        AnyPosterior::LowRank(posterior!(dense::low_rank(LowRankForm::Covariance, &layout, rng))),
        AnyPosterior::LowRank(posterior!(dense::low_rank(LowRankForm::Precision, &layout, rng))),
        AnyPosterior::Full(posterior!(dense::full(&layout, rng))),
    ])
}

/// A number of the header replaced by another.
fn edited(header: &str, rng: &mut Rng) -> String {
    let is_start = |&(i, c): &(usize, char)| {
        c.is_ascii_digit() && !header[..i].ends_with(|b: char| b.is_ascii_digit() || b == '.')
    };
    let starts: Vec<usize> = header.char_indices().filter(is_start).map(|(i, _)| i).collect();
    let start = starts[rng.below(starts.len())];
    let length = header[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(1);
    let new = ["0", "1", "2", "3", "-3", "1e308", "1e-320", "\\n", "null", "[]"];
    let choice = rng.below(new.len() + HUGE.len());
    let new = new.get(choice).or_else(|| HUGE.get(choice - new.len())).unwrap_or(&"0");
    format!("{}{new}{}", &header[..start], &header[start + length..])
}

/// A file after one thing happened to it.
fn damaged(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default()) as usize;
    let mut new = bytes.to_vec();
    match rng.below(8) {
        0 => new.truncate(rng.below(bytes.len())),
        1 => new[rng.below(bytes.len())] ^= 1 << rng.below(8),
        2 => new[8 + rng.below(head - 8)] ^= 1 << rng.below(8),
        3 | 4 => {
            let header = String::from_utf8_lossy(&bytes[8..head]).into_owned();
            new = with_header(&edited(&header, rng), &bytes[head..]);
        }
        _ => {
            let numbers = [
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                5e-324,
                1e-310,
                1e-300,
                -1e-300,
                1e308,
                -1e308,
                1e200,
                1e160,
                -1.0,
                0.0,
                -0.0,
                1e16,
                1e-16,
            ];
            for _ in 0..=rng.below(3) {
                let at = head + 8 * rng.below((bytes.len() - head) / 8);
                let value = numbers[rng.below(numbers.len())];
                new[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
    new
}

/// What is written can be read, and is the same.
fn comes_back(posterior: &AnyPosterior, provenance: &Provenance) -> TestResult {
    let bytes = posterior.to_bytes(provenance)?;
    let (again, read) = AnyPosterior::from_bytes(&bytes)?;
    assert_eq!(read, *provenance);
    assert!(again.to_bytes(provenance)? == bytes);
    Ok(())
}

#[test]
fn damage_is_an_error_or_finite_all_the_way() -> TestResult {
    let mut rng = Rng::new(26);
    let provenance = Provenance {
        task: Some(Task::Regression),
        noise_variance: Some(0.25),
        prior_precision: Some(2.0),
        n_examples: Some(30),
        log_likelihood: Some(-12.5),
        parent: Some("0a".into()),
        ..Provenance::default()
    };
    let plans = [
        vec![Edit::RemoveUnits { layer: 1, units: vec![1] }],
        vec![Edit::RemoveUnits { layer: 2, units: vec![0, 2] }],
        vec![Edit::RemoveLayer { layer: 2, matching: UnitMatching::Density }],
    ];
    let (mut n_read, mut n_edited, mut n_scored) = (0, 0, 0);
    for (of, good) in all(&mut rng)?.into_iter().enumerate() {
        // Every other file takes raw inputs and has a variance for each output.
        let widths = &good.network().widths;
        let standardization = Standardization {
            shape: vec![widths[0]],
            mean: (0..widths[0]).map(|i| i as f64).collect(),
            std: vec![0.5; widths[0]],
        };
        let provenance = Provenance {
            standardization: (of % 2 == 0).then_some(standardization),
            noise_variances: (of % 2 == 0).then(|| vec![0.25; widths[widths.len() - 1]]),
            ..provenance.clone()
        };
        let bytes = good.to_bytes(&provenance)?;
        for i in 0..400 {
            let new = damaged(&bytes, &mut rng);
            let Ok((posterior, provenance)) = AnyPosterior::from_bytes(&new) else { continue };
            n_read += 1;
            comes_back(&posterior, &provenance)?;
            let removal = if i % 2 == 0 { Removal::Marginal } else { Removal::ConditionAll };
            let options = EditOptions { removal, ..EditOptions::strict() };
            let damping = if i % 3 == 0 { Damping::Prior } else { Damping::numerical() };
            if let Ok((student, fixed)) =
                posterior.clone().transform(&plans[i % plans.len()], &options, damping)
            {
                n_edited += 1;
                assert!(fixed.iter().all(|weights| weights.density.log_density().is_finite()));
                comes_back(&student, &provenance.of_student("ff".into(), Some(damping)))?;
            }
            for order in PruningCriterion::ALL {
                if let Ok(ranked) = posterior.rank(order, 1, None, &mut Rng::new(0)) {
                    n_scored += 1;
                    assert!(ranked.iter().all(|r| r.score.is_finite()));
                }
            }
        }
    }
    // Enough of the damage is none that the rest of the way is walked.
    assert!(n_read > 500 && n_edited > 300 && n_scored > 2000, "{n_read} {n_edited} {n_scored}");
    Ok(())
}
