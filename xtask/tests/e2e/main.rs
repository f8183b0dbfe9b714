//! End to end: the real program, engine, registry and builds, from fresh clones. Run by `cargo xtask test`.
#![allow(clippy::unwrap_used)]

mod again;
mod branch;
mod builders;
mod caches;
mod checks;
mod clone;
mod differential;
mod directives;
mod dockerfiles;
mod examples;
mod farm;
mod faults;
mod frontend;
mod gate;
mod keys;
mod kubernetes;
mod liar;
mod matrix;
mod proxy;
mod publish;
mod race;
mod repeat;
mod replace;
mod retention;
mod sandbox;
mod scan;
mod tiny;
mod undo;
