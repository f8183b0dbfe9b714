//! `cargo xtask`: the table of contents.
#![allow(dead_code, unused_imports)]
mod bake;
mod build;
mod cmd;
mod config;
mod docker;
mod error;
mod event;
mod exec;
mod facts;
mod plan;
mod progress;
mod report;
mod version;

fn main() {}
