//! Surgery of trained networks: the algebra of removing units from the linear maps that read them.
//!
//! A *consumer* is a linear map z = W \[h; 1\] of hidden activations h: a dense layer, a convolution over unfolded patches,
//! the projection of a transformer's feed-forward block. With A = E\[\[h; 1\]\[h; 1\]ᵀ\] over examples and positions, and G the
//! second moment of the gradient of −log p by z, the posterior of W is Gaussian with precision N G ⊗ (A + ε). A unit owns
//! some columns J of W: one of a dense layer, k² of a convolution. Conditioning on W_J = 0 gives
//!
//! Σ = (A + ε)⁻¹
//!
//! W ← W − W_J (Σ_JJ)⁻¹ Σ_J·
//!
//! cost = ½ N tr(W_Jᵀ G W_J (Σ_JJ)⁻¹)
//!
//! Σ ← Σ − Σ_·J (Σ_JJ)⁻¹ Σ_J·
//!
//! and the cost, in nats over N examples, is the exact increase of the quadratic −log p. What happens to W does not depend
//! on G: it is the least-squares reconstruction of z from the columns that stay, so it needs neither labels nor gradients.
//! The column of ones is not damped, so the mean of what goes moves into the bias.
//!
//! - [`Moments`] gathers A, and the cross moments with targets, from batches of any size.
//! - [`Removal`] holds Σ and W of all consumers of the same units, the cost of each unit, and removes units one by one.
//! - [`greedy`] removes the cheapest unit again and again; [`scores`] and [`order_by`] are what users know otherwise.
//! - [`exchange`] then takes one unit back for another wherever that loses less.
//! - [`repair`] fits a consumer anew to what it gave before something upstream changed.
//!
//! # Related work
//! Optimal Brain Surgeon (Hassibi & Stork 1993) removes single weights by the same formula under a whole Hessian. Channel
//! pruning by reconstruction (He et al. 2017) solves the least squares of a given choice. Optimal Brain Compression and
//! SparseGPT (Frantar & Alistarh 2022, 2023) share one Hessian among the rows of W, and ZipLM (2023) removes structures of
//! it; LLM Surgeon (van der Ouderaa et al. 2024) has the Kronecker curvature G ⊗ A. SliceGPT (2024) rotates activations
//! before it cuts them, Wanda (2023) scores by ‖W_j‖ √A_jj alone, DepGraph (Fang et al. 2023; Torch-Pruning) finds what
//! must go together, Structurally Prune Anything (2024) does so on ONNX graphs with an OBS score.
//!
//! ```
//! use bayes_posterior::faer::Mat;
//! use bayes_posterior::surgery::{Bias, ColumnDamping, Consumer, Greedy, Moments, Removal, greedy};
//! # fn main() -> bayes_posterior::Result<()> {
//! // Unit 1 is twice unit 0, so it can go without a trace.
//! let mut moments = Moments::new(2);
//! moments.add_rows(&[0.0, 0.0, 1.0, 2.0, 3.0, 6.0])?;
//! let moments = moments.finish()?;
//! let weights = Mat::from_fn(1, 3, |_, j| [1.0, 1.0, 0.5][j]);
//! let consumer = Consumer {
//!     moments: &moments,
//!     weights: weights.as_ref(),
//!     units: vec![vec![0], vec![1]],
//!     output: None,
//!     bias: Bias::LastColumn,
//! };
//! let removal = Removal::new(&[consumer], ColumnDamping::relative(1e-6))?;
//! let path = greedy(removal, &Greedy { widths: vec![1], n_examples: 3.0, dependencies: true })?;
//! assert_eq!(path.steps[0].cost, 0.0);
//! let left = &path.snapshots[0].consumers[0];
//! assert!((left.weights[(0, 0)].abs() - 1.5).abs() < 1e-9 || (left.weights[(0, 0)] - 3.0).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```

mod algebra;
mod dependencies;
mod exchange;
mod moments;
pub mod network;
mod order;
mod patches;
mod removal;
mod repair;
mod side;

pub use exchange::{Exchange, Exchanged, exchange};
pub use moments::{Moments, SecondMoments, TargetMoments};
pub use order::{
    Compensation, Greedy, Path, Score, Snapshot, Step, compensate, follow, greedy, order_by, scores,
};
pub use removal::{Bias, ColumnDamping, Consumer, ConsumerWeights, Removal};
pub use repair::{
    DampingChoice, HeldOut, Repair, Repaired, choose_damping, reconstruction_error, repair,
};
