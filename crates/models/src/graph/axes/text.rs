//! Groups as a reader sees them.

use std::fmt;

use super::{Axes, Group};

/// `conv1: 32 channels -> bn1, conv2 (288 columns)`
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut producers: Vec<&str> = self.producers.iter().map(|p| p.name.as_str()).collect();
        producers.dedup();
        let s = if self.n_units == 1 { "" } else { "s" };
        write!(f, "{}: {} unit{s}", shortened(&producers, " + "), self.n_units)?;
        let rows: usize = self.producers.iter().flat_map(|p| &p.entries).map(Vec::len).sum();
        if rows != self.n_units * self.producers.len() {
            write!(f, " of {rows} rows")?;
        }
        if let Some(reason) = &self.pinned {
            return write!(f, ", pinned by {reason}");
        }
        let mut followers: Vec<&str> = self.followers.iter().map(|x| stem(&x.name)).collect();
        followers.dedup();
        let consumers: Vec<String> = self
            .consumers
            .iter()
            .map(|c| {
                let n: usize = c.columns.iter().map(Vec::len).sum();
                format!("{} ({n} columns)", c.name)
            })
            .collect();
        let all: Vec<&str> =
            followers.into_iter().chain(consumers.iter().map(String::as_str)).collect();
        write!(f, " -> {}", shortened(&all, ", "))
    }
}

/// One line a group.
impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{group}")?;
        }
        Ok(())
    }
}

/// The name of a layer, of that of its parameter.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Names in a row, those in the middle of many only counted.
fn shortened(names: &[&str], between: &str) -> String {
    const MOST: usize = 8;
    match names {
        [first @ .., last] if names.len() > MOST => {
            let shown = &first[..MOST - 2];
            let n = first.len() - shown.len();
            format!("{}{between}{n} more{between}{last}", shown.join(between))
        }
        _ => names.join(between),
    }
}
