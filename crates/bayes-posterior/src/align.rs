//! The plan that turns a teacher's structure into a student's.

use models::Mlp;

use crate::checks;
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::matching::UnitMatching;

/// Edits from the structure of `teacher` to that of `student`: units go from the output side down, then the layers of
/// `drop_layers`, from the output side down as well, with the identity as their pairing.
///
/// `rank` gives the units of a layer of the *teacher*, those to go first in front (every unit once). Where units of
/// neighboring layers go, their common weight is integrated out if the layer nearer the output goes first, and
/// fixed otherwise: this order fixes least.
///
/// A dropped layer is first cut to the width of the layer below it. A student that is wider somewhere, or deeper,
/// is refused.
///
/// ```
/// use bayes_posterior::{Edit, align};
/// use core_tensors::kernels::Activation;
/// use models::Mlp;
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = |widths: &[usize]| Mlp {
///     widths: widths.to_vec(),
///     activation: Activation::Relu,
///     bias: true,
/// };
/// let (teacher, student) = (network(&[4, 6, 3, 2]), network(&[4, 3, 2]));
/// // Layer 2 is dropped, so layer 1 is cut to its width first; here its last units go.
/// let last_first = |layer| bayes_posterior::Result::Ok((0..[4, 6, 3, 2][layer]).rev().collect());
/// let plan = align(&teacher, &student, &[2], last_first)?;
/// assert_eq!(plan[0], Edit::RemoveUnits { layer: 1, units: vec![5, 4, 3] });
/// # Ok(())
/// # }
/// ```
pub fn align<E: From<Error>>(
    teacher: &Mlp,
    student: &Mlp,
    drop_layers: &[usize],
    mut rank: impl FnMut(usize) -> std::result::Result<Vec<usize>, E>,
) -> std::result::Result<Vec<Edit>, E> {
    checks::network(teacher)?;
    checks::network(student)?;
    let targets = targets(teacher, student, drop_layers)?;
    let mut plan = Vec::new();
    for layer in (1..teacher.widths.len() - 1).rev() {
        let (n, target) = (teacher.widths[layer], targets[layer]);
        if target < n {
            let order = rank(layer)?;
            checks::permutation("units of a layer", &order, n)?;
            plan.push(Edit::RemoveUnits { layer, units: order[..n - target].to_vec() });
        }
    }
    let mut dropped = drop_layers.to_vec();
    dropped.sort_unstable();
    let remove = |&layer: &usize| Edit::RemoveLayer { layer, matching: UnitMatching::Identity };
    plan.extend(dropped.iter().rev().map(remove));
    Ok(plan)
}

/// What each width of the teacher shrinks to before layers are dropped.
fn targets(teacher: &Mlp, student: &Mlp, drop_layers: &[usize]) -> Result<Vec<usize>> {
    let edit = || format!("aligning {:?} to {:?}", teacher.widths, student.widths);
    let refuse = |reason: String| Err(Error::Refused { edit: edit(), reason });
    if teacher.activation != student.activation || teacher.bias != student.bias {
        return refuse("activation and biases must be the same in both networks".into());
    }
    let depth = teacher.widths.len() - 1;
    if let Some(layer) = drop_layers
        .iter()
        .enumerate()
        .find_map(|(i, layer)| drop_layers[..i].contains(layer).then_some(layer))
    {
        return refuse(format!("layer {layer} is named twice"));
    }
    let mut targets = Vec::with_capacity(depth + 1);
    let mut of_student = student.widths.iter();
    for layer in 0..=depth {
        if !drop_layers.contains(&layer) {
            targets.extend(of_student.next());
        } else if let (1.., Some(&below)) = (layer, targets.last()) {
            targets.push(below);
        }
    }
    let is_whole = targets.len() == depth + 1 && of_student.next().is_none();
    let are_hidden = drop_layers.iter().all(|&t| t >= 1 && t < depth);
    if !is_whole || !are_hidden {
        let drop = (depth + 1).checked_sub(student.widths.len());
        return refuse(match drop {
            None => "the student is deeper than the teacher".into(),
            Some(0) => "no layer may be dropped, the depths are equal".into(),
            Some(n) => {
                format!("name {n} of the hidden layers 1 to {} to drop, each once", depth - 1)
            }
        });
    }
    for (layer, (&n, &target)) in teacher.widths.iter().zip(&targets).enumerate() {
        if target > n {
            return refuse(format!("layer {layer} would need {target} units of the teacher's {n}"));
        }
        if (layer == 0 || layer == depth) && target != n {
            let side = if layer == 0 { "inputs" } else { "outputs" };
            return refuse(format!("the {side} must be the same {n} in both networks"));
        }
    }
    Ok(targets)
}
