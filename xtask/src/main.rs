//! `cargo xtask`: the table of contents.
#![allow(dead_code)]
mod cmd;
mod error;
mod exec;
mod report;

fn main() {}
