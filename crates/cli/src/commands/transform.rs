//! `distill transform`: units and layers go, and the posterior follows.

mod edits;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bayes_posterior::{
    AnyPosterior, Damping, Edit, EditOptions, FixedWeights, Provenance, Removal, UnitMatching,
    log_evidence_change,
};
use models::Mlp;

use self::edits::Edits;
use super::{UsageError, positive};
use crate::files::{Input, check_out, say};
use crate::files::{cells, decimal, setting, text_table};
use crate::model_file::{PosteriorFile, carried_by, check_proper, n_parameters, n_products, write};

/// Remove units and layers from a network together with its Gaussian posterior.
///
/// Removing a unit pins its outgoing weights at 0, which makes the smaller network equal to the pinned one, and
/// integrates its incoming weights out. Removing a layer pins its weights at the identity. What is left is the exact
/// conditional Gaussian of the smaller network: a prior for a student, or a pruned teacher.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  Units 3, 0 and 7 of the first hidden layer go:
    distill transform --posterior teacher.safetensors --remove-units 1:3,0,7 --out student.safetensors
  Layer 1 shrinks from 100 units to the 50 of layer 2, then layer 2 goes:
    distill transform --posterior teacher.safetensors --remove-units 1:50-99 --remove-layer 2 --out student.safetensors

Edits happen in the order given, and each counts layers and units of the network that the one before left.
`distill rank` says which units to take. A density is that of the numbers an edit pins, under the posterior that
the edit met: before = at their mean, after = at the values they are pinned at; cost = before - after, in nats.")]
pub(super) struct Arguments {
    /// The posterior, a file made by `distill posterior` or by this command.
    #[arg(long, value_name = "FILE")]
    posterior: PathBuf,
    #[command(flatten)]
    edits: Edits,
    /// Which unit of the layer below a unit of a removed layer stands for: the one in the same place, or the one that
    /// the posterior finds densest.
    #[arg(long, value_enum, alias = "pairing", default_value = "identity")]
    matching: UnitMatchingName,
    /// Incoming weights of a removed unit: marginal integrates them out, as nothing depends on them any more;
    /// condition-all pins them and the bias at 0 too, the formula of paper 001 to the letter.
    #[arg(long, value_enum, alias = "reading", default_value = "marginal")]
    removal: RemovalName,
    /// How the remaining weights of a Kronecker posterior are adjusted: numerical uses the curvature of the data with
    /// --epsilon added to its diagonal, which keeps more of the network's function; prior includes the prior as well.
    /// Densities and the covariance always include it [default: numerical].
    #[arg(long, value_enum)]
    damping: Option<DampingName>,
    /// Numerical damping, as a share of the mean square of a layer's inputs [default: 1e-4].
    #[arg(long, value_name = "E", value_parser = positive)]
    epsilon: Option<f64>,
    /// Remove a layer although its activation, applied twice, is another function (leaky ReLU); the result says so.
    #[arg(long)]
    allow_inexact: bool,
    /// No input is ever below 0, so that under ReLU the first layer may go.
    #[arg(long)]
    nonnegative_inputs: bool,
    /// Where the posterior of the smaller network goes; a file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum UnitMatchingName {
    Identity,
    Density,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RemovalName {
    Marginal,
    ConditionAll,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DampingName {
    Numerical,
    Prior,
}

/// What is told of an edit.
struct Step {
    name: String,
    pinned: FixedWeights,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = [Input::new("--posterior", &arguments.posterior)];
    check_out(&arguments.out, &inputs).map_err(UsageError)?;
    let matching = match arguments.matching {
        UnitMatchingName::Identity => UnitMatching::Identity,
        UnitMatchingName::Density if arguments.edits.removes_a_layer() => UnitMatching::Density,
        UnitMatchingName::Density => {
            let message = "--matching density: wanted --remove-layer beside it, found none";
            return Err(UsageError(message.into()).into());
        }
    };
    let options = EditOptions {
        removal: match arguments.removal {
            RemovalName::Marginal => Removal::Marginal,
            RemovalName::ConditionAll => Removal::ConditionAll,
        },
        nonnegative_inputs: arguments.nonnegative_inputs,
        allow_inexact: arguments.allow_inexact,
    };
    let plan = arguments.edits.plan(matching);
    let damping = arguments.damping()?;
    let PosteriorFile { posterior, provenance, sha256 } =
        PosteriorFile::open(&arguments.posterior)?;
    let before = posterior.network().clone();
    let is_exact_kronecker = matches!(posterior, AnyPosterior::KroneckerEigen(_));
    if !is_exact_kronecker && (arguments.damping.is_some() || arguments.epsilon.is_some()) {
        let message = format!(
            "--damping and --epsilon: wanted a posterior of `distill posterior --structure kronecker`, found {}; \
             edits of other posteriors need no damping",
            posterior.structure()
        );
        return Err(UsageError(message).into());
    }
    let (posterior, pins) = posterior
        .transform(&plan, &options, damping)
        .with_context(|| arguments.posterior.display().to_string())?;
    check_proper(&posterior).context("the posterior of the smaller network")?;
    let provenance = provenance.of_student(sha256, is_exact_kronecker.then_some(damping));
    write(&arguments.out, &posterior, &provenance)?;
    let steps = plan.iter().zip(pins);
    let steps: Vec<Step> = steps.map(|(edit, pinned)| Step { name: name(edit), pinned }).collect();
    if arguments.json {
        say(&json(arguments, [&before, posterior.network()], &steps, &provenance)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = sizes(&before, posterior.network());
    text.push('\n');
    text += &costs(&steps, &provenance)?;
    if is_exact_kronecker {
        text += &format!("\ndamping: {}\n", carried_by(damping));
    }
    if is_inexact(&posterior) {
        text +=
            "\nThe function changed by more than rounding: a condition of a theorem was waived.\n";
    }
    text += &format!("\nwritten: {}\n", arguments.out.display());
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// What carries the mean of a Kronecker posterior.
    fn damping(&self) -> Result<Damping, UsageError> {
        match (self.damping, self.epsilon) {
            (Some(DampingName::Prior), Some(_)) => {
                let message = "--epsilon: wanted --damping numerical, found prior";
                Err(UsageError(message.into()))
            }
            (Some(DampingName::Prior), None) => Ok(Damping::Prior),
            (_, Some(epsilon)) => Ok(Damping::Numerical { epsilon }),
            (_, None) => Ok(Damping::numerical()),
        }
    }
}

/// What was done, as one JSON object.
fn json(
    arguments: &Arguments,
    networks: [&Mlp; 2],
    steps: &[Step],
    provenance: &Provenance,
) -> Result<String> {
    let size = |network: &Mlp| {
        serde_json::json!({
            "widths": network.widths,
            "parameters": n_parameters(network),
            "macs": n_products(network),
        })
    };
    let mut edits = Vec::new();
    for Step { name, pinned } in steps {
        let density = &pinned.density;
        let evidence = provenance.prior_precision.map(|a| log_evidence_change(pinned, a));
        edits.push(serde_json::json!({
            "edit": name,
            "pinned": density.n,
            "log_density_before": density.log_density_at_mean(),
            "log_density_after": density.log_density(),
            "cost": density.cost(),
            "log_evidence_change": evidence.transpose()?,
        }));
    }
    let [before, after] = networks.map(size);
    let told = serde_json::json!({
        "out": arguments.out,
        "before": before,
        "after": after,
        "edits": edits,
        "provenance": provenance,
    });
    Ok(format!("{told}\n"))
}

fn is_inexact(posterior: &AnyPosterior) -> bool {
    posterior.is_inexact()
}

/// Units that are named in the table before it says how many there are.
const MOST_NAMED: usize = 8;

fn name(edit: &Edit) -> String {
    match edit {
        Edit::RemoveUnits { layer, units } if units.len() > MOST_NAMED => {
            format!("remove-units {layer}: {} units", units.len())
        }
        Edit::RemoveUnits { layer, units } => {
            let units: Vec<String> = units.iter().map(usize::to_string).collect();
            format!("remove-units {layer}:{}", units.join(","))
        }
        Edit::RemoveLayer { layer, .. } => format!("remove-layer {layer}"),
    }
}

fn sizes(before: &Mlp, after: &Mlp) -> String {
    let row = |what: &str, of: &dyn Fn(&Mlp) -> String| cells![what, of(before), of(after)];
    text_table(&[
        cells!["", "before", "after"],
        row("widths", &|n| format!("{:?}", n.widths)),
        row("parameters", &|n| n_parameters(n).to_string()),
        row("MACs", &|n| n_products(n).to_string()),
    ])
}

fn costs(steps: &[Step], provenance: &Provenance) -> Result<String> {
    let mut rows = vec![cells!["edit", "pinned", "log-density before", "after", "cost"]];
    let mut evidence = Vec::new();
    for Step { name, pinned } in steps {
        let density = &pinned.density;
        rows.push(vec![
            name.clone(),
            density.n.to_string(),
            decimal(density.log_density_at_mean()),
            decimal(density.log_density()),
            decimal(density.cost()),
        ]);
        if let Some(precision) = provenance.prior_precision {
            evidence.push(log_evidence_change(pinned, precision)?);
        }
    }
    let n_pinned: usize = steps.iter().map(|step| step.pinned.density.n).sum();
    let sum =
        |of: &dyn Fn(&FixedWeights) -> f64| decimal(steps.iter().map(|s| of(&s.pinned)).sum());
    let total = vec![
        "sum".into(),
        n_pinned.to_string(),
        sum(&|p| p.density.log_density_at_mean()),
        sum(&|p| p.density.log_density()),
        sum(&|p| p.density.cost()),
    ];
    if provenance.prior_precision.is_some() {
        rows[0].push("log evidence".into());
        rows.iter_mut().skip(1).zip(&evidence).for_each(|(row, &e)| row.push(signed(e)));
    }
    rows.push(total);
    if provenance.prior_precision.is_some() {
        let last = rows.len() - 1;
        rows[last].push(signed(evidence.iter().sum()));
    }
    let mut text = text_table(&rows);
    if let Some(precision) = provenance.prior_precision {
        text += &format!(
            "log evidence: change by the edit, log q(v) - log p(v) under the prior N(0, 1/{})\n",
            setting(precision)
        );
    }
    Ok(text)
}

fn signed(value: f64) -> String {
    let sign = if value.is_sign_negative() { "" } else { "+" };
    format!("{sign}{}", decimal(value))
}
