//! Running the builds of a plan.

#[cfg(test)]
pub mod testing;
