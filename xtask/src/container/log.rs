//! The log file of a test or a check, and the end of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::exec::Runner;
use crate::files;
use crate::generated::Mode;
use crate::visible;

/// How much of a log is shown when something fails.
const TAIL: usize = 40;

pub struct Log {
    file: File,
    /// The first error of writing; told at the end, because a line handler cannot fail.
    error: Option<std::io::Error>,
    tail: VecDeque<String>,
    /// A line that is waited for; "": none.
    pub mark: String,
    started: Instant,
    /// When it came.
    pub marked: Option<Duration>,
}

impl Log {
    /// Under `--dry-run` nothing is kept, and the log of the last run stays.
    pub fn create(runner: &Runner, repo: &Utf8Path, path: &Utf8Path) -> Result<Log> {
        let file = match Mode::of(false, runner) {
            Mode::Write => files::create_in(repo, path),
            Mode::Check | Mode::DryRun => File::options().write(true).open("/dev/null").map_err(Into::into),
        };
        let file = file.context("cannot write a log")?;
        let (tail, started) = (VecDeque::new(), Instant::now());
        Ok(Log { file, error: None, tail, mark: String::new(), started, marked: None })
    }

    pub fn line(&mut self, line: &str) {
        if !self.mark.is_empty() && line == self.mark {
            self.marked = Some(self.started.elapsed());
        }
        // Whoever prints the file, as `cat` or a step of a workflow, gets the same text as ours.
        let line = visible::line(line);
        if let Err(error) = writeln!(self.file, "{line}") {
            self.error.get_or_insert(error);
        }
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// From here on the tail is of what comes next.
    pub fn forget(&mut self) {
        self.tail.clear();
    }

    pub fn done(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), |error| Err(error).context("cannot write a log"))
    }
}
