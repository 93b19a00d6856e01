//! A bidirectional LSTM over rows of token numbers, forward and backward through time.

mod batch;
mod direction;
mod gates;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use self::batch::Batch;
use self::direction::{Course, Extents};
use super::{Real, is_fused, numbers, on_cpu};

/// Final states of an LSTM that reads each sequence from its first token, and of one that reads it from its last;
/// (m, 2h), those of the first in columns 0, …, h − 1.
///
/// (i, f, g, o) = U (e_w, h_{t−1}, 1),  c_t = σ(f) c_{t−1} + σ(i) tanh(g),  h_t = σ(o) tanh(c_t),  c₀ = h₀ = 0
///
/// with e_w row w of `embedding`, (n_words, d), for the token w of step t. `words` are token numbers, (m, L), u32,
/// with 0 = padding behind the last token alone; a row of zeros is an empty sequence, whose states stay 0.
/// `first` and `last` are the U of the two directions, (4h, d + h + 1): the rows of the gates one after another in
/// PyTorch's order i, f, g, o, the bias as the last column. Row 0 of `embedding` is never read.
///
/// On the CPU a step computes only the rows that are still running, so that padding costs nothing, and batches need
/// not be made of sequences of like length.
///
/// Source: Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000).
pub fn bi_lstm(
    words: &Tensor,
    embedding: &Tensor,
    first: &Tensor,
    last: &Tensor,
) -> Result<Tensor> {
    let batch = Batch::new(words, embedding.dims2()?.0)?;
    let (d, (n_rows, n_cols)) = (embedding.dims2()?.1, first.dims2()?);
    let h = n_rows / 4;
    if d == 0 || h == 0 || n_rows % 4 != 0 || n_cols != d + h + 1 {
        bail!("an LSTM of {d} inputs wanted weights (4h, d + h + 1), found ({n_rows}, {n_cols})");
    }
    if last.dims() != first.dims() {
        bail!(
            "directions of an LSTM wanted weights of {:?}, found {:?}",
            first.dims(),
            last.dims()
        );
    }
    if is_fused(&[embedding, first, last]) {
        let op = BiLstm { batch, kept: OnceLock::new() };
        return embedding.contiguous()?.apply_op3(first, last, op);
    }
    composed(words, embedding, first, last)
}

/// Every row takes every step; behind its last token its states stay as they are.
fn composed(words: &Tensor, embedding: &Tensor, first: &Tensor, last: &Tensor) -> Result<Tensor> {
    let ((m, n_steps), d, h) = (words.dims2()?, embedding.dim(1)?, first.dim(0)? / 4);
    let words = words.to_device(embedding.device())?;
    let is_token = words.ne(0u32)?.to_dtype(embedding.dtype())?; // (m, L)
    let x = embedding.index_select(&words.flatten_all()?, 0)?.reshape((m, n_steps, d))?;
    let sigmoid = |z: Tensor| ((z / 2.0)?.tanh()? + 1.0)? / 2.0;
    let read = |u: &Tensor, steps: &mut dyn Iterator<Item = usize>| -> Result<Tensor> {
        let zeros = Tensor::zeros((m, h), embedding.dtype(), embedding.device())?;
        let (one, mut state, mut cell) = ((&zeros.narrow(1, 0, 1)? + 1.0)?, zeros.clone(), zeros);
        for t in steps {
            let input = Tensor::cat(&[&x.narrow(1, t, 1)?.squeeze(1)?, &state, &one], 1)?;
            let z = input.matmul(&u.t()?)?.chunk(4, 1)?; // 4 × (m, h)
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| z[gate].clone());
            let next = ((sigmoid(f)? * &cell)? + (sigmoid(i)? * g.tanh()?)?)?;
            let keep = is_token.narrow(1, t, 1)?; // (m, 1)
            cell = (&cell + (&next - &cell)?.broadcast_mul(&keep)?)?;
            let next = (sigmoid(o)? * next.tanh()?)?;
            state = (&state + (&next - &state)?.broadcast_mul(&keep)?)?;
        }
        Ok(state)
    };
    Tensor::cat(&[read(first, &mut (0..n_steps))?, read(last, &mut (0..n_steps).rev())?], 1)
}

struct BiLstm {
    batch: Batch,
    /// What the forward pass leaves for the backward one.
    kept: OnceLock<Kept>,
}

enum Kept {
    F32([Course<f32>; 2]),
    F64([Course<f64>; 2]),
}

/// Numbers of an LSTM's type, and their place in [`Kept`].
trait Number: Real {
    fn keep(courses: [Course<Self>; 2]) -> Kept;
    fn kept(kept: &Kept) -> Option<&[Course<Self>; 2]>;
}

impl Number for f32 {
    fn keep(courses: [Course<Self>; 2]) -> Kept {
        Kept::F32(courses)
    }

    fn kept(kept: &Kept) -> Option<&[Course<Self>; 2]> {
        match kept {
            Kept::F32(courses) => Some(courses),
            Kept::F64(_) => None,
        }
    }
}

impl Number for f64 {
    fn keep(courses: [Course<Self>; 2]) -> Kept {
        Kept::F64(courses)
    }

    fn kept(kept: &Kept) -> Option<&[Course<Self>; 2]> {
        match kept {
            Kept::F64(courses) => Some(courses),
            Kept::F32(_) => None,
        }
    }
}

impl BiLstm {
    fn forward<T: Number>(&self, embedding: &[T], u: [&[T]; 2], e: Extents) -> Result<Vec<T>> {
        let [first, last] = self.batch.orders();
        let mut states = vec![T::zero(); self.batch.n_rows() * 2 * e.h];
        let courses = [
            Course::run(&self.batch, (embedding, first), u[0], e, (&mut states, 0))?,
            Course::run(&self.batch, (embedding, last), u[1], e, (&mut states, e.h))?,
        ];
        // An operation runs once.
        let _ = self.kept.set(T::keep(courses));
        Ok(states)
    }

    fn backward<T: Number>(
        &self,
        (embedding, first, last): (&Tensor, &Tensor, &Tensor),
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let Some(courses) = self.kept.get().and_then(T::kept) else {
            bail!("an LSTM was asked for a gradient before its value");
        };
        let ((n_words, d), h) = (embedding.dims2()?, first.dim(0)? / 4);
        let e = Extents { d, h };
        let gradient = gradient.contiguous()?;
        let (gs, gl) = gradient.storage_and_layout();
        let gradient = numbers::<T>(on_cpu(&gs)?, gl)?;
        let mut table = vec![T::zero(); if embedding.track_op() { n_words * d } else { 0 }];
        let mut weights = [None, None];
        for (at, u) in [first, last].into_iter().enumerate() {
            let (us, ul) = u.storage_and_layout();
            let u_numbers = numbers::<T>(on_cpu(&us)?, ul)?;
            let course = &courses[at];
            let dz = course.sum_gradient(&self.batch, u_numbers, e, (gradient, at * h))?;
            if u.track_op() {
                let du = course.weight_gradient(&dz, e)?;
                weights[at] = Some(Tensor::from_vec(du, u.shape(), u.device())?);
            }
            if embedding.track_op() {
                let words = self.batch.orders()[at];
                course.add_embedding_gradient(&dz, u_numbers, e, words, &mut table)?;
            }
        }
        let table = if embedding.track_op() {
            Some(Tensor::from_vec(table, (n_words, d), embedding.device())?)
        } else {
            None
        };
        let [first, last] = weights;
        Ok([table, first, last])
    }
}

impl CustomOp3 for BiLstm {
    fn name(&self) -> &'static str {
        "bi_lstm"
    }

    fn cpu_fwd(
        &self,
        embedding: &CpuStorage,
        embedding_layout: &Layout,
        first: &CpuStorage,
        first_layout: &Layout,
        last: &CpuStorage,
        last_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, d) = embedding_layout.shape().dims2()?;
        let e = Extents { d, h: first_layout.shape().dims2()?.0 / 4 };
        let states = match embedding {
            CpuStorage::F32(_) => CpuStorage::F32(self.forward::<f32>(
                numbers(embedding, embedding_layout)?,
                [numbers(first, first_layout)?, numbers(last, last_layout)?],
                e,
            )?),
            _ => CpuStorage::F64(self.forward::<f64>(
                numbers(embedding, embedding_layout)?,
                [numbers(first, first_layout)?, numbers(last, last_layout)?],
                e,
            )?),
        };
        Ok((states, (self.batch.n_rows(), 2 * e.h).into()))
    }

    fn bwd(
        &self,
        embedding: &Tensor,
        first: &Tensor,
        last: &Tensor,
        _states: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let inputs = (embedding, first, last);
        let [table, first, last] = match embedding.dtype() {
            DType::F32 => self.backward::<f32>(inputs, gradient)?,
            _ => self.backward::<f64>(inputs, gradient)?,
        };
        Ok((table, first, last))
    }
}
