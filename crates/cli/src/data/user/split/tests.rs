//! Laws of splits.
