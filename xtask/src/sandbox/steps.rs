//! Progress of a start that takes minutes the first time: one line a step, with the seconds so far.

use std::time::Instant;

use crate::report;

#[derive(Debug)]
pub struct Steps(Instant);

impl Steps {
    pub fn start() -> Steps {
        Steps(Instant::now())
    }

    pub fn say(&self, what: &str) {
        report::note(&format!("sandbox {:>4.1}s  {what}", self.0.elapsed().as_secs_f32()));
    }
}
