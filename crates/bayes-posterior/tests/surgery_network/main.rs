//! Laws of surgery of whole networks, each against something independent.

#[path = "../../../models/tests/common/branching.rs"]
mod branching;
#[path = "../../../models/tests/common/growing.rs"]
mod growing;

mod allocation;
mod blocks;
mod curvatures;
mod limits;
mod masks;
mod naive;
mod nats;
mod one_logit;
mod orders;
mod posterior;
mod refusals;
mod repairs;
mod units;
