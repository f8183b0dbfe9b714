//! The tasks, one file each: its `Args`, then `run`.

pub mod ci_build;
pub mod docker_test;
pub mod static_checks;
