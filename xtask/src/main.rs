//! `cargo xtask`: the table of contents.
#![allow(dead_code, unused_imports)]
mod cmd;
mod config;
mod error;
mod event;
mod exec;
mod facts;
mod plan;
mod report;
mod tasks;
mod version;

fn main() {}
