//! front.csv: one line a point of the Pareto front, the smallest first, with one column a layer's width.

use anyhow::{Context, Result};

use crate::ledger::shrink::{FrontPoint, Shrunk};

/// The front as a table; shares as they are, not in percent, and "inf", "-inf" or "NaN" for what is not finite.
pub(super) fn render(shrunk: &Shrunk) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let first = ["parameters", "multiply_adds", "change", "change_low", "change_high", "nats"];
    let mut head = first.map(str::to_owned).to_vec();
    head.extend(shrunk.layers.iter().map(|layer| format!("width of {}", layer.name)));
    head.push("chosen".into());
    writer.write_record(&head)?;
    for point in &shrunk.front {
        let FrontPoint { widths, n_parameters, n_products, change, nats, is_chosen } = point;
        let numbers = [*n_parameters, *n_products, change.value, change.low, change.high, *nats];
        let mut cells = numbers.map(|number| number.to_string()).to_vec();
        cells.extend(widths.iter().map(usize::to_string));
        cells.push(is_chosen.to_string());
        writer
            .write_record(&cells)
            .context("a point of the front has another number of widths than there are layers")?;
    }
    let bytes = writer.into_inner().context("writing front.csv")?;
    String::from_utf8(bytes).context("front.csv")
}
