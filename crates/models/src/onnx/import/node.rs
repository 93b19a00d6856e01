//! One node of a file: its attributes, with defaults, and errors that name it.

use super::{ImportError, Unsupported};
use crate::onnx::{Attribute, Node, TensorInfo};

/// A node that is being read.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) node: &'a Node,
    /// The operator set of its file.
    pub(super) opset: i64,
}

/// What a node is called in messages.
pub(super) fn name(node: &Node) -> String {
    match (node.name.as_str(), node.outputs.first()) {
        ("", Some(output)) => output.clone(),
        (name, _) => name.to_owned(),
    }
}

impl<'a> At<'a> {
    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A whole number, or its default.
    pub(super) fn int(&self, name: &'static str, default: i64) -> Result<i64, ImportError> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(other) => Err(self.wrong(name, "a whole number", format!("{other:?}"))),
        }
    }

    /// Whether a whole number is not 0.
    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool, ImportError> {
        self.int(name, i64::from(default)).map(|value| value != 0)
    }

    /// A float, or its default.
    pub(super) fn float(&self, name: &'static str, default: f32) -> Result<f32, ImportError> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(other) => Err(self.wrong(name, "a float", format!("{other:?}"))),
        }
    }

    /// A word, or its default.
    pub(super) fn word(
        &self,
        name: &'static str,
        default: &'static str,
    ) -> Result<&'a str, ImportError> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::String(value)) => Ok(value),
            Some(other) => Err(self.wrong(name, "a word", format!("{other:?}"))),
        }
    }

    /// Whole numbers, where there are some.
    pub(super) fn ints(&self, name: &'static str) -> Result<Option<&'a [i64]>, ImportError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong(name, "whole numbers", format!("{other:?}"))),
        }
    }

    /// Floats, where there are some.
    pub(super) fn floats(&self, name: &'static str) -> Result<Option<&'a [f32]>, ImportError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong(name, "floats", format!("{other:?}"))),
        }
    }

    /// A tensor, where there is one.
    pub(super) fn tensor(&self, name: &'static str) -> Result<Option<&'a TensorInfo>, ImportError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => Err(self.wrong(name, "a tensor", format!("{other:?}"))),
        }
    }

    /// The name of an input; none where it is left out.
    pub(super) fn input(&self, place: usize) -> Option<&'a str> {
        self.node.inputs.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// How many inputs there are, up to the last that is not left out.
    pub(super) fn n_inputs(&self) -> usize {
        self.node.inputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
    }

    /// An attribute, or an input that is one, has a value that is not taken.
    pub(super) fn wrong(
        &self,
        attribute: &'static str,
        expected: &'static str,
        found: impl Into<String>,
    ) -> ImportError {
        /// A longer list is cut.
        const MOST: usize = 80;
        let found = found.into();
        let cut = found.char_indices().nth(MOST).map(|(at, _)| at);
        let found = cut.map_or(found.clone(), |at| format!("{}…", &found[..at]));
        let (node, op) = (name(self.node), self.node.op_type.clone());
        ImportError::Attribute { node, op, attribute, expected, found }
    }

    /// An input is missing, or read from nowhere.
    pub(super) fn missing(&self, tensor: &str) -> ImportError {
        let (node, op) = (name(self.node), self.node.op_type.clone());
        ImportError::Missing { node, op, tensor: tensor.to_owned() }
    }

    /// An input that is needed has no name, or is not there.
    pub(super) fn left_out(&self, place: usize) -> ImportError {
        let (node, op) = (name(self.node), self.node.op_type.clone());
        ImportError::LeftOut { node, op, place }
    }

    /// The node is not read.
    pub(super) fn unsupported(&self, reason: Unsupported, others: usize) -> ImportError {
        let Node { op_type, domain, .. } = self.node;
        let (node, op, domain) = (name(self.node), op_type.clone(), domain.clone());
        ImportError::Unsupported { node, op, domain, reason, others }
    }

    /// A failure of the graph at this node.
    pub(super) fn problem(&self, problem: crate::graph::Problem) -> ImportError {
        let name = crate::graph::NodeName { op: self.node.op_type.clone(), name: name(self.node) };
        crate::graph::Error::Node { node: name, problem: Box::new(problem) }.into()
    }
}
