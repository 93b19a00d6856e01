//! Numbers of 16 bits: all of them against candle's, and the bit patterns that textbooks give.

use candle_core::{DType, Device, Tensor};

use crate::onnx::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// The type for candle, from bits, to bits.
type Kind = (DType, fn(u16) -> f32, fn(f32) -> u16);

const KINDS: [Kind; 2] =
    [(DType::F16, f16_to_f32, f32_to_f16), (DType::BF16, bf16_to_f32, f32_to_bf16)];

fn all_by_candle(dtype: DType) -> Vec<f32> {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let all = Tensor::from_raw_buffer(&bytes, dtype, &[1 << 16], &Device::Cpu).unwrap();
    all.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

#[test]
fn all_numbers_are_those_of_candle_and_come_back() {
    for (dtype, to, from) in KINDS {
        for (bits, expected) in (0..=u16::MAX).zip(all_by_candle(dtype)) {
            let found = to(bits);
            if expected.is_nan() {
                assert!(found.is_nan() && to(from(found)).is_nan(), "{bits:04x}");
            } else {
                assert_eq!(found.to_bits(), expected.to_bits(), "{bits:04x}");
                assert_eq!(from(found), bits);
            }
        }
    }
}

#[test]
fn rounding_is_that_of_candle() {
    // Around every number of 16 bits: halfway to the next one, and a bit to both sides of that.
    for (dtype, to, from) in KINDS {
        let numbers = all_by_candle(dtype);
        let halfway =
            numbers.windows(2).map(|pair| ((f64::from(pair[0]) + f64::from(pair[1])) / 2.0) as f32);
        let around = halfway.flat_map(|v| {
            [-1i32, 0, 1].map(|d| f32::from_bits(v.to_bits().wrapping_add_signed(d)))
        });
        let values: Vec<f32> = around.filter(|v| !v.is_nan()).collect();
        let n = values.len();
        let rounded =
            Tensor::from_vec(values.clone(), n, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let rounded: Vec<f32> = rounded.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
        for (value, expected) in values.into_iter().zip(rounded) {
            assert_eq!(to(from(value)).to_bits(), expected.to_bits(), "{dtype:?} {value:e}");
        }
    }
}

#[test]
fn known_bit_patterns() {
    let cases = [
        (1.0, 0x3c00),
        (-2.0, 0xc000),
        (65504.0, 0x7bff),
        (65519.996, 0x7bff),
        (65520.0, 0x7c00),
        (f32::INFINITY, 0x7c00),
        (f32::NEG_INFINITY, 0xfc00),
        (-0.0, 0x8000),
        // The least normal and subnormal numbers, and half of the latter: a tie, to the even 0.
        (6.103_515_6e-5, 0x0400),
        (5.960_464_5e-8, 0x0001),
        (2.980_232_2e-8, 0x0000),
        (2.980_232_6e-8, 0x0001),
        (8.940_697e-8, 0x0002),
        // 1 + 2⁻¹¹ lies between 1 and the next number; 1 + 3 · 2⁻¹¹ between odd and even.
        (1.000_488_3, 0x3c00),
        (1.001_464_8, 0x3c02),
    ];
    for (value, bits) in cases {
        assert_eq!(f32_to_f16(value), bits, "{value:e}");
    }
    for (value, bits) in
        [(1.0, 0x3f80), (1.003_906_3, 0x3f80), (1.011_718_8, 0x3f82), (f32::MAX, 0x7f80)]
    {
        assert_eq!(f32_to_bf16(value), bits, "{value:e}");
    }
    assert!(f16_to_f32(f32_to_f16(f32::from_bits(0x7f80_0001))).is_nan());
    assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
}
