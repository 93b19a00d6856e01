//! Laws of the bidirectional LSTM.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{bi_lstm, composed};
use crate::Rng;

const CPU: Device = Device::Cpu;

/// Token numbers below `n_words` in rows of random length, the first of them empty.
fn words(m: usize, longest: usize, n_words: usize, rng: &mut Rng) -> Tensor {
    let row = |i: usize| {
        let length = if i == 0 { 0 } else { rng.below(longest + 1) };
        let token = |t: usize| if t < length { 1 + rng.below(n_words - 1) as u32 } else { 0 };
        (0..longest).map(token).collect::<Vec<u32>>()
    };
    let rows: Vec<u32> = (0..m).flat_map(row).collect();
    Tensor::from_vec(rows, (m, longest), &CPU).unwrap()
}

fn draw(shape: (usize, usize), rng: &mut Rng, dtype: DType) -> Tensor {
    let values: Vec<f64> = (0..shape.0 * shape.1).map(|_| 0.5 * rng.normal()).collect();
    Tensor::from_vec(values, shape, &CPU).unwrap().to_dtype(dtype).unwrap()
}

/// The table and both directions as variables: d = 5 inputs, h = 3 units.
fn blocks(n_words: usize, rng: &mut Rng, dtype: DType) -> [Tensor; 3] {
    let shapes = [(n_words, 5), (12, 9), (12, 9)];
    shapes.map(|shape| Var::from_tensor(&draw(shape, rng, dtype)).unwrap().into_inner())
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    flat(a).iter().zip(flat(b)).fold(0.0, |gap, (a, b)| gap.max((a - b).abs()))
}

/// Σ weights · states, whose gradient tells every state from the others.
fn probe(states: &Tensor) -> Result<Tensor> {
    let weights = draw(states.dims2()?, &mut Rng::new(77), states.dtype());
    (states * weights)?.sum_all()
}

#[test]
fn the_fused_lstm_equals_the_composed_one_with_its_gradients() {
    // f32: gradients of about 10 terms a step through at most 9 steps.
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-13)] {
        for (seed, (m, longest)) in [(17, 9), (1, 1), (1, 6), (5, 1), (40, 4)].iter().enumerate() {
            let mut rng = Rng::new(seed as u64);
            let words = words(*m, *longest, 8, &mut rng);
            let [e, a, b] = blocks(8, &mut rng, dtype);
            let fused = bi_lstm(&words, &e, &a, &b).unwrap();
            let plain = composed(&words, &e, &a, &b).unwrap();
            assert!(distance(&fused, &plain) < tolerance, "{dtype:?} {m} {longest}");
            let [x, y] = [&fused, &plain].map(|s| probe(s).unwrap().backward().unwrap());
            for of in [&e, &a, &b] {
                let gap = distance(x.get(of).unwrap(), y.get(of).unwrap());
                assert!(gap < tolerance, "{dtype:?} {m} {longest}: {gap}");
            }
        }
    }
}

#[test]
fn gradients_equal_differences() {
    const STEP: f64 = 1e-5;
    let mut rng = Rng::new(3);
    let words = words(6, 5, 7, &mut rng);
    let blocks = blocks(7, &mut rng, DType::F64);
    let loss = |b: &[Tensor; 3]| probe(&bi_lstm(&words, &b[0], &b[1], &b[2])?);
    let gradients = loss(&blocks).unwrap().backward().unwrap();
    for (at, block) in blocks.iter().enumerate() {
        let (values, found) = (flat(block), flat(gradients.get(block).unwrap()));
        for index in 0..values.len() {
            let moved = |by: f64| {
                let (mut values, mut blocks) = (values.clone(), blocks.clone());
                values[index] += by;
                blocks[at] = Tensor::from_vec(values, block.shape(), &CPU).unwrap();
                loss(&blocks).unwrap().to_scalar::<f64>().unwrap()
            };
            let wanted = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            // Error of the difference: STEP² of a third derivative of order 1, and 1e-16 / STEP of rounding.
            assert!((found[index] - wanted).abs() < 1e-9, "block {at}, {index}: {}", found[index]);
        }
    }
}

#[test]
fn more_padding_changes_nothing() {
    let mut rng = Rng::new(4);
    let words = words(9, 6, 8, &mut rng);
    let [e, a, b] = blocks(8, &mut rng, DType::F32);
    let padded = Tensor::cat(&[&words, &words.zeros_like().unwrap()], 1).unwrap();
    let [x, y] = [&words, &padded].map(|w| bi_lstm(w, &e, &a, &b).unwrap());
    assert_eq!(flat(&x), flat(&y));
    let [dx, dy] = [x, y].map(|s| probe(&s).unwrap().backward().unwrap());
    for of in [&e, &a, &b] {
        assert_eq!(flat(dx.get(of).unwrap()), flat(dy.get(of).unwrap()));
    }
    assert_eq!(flat(&dx.get(&e).unwrap().get(0).unwrap()), [0.0; 5], "padding got a gradient");
}

#[test]
fn the_order_of_rows_changes_nothing() {
    let mut rng = Rng::new(5);
    let words = words(11, 6, 8, &mut rng);
    let [e, a, b] = blocks(8, &mut rng, DType::F32);
    let order: Vec<u32> = rng.permutation(11).into_iter().map(|i| i as u32).collect();
    let order = Tensor::from_vec(order, 11, &CPU).unwrap();
    let turned = bi_lstm(&words.index_select(&order, 0).unwrap(), &e, &a, &b).unwrap();
    let wanted = bi_lstm(&words, &e, &a, &b).unwrap().index_select(&order, 0).unwrap();
    // f32 sums of 9 terms, which the product may take in another order.
    assert!(distance(&turned, &wanted) < 1e-6);
}

#[test]
fn a_row_alone_and_in_a_batch_is_the_same_and_an_empty_one_is_zero() {
    let mut rng = Rng::new(6);
    let words = words(7, 5, 8, &mut rng);
    let [e, a, b] = blocks(8, &mut rng, DType::F32);
    let states = bi_lstm(&words, &e, &a, &b).unwrap();
    assert_eq!(flat(&states.get(0).unwrap()), [0.0; 6]);
    for i in 0..7 {
        let alone = bi_lstm(&words.narrow(0, i, 1).unwrap(), &e, &a, &b).unwrap();
        assert!(distance(&alone, &states.narrow(0, i, 1).unwrap()) < 1e-6, "row {i}");
    }
    for shape in [(0, 5), (3, 0)] {
        let nothing = Tensor::zeros(shape, DType::U32, &CPU).unwrap();
        assert_eq!(bi_lstm(&nothing, &e, &a, &b).unwrap().dims(), [shape.0, 6]);
    }
}

#[test]
fn blocks_that_are_data_get_no_gradient() {
    let mut rng = Rng::new(7);
    let words = words(4, 3, 8, &mut rng);
    let [e, a, b] = blocks(8, &mut rng, DType::F32);
    let states = bi_lstm(&words, &e.detach(), &a, &b.detach()).unwrap();
    let gradients = probe(&states).unwrap().backward().unwrap();
    assert!(gradients.get(&a).is_some() && gradients.get(&e).is_none());
    assert!(gradients.get(&b).is_none());
}

#[test]
fn wrong_shapes_are_refused() {
    let mut rng = Rng::new(8);
    let words = words(4, 3, 8, &mut rng);
    let [e, a, b] = blocks(8, &mut rng, DType::F32);
    let message = |a: &Tensor, b: &Tensor| bi_lstm(&words, &e, a, b).unwrap_err().to_string();
    let narrow = a.narrow(1, 0, 8).unwrap();
    let told = message(&narrow, &b);
    assert!(told.contains("5 inputs wanted weights (4h, d + h + 1), found (12, 8)"), "{told}");
    let told = message(&a, &narrow);
    assert!(told.contains("wanted weights of [12, 9], found [12, 8]"), "{told}");
}

// The wanted numbers, with PyTorch 2 in f64:
//
// fill = lambda i, rows, cols: torch.sin(1.7 * torch.arange(rows * cols) + i).reshape(rows, cols)
// h, d, n = 2, 3, 5
// e, a, b = fill(0, n, d), fill(1, 4*h, d+h+1), fill(2, 4*h, d+h+1)
// lstm = nn.LSTM(d, h, bidirectional=True, batch_first=True)
// with torch.no_grad():
//     for u, end in ((a, ""), (b, "_reverse")):
//         getattr(lstm, "weight_ih_l0" + end).copy_(u[:, :d])
//         getattr(lstm, "weight_hh_l0" + end).copy_(u[:, d:d+h])
//         getattr(lstm, "bias_ih_l0" + end).copy_(u[:, -1])
//         getattr(lstm, "bias_hh_l0" + end).zero_()
// words = torch.tensor([[3, 1, 0, 0], [1, 2, 3, 4], [4, 0, 0, 0]]); e.requires_grad_()
// packed = nn.utils.rnn.pack_padded_sequence(e[words], (words > 0).sum(1), batch_first=True, enforce_sorted=False)
// _, (last, _) = lstm(packed); states = torch.cat([last[0], last[1]], 1)
// (torch.cos(torch.arange(12.)).reshape(3, 4) * states).sum().backward()
// g = lambda name: getattr(lstm, name).grad
// for end in ("", "_reverse"):
//     du = torch.cat([g("weight_ih_l0"+end), g("weight_hh_l0"+end), g("bias_ih_l0"+end)[:, None]], 1)
//     print((du * fill(9, 4*h, d+h+1)).sum())
// print(states, e.grad)
#[test]
fn states_and_gradients_are_those_of_pytorch() {
    let fill = |i: f64, shape: (usize, usize)| {
        let values: Vec<f64> = (0..shape.0 * shape.1).map(|k| (1.7 * k as f64 + i).sin()).collect();
        Var::from_vec(values, shape, &CPU).unwrap().into_inner()
    };
    let [e, a, b] = [(0.0, (5, 3)), (1.0, (8, 6)), (2.0, (8, 6))].map(|(i, shape)| fill(i, shape));
    let words = Tensor::new(&[[3u32, 1, 0, 0], [1, 2, 3, 4], [4, 0, 0, 0]], &CPU).unwrap();
    let states = bi_lstm(&words, &e, &a, &b).unwrap();
    let weights: Vec<f64> = (0..12).map(|k| f64::from(k).cos()).collect();
    let weights = Tensor::from_vec(weights, (3, 4), &CPU).unwrap();
    let gradients = (&states * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let close = |found: &Tensor, wanted: &[f64]| {
        let found = flat(found);
        assert_eq!(found.len(), wanted.len());
        // Twelve printed digits.
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-11), "{found:?}");
    };
    let wanted = [
        0.155348231338,
        -0.228602336890,
        0.052018646712,
        -0.127586140535,
        -0.228620799566,
        -0.059141450896,
        0.027998700640,
        -0.624920826313,
        -0.319207220695,
        0.048855269311,
        -0.366826160554,
        -0.030834873556,
    ];
    close(&states, &wanted);
    let wanted = [
        0.0,
        0.0,
        0.0,
        0.144836077119,
        0.103705336809,
        -0.171559800473,
        0.040338894309,
        -0.040114189255,
        -0.030001909452,
        0.068889156986,
        0.195031749984,
        -0.119146691383,
        0.261234282697,
        0.115694135675,
        -0.291047387505,
    ];
    close(gradients.get(&e).unwrap(), &wanted);
    for (u, wanted) in [(&a, -0.171761770781), (&b, -0.227889501161)] {
        let weighed = (gradients.get(u).unwrap() * fill(9.0, (8, 6))).unwrap();
        close(&weighed.sum_all().unwrap(), &[wanted]);
    }
}
