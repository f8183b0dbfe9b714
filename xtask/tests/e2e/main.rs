//! End to end: the real program, engine, registry and builds, from fresh clones. Run by `cargo xtask test`.
#![allow(clippy::unwrap_used)]

mod clone;
mod keys;
mod matrix;
mod proxy;
mod publish;
mod replace;
mod sandbox;
