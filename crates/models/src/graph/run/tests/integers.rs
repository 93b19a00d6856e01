//! Whole numbers and truth values, and operands that no operator takes.

use candle_core::{DType, Device, Tensor};

use super::{floats, result, results};
use crate::graph::{Binary, Dimension, Kind, Op, PadMode, Reduction, SliceRange, Unary};

fn whole(values: &[i64]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn of(op: &Op, operands: &[Tensor]) -> Vec<i64> {
    let y = result(op, operands);
    assert!(matches!(y.dtype(), DType::I64 | DType::U8), "{op:?}: {:?}", y.dtype());
    y.to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn arithmetic_of_whole_numbers_wraps_and_divides_towards_zero() {
    let (a, b) = (whole(&[7, -7, 7, i64::MAX]), whole(&[2, 2, -2, 1]));
    let binary = |of_: Binary| of(&Op::Binary(of_), &[a.clone(), b.clone()]);
    assert_eq!(binary(Binary::Add), [9, -5, 5, i64::MIN]);
    assert_eq!(binary(Binary::Sub), [5, -9, 9, i64::MAX - 1]);
    assert_eq!(binary(Binary::Mul), [14, -14, -14, i64::MAX]);
    assert_eq!(binary(Binary::Div), [3, -3, -3, i64::MAX]);
    assert_eq!(binary(Binary::Mod), [1, 1, -1, 0]);
    assert_eq!(binary(Binary::Pow), [49, 49, 0, i64::MAX]);
    assert_eq!(binary(Binary::Min), [2, -7, -2, 1]);
    assert_eq!(binary(Binary::Max), [7, 2, 7, i64::MAX]);
    assert_eq!(binary(Binary::Equal), [0, 0, 0, 0]);
    assert_eq!(binary(Binary::Greater), [1, 0, 1, 1]);
    assert_eq!(binary(Binary::GreaterOrEqual), [1, 0, 1, 1]);
    assert_eq!(binary(Binary::Less), [0, 1, 0, 0]);
    assert_eq!(binary(Binary::LessOrEqual), [0, 1, 0, 0]);
    let zero = results(&Op::Binary(Binary::Div), &[a.clone(), whole(&[0])]).unwrap_err();
    assert_eq!(zero.to_string(), "divisor: expected a number other than 0, found 0");
    let least = whole(&[i64::MIN]);
    assert_eq!(of(&Op::Binary(Binary::Div), &[least.clone(), whole(&[-1])]), [i64::MIN]);
    for (unary, wanted) in [
        (Unary::Neg, vec![-7, 7, -7, -i64::MAX]),
        (Unary::Abs, vec![7, 7, 7, i64::MAX]),
        (Unary::Sign, vec![1, -1, 1, 1]),
        (Unary::Relu, vec![7, 0, 7, i64::MAX]),
        (Unary::Clip { min: Some(-1.5), max: Some(5.5) }, vec![5, -1, 5, 5]),
        (Unary::Not, vec![0, 0, 0, 0]),
    ] {
        assert_eq!(of(&Op::Unary(unary), std::slice::from_ref(&a)), wanted, "{unary:?}");
    }
    assert_eq!(of(&Op::Unary(Unary::Neg), &[least]), [i64::MIN]);
}

#[test]
fn truth_values_by_their_tables() {
    let [a, b] = [[0u8, 0, 1, 1], [0, 1, 0, 1]].map(|v| Tensor::new(&v, &Device::Cpu).unwrap());
    let binary = |of_: Binary| of(&Op::Binary(of_), &[a.clone(), b.clone()]);
    assert_eq!(binary(Binary::And), [0, 0, 0, 1]);
    assert_eq!(binary(Binary::Or), [0, 1, 1, 1]);
    assert_eq!(binary(Binary::Xor), [0, 1, 1, 0]);
    assert_eq!(binary(Binary::Equal), [1, 0, 0, 1]);
    assert_eq!(of(&Op::Unary(Unary::Not), std::slice::from_ref(&a)), [1, 1, 0, 0]);
    assert_eq!(of(&Op::Where, &[a, whole(&[5]), whole(&[1, 2, 3, 4])]), [1, 2, 5, 5]);
}

#[test]
fn kinds_change_as_in_onnx() {
    let x = Tensor::new(&[-1.9, -0.5, 0.0, 0.5, 2.9], &Device::Cpu).unwrap();
    let cast = |to| Op::Cast { to };
    assert_eq!(of(&cast(Kind::Int), std::slice::from_ref(&x)), [-1, 0, 0, 0, 2]);
    assert_eq!(of(&cast(Kind::Bool), &[x]), [1, 1, 0, 1, 1]);
    assert_eq!(of(&cast(Kind::Bool), &[whole(&[0, 256, -1])]), [0, 1, 1]);
    assert_eq!(floats(&result(&cast(Kind::Float), &[whole(&[3])])), [3.0]);
    let truth = Tensor::new(&[0u8, 1], &Device::Cpu).unwrap();
    assert_eq!(of(&cast(Kind::Int), &[truth]), [0, 1]);
}

#[test]
fn tables_and_ranges() {
    let table = Op::LabelEncoder {
        keys: vec![1.0, 2.5, 1.0],
        values: vec![10.0, 20.0, 30.0],
        default: -1.0,
        kind: Kind::Int,
    };
    let x = Tensor::new(&[2.5, 1.0, 7.0, f64::NAN], &Device::Cpu).unwrap();
    assert_eq!(of(&table, &[x]), [20, 10, -1, -1]);
    let scalar = |v: i64| Tensor::new(v, &Device::Cpu).unwrap();
    let range = |a, b, c| results(&Op::Range, &[scalar(a), scalar(b), scalar(c)]);
    let list = |a, b, c| range(a, b, c).unwrap()[0].to_vec1::<i64>().unwrap();
    assert_eq!(list(0, 5, 2), [0, 2, 4]);
    assert_eq!(list(0, 4, 2), [0, 2]);
    assert_eq!(list(5, 0, -2), [5, 3, 1]);
    assert!(list(0, 5, -1).is_empty());
    assert!(range(0, 1, 0).is_err());
    assert!(range(i64::MIN, i64::MAX, 1).is_err());
    let float = |v: f64| Tensor::new(v, &Device::Cpu).unwrap();
    let y = result(&Op::Range, &[float(1.0), float(2.0), float(0.25)]);
    assert_eq!(floats(&y), [1.0, 1.25, 1.5, 1.75]);
}

#[test]
fn whole_numbers_reduce_pad_and_move() {
    let x = whole(&[4, -2, 3, 1]).reshape((2, 2)).unwrap();
    let reduce = |reduction| {
        of(&Op::Reduce { reduction, axes: vec![1], keep: false }, std::slice::from_ref(&x))
    };
    assert_eq!(reduce(Reduction::Sum), [2, 4]);
    assert_eq!(reduce(Reduction::Prod), [-8, 3]);
    assert_eq!(reduce(Reduction::Max), [4, 3]);
    assert_eq!(reduce(Reduction::Min), [-2, 1]);
    assert_eq!(reduce(Reduction::Mean), [1, 2]);
    assert_eq!(reduce(Reduction::L1), [6, 4]);
    assert_eq!(reduce(Reduction::SumSquare), [20, 10]);
    let pad = Op::Pad { mode: PadMode::Constant(7.0), pads: vec![(0, 0), (1, 0)] };
    assert_eq!(of(&pad, std::slice::from_ref(&x)), [7, 4, -2, 7, 3, 1]);
    let shape = Op::Shape { start: 0, end: 2 };
    assert_eq!(of(&shape, std::slice::from_ref(&x)), [2, 2]);
    let op = Op::Gather { axis: 0 };
    assert_eq!(of(&op, &[x.clone(), whole(&[-1])]), [3, 1]);
    let outside = results(&op, &[x.clone(), whole(&[0, 2])]).unwrap_err().to_string();
    assert_eq!(outside, "index: expected at least -2 and below 2, found 2");
    let negative = results(&op, &[x.clone(), whole(&[-3])]).unwrap_err().to_string();
    assert_eq!(negative, "index: expected at least -2 and below 2, found -3");
    let back =
        SliceRange { axis: 0, start: Dimension::known(1), step: -1, len: Dimension::known(2) };
    assert_eq!(of(&Op::Slice { ranges: vec![back] }, &[x]), [3, 1, 4, -2]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = Tensor::new(&[1.0, 2.0], &Device::Cpu).unwrap();
    let message = |op: &Op, operands: &[Tensor]| results(op, operands).unwrap_err().to_string();
    let add = Op::Binary(Binary::Add);
    assert_eq!(message(&add, std::slice::from_ref(&x)), "expected 2 operands, found 1");
    assert_eq!(
        message(&add, &[x.clone(), whole(&[1])]),
        "operand 1 (from 0) holds Int numbers, expected Float"
    );
    let other = Tensor::new(&[1.0, 2.0, 3.0], &Device::Cpu).unwrap();
    assert_eq!(
        message(&add, &[x.clone(), other]),
        "extents must be equal or 1: found shapes [2] and [3]"
    );
    let exp = Op::Unary(Unary::Exp);
    assert_eq!(
        message(&exp, &[whole(&[1])]),
        "operand 0 (from 0) holds Int numbers, expected Float"
    );
    let huge = |n: i64| vec![Dimension::known(n), Dimension::known(n)];
    let too_large = "a size of it is beyond what a computer holds";
    for n in [1 << 20, i64::MAX, -1] {
        let fill = Op::Fill { shape: huge(n), value: 0.0, kind: Kind::Float };
        assert_eq!(message(&fill, &[]), too_large);
        let tile = Op::Tile { repeats: vec![Dimension::known(n << 13)] };
        assert_eq!(message(&tile, std::slice::from_ref(&x)), too_large);
        let pad = Op::Pad { mode: PadMode::Constant(0.0), pads: vec![(n << 13, 0)] };
        if n > 0 {
            assert!(results(&pad, std::slice::from_ref(&x)).is_err());
        }
    }
    let reflect = Op::Pad { mode: PadMode::Reflect, pads: vec![(2, 0)] };
    assert!(message(&reflect, &[x]).contains("at least 3 entries on axis 0"));
}
