//! One task, one file: what it does, its arguments, `run`.

pub mod schema;
