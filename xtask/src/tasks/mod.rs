//! One task, one file.
pub mod sandbox;
