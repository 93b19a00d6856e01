//! Any list of edits of any structure equals the same list on the dense matrix: blocks of unequal shapes, every order,
//! every scale.

mod dense;

use bayes_posterior::{Full, Gaussian, LowRankForm, Structure};
use core_tensors::{Block, Layout, Rng, Slice};
use dense::{Dense, Matrix, TestResult, distance, normals, to_dense, vector_distance};
use faer::Mat;

/// Relative error of a handful of edits in f64 on matrices of condition below 1e4.
const TOLERANCE: f64 = 1e-8;

/// A Gaussian whose numbers know where they stand: block (as it was first), row, column.
struct Naive {
    dense: Dense,
    places: Vec<(usize, usize, usize)>,
}

/// What stands where in a layout.
fn places(layout: &Layout) -> Vec<(usize, usize, usize)> {
    let of = |(b, block): (usize, &Block)| {
        let cols = block.cols;
        (0..block.rows).flat_map(move |i| (0..cols).map(move |j| (b, i, j)))
    };
    layout.blocks.iter().enumerate().flat_map(of).collect()
}

fn is_inside(slice: &Slice, (b, i, j): (usize, usize, usize)) -> bool {
    match slice {
        Slice::Rows { block, rows } => *block == b && rows.contains(&i),
        Slice::Cols { block, cols } => *block == b && cols.contains(&j),
        Slice::Block { block } => *block == b,
    }
}

impl Naive {
    /// Positions of a slice of the present layout.
    fn at(&self, layout: &Layout, slice: &Slice) -> Vec<usize> {
        let places = places(layout);
        (0..places.len()).filter(|&p| is_inside(slice, places[p])).collect()
    }

    fn edit(&mut self, fixed: &[usize], values: &[f64], dropped: &[usize]) {
        let (mean, covariance) = self.dense.condition(fixed, values, dropped);
        let gone = |p: &usize| fixed.contains(p) || dropped.contains(p);
        let kept: Vec<usize> = (0..self.places.len()).filter(|p| !gone(p)).collect();
        self.places = kept.iter().map(|&p| self.places[p]).collect();
        self.dense = Dense { mean, covariance, ..self.dense.clone() };
    }

    fn permute(&mut self, layout: &Layout, block: usize, order: &[usize]) {
        let places = places(layout);
        let from = |&(b, i, j): &(usize, usize, usize)| {
            let j = if b == block { order.get(j).copied().unwrap_or(j) } else { j };
            places.iter().position(|place| *place == (b, i, j)).unwrap_or(usize::MAX)
        };
        let from: Vec<usize> = places.iter().map(from).collect();
        let pick = |row: &Vec<f64>| from.iter().map(|&j| row[j]).collect();
        let covariance = from.iter().map(|&i| pick(&self.dense.covariance[i])).collect();
        let mean = from.iter().map(|&i| self.dense.mean[i]).collect();
        self.places = from.iter().map(|&p| self.places[p]).collect();
        self.dense = Dense { mean, covariance, ..self.dense.clone() };
    }

    /// rᵀ Ψ_dd⁻¹ r and log |Ψ_dd|.
    fn density(&self, at: &[usize], values: &[f64]) -> [f64; 2] {
        let psi = &self.dense.covariance;
        let part: Matrix = at.iter().map(|&i| at.iter().map(|&j| psi[i][j]).collect()).collect();
        let precision = dense::inverse(&part);
        let r: Vec<f64> = at.iter().zip(values).map(|(&i, v)| v - self.dense.mean[i]).collect();
        let pairs = (0..r.len()).flat_map(|i| (0..r.len()).map(move |j| (i, j)));
        [pairs.map(|(i, j)| r[i] * precision[i][j] * r[j]).sum(), dense::log_det(&part)]
    }
}

fn random_slice(layout: &Layout, rng: &mut Rng) -> Slice {
    let below = |n: usize, rng: &mut Rng| (rng.uniform() * n as f64) as usize;
    let block = below(layout.blocks.len(), rng);
    let some = |n: usize, rng: &mut Rng| {
        let mut all = rng.permutation(n);
        all.truncate(1 + below(n, rng));
        all
    };
    match below(5, rng) {
        0 | 1 => Slice::Rows { block, rows: some(layout.blocks[block].rows, rng) },
        2 | 3 => Slice::Cols { block, cols: some(layout.blocks[block].cols, rng) },
        _ => Slice::Block { block },
    }
}

/// Random edits until little is left; each compared with the dense twin. `scale` is that of the standard deviations.
fn law<S: Structure>(
    layout: &Layout,
    covariance: &S,
    scale: f64,
    rng: &mut Rng,
    n_both: &mut usize,
) -> TestResult {
    let sized = |n: usize, rng: &mut Rng| -> Vec<f64> {
        normals(n, rng).into_iter().map(|x| scale * x).collect()
    };
    let mean = sized(layout.n_parameters(), rng);
    let mut naive = Naive {
        dense: Dense {
            widths: vec![],
            bias: false,
            mean: mean.clone(),
            covariance: to_dense(covariance),
        },
        places: places(layout),
    };
    let mut ours = Gaussian::new(layout.clone(), mean, covariance.clone())?;
    let mut told = Vec::new();
    for _ in 0..12 {
        let layout = ours.layout().clone();
        let (slice, other) = (random_slice(&layout, rng), random_slice(&layout, rng));
        if layout.split(&slice).is_err() {
            continue;
        }
        let at = naive.at(&layout, &slice);
        let values = sized(at.len(), rng);
        let what = (rng.uniform() * 4.0) as usize;
        told.push(format!("{what}: {slice:?} {other:?}"));
        let context = format!("{} at {scale:e} after {told:?}", S::NAME);
        match what {
            0 | 1 => {
                let [quadratic, log_det] = naive.density(&at, &values);
                let both = what == 1 && ours.condition_and_drop(&slice, &values, &other).is_ok();
                let (left, density) = if both {
                    *n_both += 1;
                    let dropped = naive.at(&layout, &other);
                    naive.edit(&at, &values, &dropped);
                    ours.condition_and_drop(&slice, &values, &other)?
                } else {
                    naive.edit(&at, &values, &[]);
                    ours.condition(&slice, &values)?
                };
                ours = left;
                assert!((density.quadratic - quadratic).abs() < TOLERANCE * quadratic, "{context}");
                assert!((density.log_det - log_det).abs() < TOLERANCE * (1.0 + log_det.abs()));
                assert_eq!(density.n, at.len());
            }
            2 => {
                naive.edit(&[], &[], &at);
                ours = ours.marginalize(&slice)?;
            }
            _ => {
                let block = slice.block();
                let order = rng.permutation(layout.blocks[block].cols);
                naive.permute(&layout, block, &order);
                ours = ours.permute_columns(block, &order)?;
            }
        }
        let p = ours.layout().n_parameters();
        assert_eq!(p, naive.places.len(), "{context}");
        assert!(vector_distance(&naive.dense.mean, ours.mean()) < TOLERANCE, "{context}");
        let gap = distance(&naive.dense.covariance, &to_dense(ours.covariance()));
        assert!(gap < TOLERANCE, "{gap:e}: {context}");
    }
    Ok(())
}

/// Ψ times scale².
fn scaled(matrix: &Mat<f64>, scale: f64) -> Mat<f64> {
    matrix * faer::Scale(scale * scale)
}

#[test]
fn any_edit_list_equals_the_dense_one() -> TestResult {
    let mut n_both = 0;
    let n = &mut n_both;
    let shapes = [[(2, 3), (3, 2), (1, 4)], [(1, 1), (4, 1), (2, 2)], [(3, 1), (1, 3), (2, 4)]];
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let r = &mut rng;
        for shape in shapes {
            let blocks = shape.iter().map(|&(rows, cols)| Block { rows, cols }).collect();
            let layout = Layout { blocks };
            let l = &layout;
            for scale in [1e-12, 1e-6, 1.0, 1e6, 1e12] {
                let full = dense::random_covariance(l.n_parameters(), r);
                law(l, &Full::new(scaled(&full, scale))?, scale, r, n)?;
                let own = dense::diagonal(l, r);
                let v = own.variance().iter().map(|v| v * scale * scale).collect();
                law(l, &bayes_posterior::Diagonal::new(v)?, scale, r, n)?;
                for group in [bayes_posterior::Group::Layer, bayes_posterior::Group::Unit] {
                    let sizes: Vec<usize> = match group {
                        bayes_posterior::Group::Layer => {
                            l.blocks.iter().map(Block::n_parameters).collect()
                        }
                        bayes_posterior::Group::Unit => {
                            l.blocks.iter().flat_map(|b| vec![b.cols; b.rows]).collect()
                        }
                    };
                    let blocks = sizes.iter().map(|&n| dense::random_covariance(n, r));
                    let blocks = blocks.map(|m| scaled(&m, scale)).collect();
                    law(l, &bayes_posterior::BlockDiagonal::new(group, blocks)?, scale, r, n)?;
                }
                let layers = l.blocks.iter().map(|b| {
                    let rows = scaled(&dense::random_covariance(b.rows, r), scale);
                    bayes_posterior::Factors::new(rows, dense::random_covariance(b.cols, r))
                });
                let layers = layers.collect::<Result<_, _>>()?;
                law(l, &bayes_posterior::Kronecker::new(layers), scale, r, n)?;
                for form in [LowRankForm::Covariance, LowRankForm::Precision] {
                    let own = dense::low_rank(form, l, r);
                    // A precision is as small as the covariance is large.
                    let by = if form == LowRankForm::Covariance { scale } else { 1.0 / scale };
                    let factor = own.factor() * faer::Scale(by);
                    let diagonal = own.own_diagonal().iter().map(|d| d * by * by).collect();
                    law(l, &bayes_posterior::LowRank::new(form, factor, diagonal)?, scale, r, n)?;
                }
            }
        }
    }
    // Fixing and dropping in one pass took part.
    assert!(n_both > 1000, "{n_both}");
    Ok(())
}

#[test]
fn a_dropped_block_before_the_pinned_one_by_hand() -> TestResult {
    // Means 10, 20, 30 and variances 1, 4, 9: fixing the second at 22 costs (2/2)² and leaves the third alone.
    fn law<S: Structure>(layout: &Layout, covariance: S, cols: usize) -> TestResult {
        let mean: Vec<f64> = layout
            .blocks
            .iter()
            .zip([10.0, 20.0, 30.0])
            .flat_map(|(b, m)| vec![m; b.cols])
            .collect();
        let gaussian = Gaussian::new(layout.clone(), mean, covariance)?;
        let (fixed, dropped) = (Slice::Block { block: 1 }, Slice::Block { block: 0 });
        let (left, density) = gaussian.condition_and_drop(&fixed, &vec![22.0; cols], &dropped)?;
        assert!(
            (density.quadratic - cols as f64).abs() < 1e-12,
            "{}: {}",
            S::NAME,
            density.quadratic
        );
        assert!((density.log_det - cols as f64 * 4f64.ln()).abs() < 1e-12, "{}", S::NAME);
        assert_eq!(left.layout().blocks, layout.blocks[2..]);
        assert!(left.mean().iter().all(|m| (m - 30.0).abs() < 1e-12), "{}", S::NAME);
        let variance = left.covariance().diagonal()?;
        assert!(variance.iter().all(|v| (v - 9.0).abs() < 1e-12), "{}", S::NAME);
        if cols > 1 {
            // One column of the second block.
            let slice = Slice::Cols { block: 1, cols: vec![1] };
            let (left, density) =
                gaussian.condition_and_drop(&slice, &[20.0 + 8f64.sqrt()], &dropped)?;
            assert!((density.quadratic - 2.0).abs() < 1e-12, "{}", S::NAME);
            assert_eq!(left.layout().n_parameters(), 4);
        }
        Ok(())
    }
    for cols in [[1, 1, 1], [1, 2, 3]] {
        let layout = Layout { blocks: cols.iter().map(|&cols| Block { rows: 1, cols }).collect() };
        let variance: Vec<f64> =
            cols.iter().zip([1.0, 4.0, 9.0]).flat_map(|(&n, v)| vec![v; n]).collect();
        let p = variance.len();
        let matrix =
            |v: &[f64]| Mat::from_fn(v.len(), v.len(), |i, j| if i == j { v[i] } else { 0.0 });
        let blocks = || cols.iter().zip([1.0, 4.0, 9.0]).map(|(&n, v)| matrix(&vec![v; n]));
        let l = &layout;
        law(l, bayes_posterior::Diagonal::new(variance.clone())?, cols[1])?;
        law(l, Full::new(matrix(&variance))?, cols[1])?;
        let group = bayes_posterior::Group::Layer;
        law(l, bayes_posterior::BlockDiagonal::new(group, blocks().collect())?, cols[1])?;
        let layers = blocks().map(|m| bayes_posterior::Factors::new(Mat::identity(1, 1), m));
        let layers = layers.collect::<Result<_, _>>()?;
        law(l, bayes_posterior::Kronecker::new(layers), cols[1])?;
        let none = Mat::zeros(p, 1);
        law(
            l,
            bayes_posterior::LowRank::new(LowRankForm::Covariance, none.clone(), variance.clone())?,
            cols[1],
        )?;
        let precision = variance.iter().map(|v| 1.0 / v).collect();
        law(l, bayes_posterior::LowRank::new(LowRankForm::Precision, none, precision)?, cols[1])?;
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_of_one_kind_from_every_structure() -> TestResult {
    fn law<S: Structure>(layout: &Layout, s: &S, other: &S) -> TestResult {
        let p = layout.n_parameters();
        let slice = Slice::Cols { block: 1, cols: vec![0] };
        let wrong = Layout { blocks: vec![Block { rows: 1, cols: 1 }] };
        for n in [0, p - 1, p + 1] {
            let x = vec![1.0; n];
            let text = s.apply(&x).unwrap_err().to_string();
            assert_eq!(
                text,
                format!("numbers of a vector: expected {p}, found {n}"),
                "{}",
                S::NAME
            );
            assert_eq!(s.solve(&x).unwrap_err().to_string(), text);
            assert_eq!(s.precision_quadratic(&x).unwrap_err().to_string(), text);
            let text = s.marginal_density(layout, &slice, &x).unwrap_err().to_string();
            let wanted = layout.blocks[1].rows;
            assert_eq!(text, format!("values of a slice: expected {wanted}, found {n}"));
            assert_eq!(s.condition(layout, &slice, &x).err().map(|e| e.to_string()), Some(text));
            let block = Slice::Block { block: 0 };
            assert!(s.condition_and_drop(layout, &slice, &x, &block).is_err());
        }
        let residual = vec![0.0; layout.blocks[1].rows];
        assert!(s.condition_and_drop(layout, &slice, &residual, &slice).is_err());
        assert!(s.marginalize(layout, &Slice::Block { block: 9 }).is_err());
        assert!(s.marginalize(&wrong, &slice).is_err() && s.column_covariance(&wrong, 0).is_err());
        assert!(s.column_covariance(layout, 2).is_err());
        assert!(s.permute_columns(layout, 2, &[0]).is_err());
        assert!(s.permute_columns(layout, 0, &[1, 1]).is_err());
        assert!(s.permute_columns(layout, 0, &[0, 7]).is_err());
        assert!(s.trace_ratio(other).is_err(), "{}", S::NAME);
        Ok(())
    }
    let mut rng = Rng::new(0);
    let r = &mut rng;
    let blocks = |shape: [(usize, usize); 2]| Layout {
        blocks: shape.iter().map(|&(rows, cols)| Block { rows, cols }).collect(),
    };
    // As many parameters in other blocks, where a structure knows of blocks.
    let (l, other, longer) =
        (blocks([(2, 3), (3, 2)]), blocks([(3, 2), (3, 2)]), blocks([(2, 3), (3, 3)]));
    law(&l, &dense::diagonal(&l, r), &dense::diagonal(&longer, r))?;
    law(&l, &dense::full(&l, r), &dense::full(&longer, r))?;
    law(&l, &dense::by_layer(&l, r), &dense::by_layer(&longer, r))?;
    law(&l, &dense::by_unit(&l, r), &dense::by_unit(&other, r))?;
    law(&l, &dense::kronecker(&l, r), &dense::kronecker(&other, r))?;
    for form in [LowRankForm::Covariance, LowRankForm::Precision] {
        law(&l, &dense::low_rank(form, &l, r), &dense::low_rank(form, &longer, r))?;
    }
    Ok(())
}
