//! Which entries go together: disjoint sets of atoms, some of which must stay.

/// One atom an entry of a producer's output axis; those of one set are removed together or not at all.
#[derive(Debug, Default)]
pub(super) struct Units {
    parents: Vec<usize>,
    sizes: Vec<usize>,
    /// Why the set of this root stays.
    pins: Vec<Option<String>>,
    /// Grows with every change.
    n_changes: usize,
}

impl Units {
    /// New atoms, each on its own.
    pub(super) fn fresh(&mut self, n: usize) -> Vec<usize> {
        let first = self.parents.len();
        self.parents.extend(first..first + n);
        self.sizes.resize(first + n, 1);
        self.pins.resize(first + n, None);
        (first..first + n).collect()
    }

    /// The atom that stands for the set of this one.
    pub(super) fn root(&self, mut atom: usize) -> usize {
        // The smaller set always went below the larger: paths are short.
        while self.parents[atom] != atom {
            atom = self.parents[atom];
        }
        atom
    }

    /// Makes one set of two; says whether they were two.
    pub(super) fn unite(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return false;
        }
        let (small, large) = if self.sizes[a] < self.sizes[b] { (a, b) } else { (b, a) };
        self.parents[small] = large;
        self.sizes[large] += self.sizes[small];
        let pin = self.pins[small].take();
        self.pins[large] = self.pins[large].take().or(pin);
        self.n_changes += 1;
        true
    }

    /// The set of this atom stays; the first reason counts.
    pub(super) fn pin(&mut self, atom: usize, reason: &str) {
        let root = self.root(atom);
        if self.pins[root].is_none() {
            self.pins[root] = Some(reason.to_owned());
            self.n_changes += 1;
        }
    }

    /// Why the set of this atom stays, if it does.
    pub(super) fn pinned(&self, atom: usize) -> Option<&str> {
        self.pins[self.root(atom)].as_deref()
    }

    /// The set of an atom; `None` for all that stay.
    pub(super) fn free(&self, atom: usize) -> Option<usize> {
        let root = self.root(atom);
        self.pins[root].is_none().then_some(root)
    }

    /// How many changes there were so far.
    pub(super) fn n_changes(&self) -> usize {
        self.n_changes
    }
}
