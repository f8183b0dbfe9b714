//! The tasks, one file each: its `Args`, then `run`.

pub mod cache;
pub mod check_deps;
pub mod ci;
pub mod ci_build;
pub mod completions;
pub mod docker_test;
pub mod doctor;
pub mod explain;
pub mod gen_dockerfiles;
pub mod login;
pub mod logout;
pub mod plan;
pub mod release;
pub mod retention;
pub mod sandbox;
pub mod scan;
pub mod schema;
pub mod static_checks;
pub mod test;
