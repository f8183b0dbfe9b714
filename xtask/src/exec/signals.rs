//! How often we were told to end: Ctrl-C, SIGTERM, SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Set by the handler, which can do no more; taken back by whoever counts it.
    raised: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Signals {
    pub fn catch(&self) -> Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
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

    #[cfg(test)]
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }
}
