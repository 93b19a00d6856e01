//! Names of which each occurs once.

use std::collections::HashMap;

/// Names that are taken, each with the number that its next copy gets.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, usize>);

impl Names {
    /// The name that is wanted (or the other one, where that is empty) if nobody has it, else the same with `.2`, `.3`, …
    pub(super) fn unique(&mut self, wanted: &str, other: &str) -> String {
        let wanted = if wanted.is_empty() { other } else { wanted };
        let mut name = wanted.to_owned();
        let mut number = self.0.get(wanted).copied().unwrap_or(2);
        while self.0.contains_key(&name) {
            name = format!("{wanted}.{number}");
            number += 1;
        }
        self.0.insert(wanted.to_owned(), number);
        self.0.entry(name.clone()).or_insert(2);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn no_name_is_given_twice() {
        let mut names = Names::default();
        let wanted = ["a", "a", "a.2", "a", "", "a.2", "b"];
        let given = wanted.map(|name| names.unique(name, "b"));
        assert_eq!(given, ["a", "a.2", "a.2.2", "a.3", "b", "a.2.3", "b.2"]);
    }
}
