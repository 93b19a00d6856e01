//! Training with one or several networks, put together from the lower crates and told to a [`Monitor`].

mod ablations;
pub(crate) mod after_surgery;
mod bayesian;
mod course;
mod examination;
mod examples;
#[cfg(test)]
pub(crate) mod fixtures;
mod linear;
mod monitor;
pub(crate) mod quality;
mod several;
pub(crate) mod shrink;
mod tuning;

pub use ablations::{Ablation, entropies, smoothed_labels};
pub use after_surgery::{
    BayesianCourse, BayesianStudent, Checkpoints, Distilled, NoCheckpoints, NonFinite, Setting,
    SettingGrid, StudentCourse, Taught, Trial, distill_after_surgery, distill_from_scratch,
    epochs_of_equal_work, infer_after_surgery, noise_variances, validation_loss,
};
pub use bayesian::{
    BayesCourse, BayesEnd, BayesStart, VariationalCourse, VariationalEnd, VariationalStart, area,
};
pub use course::{Course, joined, train, train_on, train_segments, train_through};
pub use examination::{Examination, Record, apart, last};
pub use examples::{CHUNK, at_most, chunk, labels, logits, some_rows, with_teacher};
pub use linear::{LinearStudents, linear_student, linear_student_stacked};
pub use monitor::{Interrupted, Monitor, Unwatched};
pub use quality::{
    Calibration, Outputs, TestPart, class_logits, fit_check, fit_reasons, paired_quality,
    quality_alone, r_squared_losses, right, thumbnail,
};
pub use several::{
    AdversarialCourse, ChoosePartner, Imitation, ImitationCourse, MutualCourse, Shown, Strength,
    mean_of_members, pairs, shown, train_adversarially, train_chain, train_imitating,
    train_mutually, train_translator, with_member_logits,
};
pub use tuning::{
    Chosen, Grid, MetaCourse, MetaDescent, cross_validate, hypergradient,
    train_with_hyperparameters, with_choice,
};
