//! Training with several networks, or with more than logits of one.

mod adversarial;
mod chain;
mod ensemble;
mod imitation;
mod mutual;
mod translator;

pub use adversarial::{AdversarialCourse, Shown, shown, train_adversarially};
pub use chain::train_chain;
pub use ensemble::{mean_of_members, with_member_logits};
pub use imitation::{Imitation, ImitationCourse, Strength, train_imitating};
pub use mutual::{MutualCourse, train_mutually};
pub use translator::{ChoosePartner, pairs, train_translator};
