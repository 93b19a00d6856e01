//! Units as groups of tensors that are cut together.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::linear::Linear;
use super::units::Units;
use super::walk::Walk;
use super::{Axes, Consumer, Cut, Follower, Group, Producer};
use crate::graph::{Source, ValueId};

impl Walk<'_> {
    /// The groups, and where they cut.
    pub(super) fn groups(self) -> Axes {
        let makers: Vec<&Linear> =
            self.linear.iter().filter(|linear| !linear.outputs.is_empty()).collect();
        let sets = |linear: &Linear| -> Vec<usize> {
            let free: Vec<usize> =
                linear.outputs.iter().filter_map(|&atom| self.units.free(atom)).collect();
            let all = || linear.outputs.iter().map(|&atom| self.units.root(atom)).collect();
            if free.is_empty() { all() } else { free }
        };
        // Producers with a common set belong to one group.
        let mut together = Units::default();
        together.fresh(makers.len());
        let mut first: HashMap<usize, usize> = HashMap::new();
        for (i, maker) in makers.iter().enumerate() {
            for set in sets(maker) {
                together.unite(*first.entry(set).or_insert(i), i);
            }
        }
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut lead: HashMap<usize, usize> = HashMap::new();
        for i in 0..makers.len() {
            let lead = *lead.entry(together.root(i)).or_insert(i);
            members.entry(lead).or_default().push(i);
        }
        let mut groups: Vec<(Group, Vec<usize>)> = members
            .into_values()
            .map(|members| {
                let mut seen = HashSet::new();
                let all = members.iter().flat_map(|&i| sets(makers[i]));
                let sets: Vec<usize> = all.filter(|&set| seen.insert(set)).collect();
                let makers = members.iter().map(|&i| makers[i]);
                (self.group(&makers.collect::<Vec<_>>(), &sets), sets)
            })
            .collect();
        groups.sort_by_key(|(group, _)| group.pinned.is_some());
        let mut units: HashMap<usize, (usize, usize)> = HashMap::new();
        for (g, (_, sets)) in groups.iter().enumerate().filter(|(_, (g, _))| g.pinned.is_none()) {
            units.extend(sets.iter().enumerate().map(|(unit, &set)| (set, (g, unit))));
        }
        let mut groups: Vec<Group> = groups.into_iter().map(|(group, _)| group).collect();
        self.fill(&mut groups, &units);
        let cuts = (0..self.labels.len()).map(|i| self.cuts(ValueId(i), &units)).collect();
        let maps = self.maps();
        Axes { groups, maps, cuts }
    }

    /// A group with its producers only.
    fn group(&self, makers: &[&Linear], sets: &[usize]) -> Group {
        let unit: HashMap<usize, usize> =
            sets.iter().enumerate().map(|(unit, &set)| (set, unit)).collect();
        let producers: Vec<Producer> = makers
            .iter()
            .map(|maker| {
                let mut entries = vec![Vec::new(); sets.len()];
                for (place, &atom) in maker.outputs.iter().enumerate() {
                    if let Some(&unit) = unit.get(&self.units.root(atom)) {
                        entries[unit].push(place);
                    }
                }
                let Linear { node, weight, output_axis: axis, bias, .. } = **maker;
                Producer { name: self.name(maker), node, weight, axis, entries, bias }
            })
            .collect();
        let pinned = sets.first().and_then(|&set| self.units.pinned(set)).map(str::to_owned);
        Group {
            name: producers.first().map(|producer| producer.name.clone()).unwrap_or_default(),
            n_units: sets.len(),
            producers,
            followers: Vec::new(),
            consumers: Vec::new(),
            joins: Vec::new(),
            pinned,
        }
    }

    /// Followers, consumers and joins.
    fn fill(&self, groups: &mut [Group], units: &HashMap<usize, (usize, usize)>) {
        let linear = self.linear.iter();
        let linear: HashSet<ValueId> =
            linear.flat_map(|linear| std::iter::once(linear.weight).chain(linear.bias)).collect();
        for (i, value) in self.graph.values().iter().enumerate() {
            let id = ValueId(i);
            let is_known = matches!(value.source, Source::Parameter(_) | Source::Constant(_));
            if !is_known || linear.contains(&id) {
                continue;
            }
            for cut in self.cuts(id, units) {
                for (g, entries) in per_group(&cut.units, groups, |place| vec![place]) {
                    let (name, axis) = (self.follower_name(id), cut.axis);
                    groups[g].followers.push(Follower { name, value: id, axis, entries });
                }
            }
        }
        for linear in &self.linear {
            let inputs: Vec<Option<(usize, usize)>> =
                linear.inputs.iter().map(|&atom| self.unit(atom, units)).collect();
            let n = linear.n_columns;
            let columns = |place: usize| (place * n..(place + 1) * n).collect();
            for (g, columns) in per_group(&inputs, groups, columns) {
                let Linear { node, weight, input_axis: axis, output_axis, bias, .. } = *linear;
                let name = self.name(linear);
                let consumer = Consumer { name, node, weight, axis, output_axis, bias, columns };
                groups[g].consumers.push(consumer);
            }
        }
        for &(node, atom) in &self.joins {
            if let Some((g, _)) = self.unit(atom, units)
                && !groups[g].joins.contains(&node)
            {
                groups[g].joins.push(node);
            }
        }
    }

    fn unit(&self, atom: usize, units: &HashMap<usize, (usize, usize)>) -> Option<(usize, usize)> {
        units.get(&self.units.free(atom)?).copied()
    }

    /// Axes of a value that have units.
    fn cuts(&self, id: ValueId, units: &HashMap<usize, (usize, usize)>) -> Vec<Cut> {
        let cut = |labels: super::labels::Labels| {
            let axis = *labels.axes.first()?;
            let units = labels.atoms.iter().map(|&atom| self.unit(atom, units)).collect();
            Some(Cut { axis, units })
        };
        self.kinds(id).into_iter().filter_map(cut).collect()
    }

    /// The value's name; that of its first reader where an exporter has numbered it.
    fn follower_name(&self, id: ValueId) -> String {
        let name = &self.graph.value(id).name;
        let is_numbered = name.starts_with("onnx::") || name.parse::<u64>().is_ok();
        match self.uses[id.0].first() {
            Some(&node) if is_numbered => self.graph.name_of(&self.graph.nodes()[node]).name,
            _ => name.clone(),
        }
    }

    /// The weight's name without its last part, where that says "weight", else the node's.
    pub(super) fn name(&self, linear: &Linear) -> String {
        let weight = &self.graph.value(linear.weight).name;
        match weight.strip_suffix(".weight").or_else(|| weight.strip_suffix("/kernel")) {
            Some(name) => name.to_owned(),
            None => self.graph.name_of(&self.graph.nodes()[linear.node]).name,
        }
    }
}

/// For each group among these units, what belongs to each of its units.
fn per_group(
    units: &[Option<(usize, usize)>],
    groups: &[Group],
    places: impl Fn(usize) -> Vec<usize>,
) -> BTreeMap<usize, Vec<Vec<usize>>> {
    let mut found: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
    for (place, unit) in units.iter().enumerate() {
        if let &Some((g, unit)) = unit {
            let n = groups[g].n_units;
            found.entry(g).or_insert_with(|| vec![Vec::new(); n])[unit].extend(places(place));
        }
    }
    found
}
