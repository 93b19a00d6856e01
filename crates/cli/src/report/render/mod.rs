//! A report as HTML, Markdown, JSON and CSV.

pub(super) mod csv;
pub(super) mod html;
pub(super) mod json;
pub(super) mod markdown;
