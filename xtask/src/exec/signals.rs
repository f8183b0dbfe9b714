//! How often we were told to end: Ctrl-C, SIGTERM, SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::Code;
use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Set by the handler, which can do no more; taken back by whoever counts it.
    raised: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    /// Nothing is begun that would have to be ended: a signal ends the process by itself.
    plans: Arc<AtomicBool>,
}

impl Signals {
    pub fn catch(&self) -> Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let plans = Arc::clone(&self.plans);
            signal_hook::flag::register_conditional_shutdown(signal, Code::Interrupted as i32, plans)
                .context("cannot catch signals")?;
            signal_hook::flag::register(signal, Arc::clone(&self.raised)).context("cannot catch signals")?;
        }
        Ok(())
    }

    /// Those that came faster than anybody looked count once.
    pub fn count(&self) -> usize {
        if self.raised.swap(false, Ordering::SeqCst) {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        self.count.load(Ordering::SeqCst)
    }

    /// `work` reads and reckons only. Nobody asks meanwhile whether a signal came, so a signal ends it where it is.
    pub fn while_planning<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.plans.swap(self.count() == 0, Ordering::SeqCst);
        let result = work();
        self.plans.store(before, Ordering::SeqCst);
        result
    }

    #[cfg(test)]
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }
}
