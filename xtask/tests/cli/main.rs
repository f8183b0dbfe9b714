//! The program from outside, without an engine: wrong input, and a `docker` that is absent, hangs, lies or dies.
#![allow(clippy::unwrap_used)]

mod adoption;
mod builder;
mod cache;
mod checks;
mod dockerfile;
mod engine;
mod explain;
mod foreign;
mod git;
mod graphs;
mod handed;
mod kubernetes;
mod lab;
mod limits;
mod links;
mod login;
mod parents;
mod platforms;
mod retention;
mod scan;
mod tags;
mod usage;
