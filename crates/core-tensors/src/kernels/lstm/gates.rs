//! What an LSTM does to its sums, element by element.

use crate::kernels::{Real, vectorized};

/// One step of one row. The sums of its gates, i, f, g, o one after another, become the gates; then
/// c ← f c + i g,  h ← o tanh c,  and tanh c is kept.
pub(super) fn step<T: Real>(z: &mut [T], c: &mut [T], tanh_c: &mut [T], state: &mut [T]) {
    let h = state.len();
    let (i, rest) = z.split_at_mut(h);
    let (f, rest) = rest.split_at_mut(h);
    let (g, o) = rest.split_at_mut(h);
    let (o, c, tanh_c) = (&mut o[..h], &mut c[..h], &mut tanh_c[..h]);
    vectorized(
        #[inline(always)]
        || {
            for j in 0..h {
                (i[j], f[j], g[j], o[j]) =
                    (i[j].sigmoid(), f[j].sigmoid(), g[j].tanh(), o[j].sigmoid());
                c[j] = f[j] * c[j] + i[j] * g[j];
                tanh_c[j] = c[j].tanh();
                state[j] = o[j] * tanh_c[j];
            }
        },
    );
}

/// The gradient of one step of one row with respect to its sums, into `dz`.
///
/// `gates` are those of the step, `before` is c_{t−1}, `tanh_c` that of c_t, `dh` the gradient by h_t; `dc` is that by
/// c_t from later steps and becomes that by c_{t−1}.
pub(super) fn step_back<T: Real>(
    gates: &[T],
    before: &[T],
    tanh_c: &[T],
    dh: &[T],
    dc: &mut [T],
    dz: &mut [T],
) {
    let h = dh.len();
    let (i, f, g, o) = (&gates[..h], &gates[h..2 * h], &gates[2 * h..3 * h], &gates[3 * h..4 * h]);
    let (di, rest) = dz.split_at_mut(h);
    let (df, rest) = rest.split_at_mut(h);
    let (dg, d_o) = rest.split_at_mut(h);
    let (d_o, before, tanh_c, dc) = (&mut d_o[..h], &before[..h], &tanh_c[..h], &mut dc[..h]);
    let one = T::one();
    vectorized(
        #[inline(always)]
        || {
            for j in 0..h {
                let cell = dc[j] + dh[j] * o[j] * (one - tanh_c[j] * tanh_c[j]);
                di[j] = cell * g[j] * i[j] * (one - i[j]);
                df[j] = cell * before[j] * f[j] * (one - f[j]);
                dg[j] = cell * i[j] * (one - g[j] * g[j]);
                d_o[j] = dh[j] * tanh_c[j] * o[j] * (one - o[j]);
                dc[j] = cell * f[j];
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn gates_in_single_precision_keep_their_digits() {
        // A few roundings of 2⁻²⁴ around that of eˣ − 1.
        const TOLERANCE: f64 = 2e-6;
        let mut rng = Rng::new(0);
        for scale in [1e-4, 1.0, 20.0] {
            for _ in 0..3000 {
                let x = (scale * rng.normal()) as f32;
                let wanted = [Real::sigmoid(f64::from(x)), f64::from(x).tanh()];
                for (found, wanted) in [Real::sigmoid(x), Real::tanh(x)].into_iter().zip(wanted) {
                    assert!((f64::from(found) / wanted - 1.0).abs() < TOLERANCE, "{x}");
                }
            }
        }
    }

    #[test]
    fn far_sums_saturate_and_nan_stays() {
        for x in [1e6f32, f32::INFINITY] {
            assert_eq!((Real::sigmoid(x), Real::tanh(x), Real::tanh(-x)), (1.0, 1.0, -1.0));
            assert!((0.0..1e-37).contains(&Real::sigmoid(-x)));
        }
        assert!(Real::sigmoid(f32::NAN).is_nan() && Real::tanh(f32::NAN).is_nan());
    }
}
