//! What is up, as a file that exists only while it is true, and the lock under which that changes.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::paths::{Paths, remove_file, write};
use crate::error::Fault;
use crate::exec::Runner;
use crate::report;

/// A finished `up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// RFC 3339.
    pub since: String,
    /// The cache folder of the `up` that started it; other checkouts share it whatever theirs is.
    pub cache: Utf8PathBuf,
    pub port: u16,
    /// False where the host's own Docker is used and only the registry is ours.
    pub engine: bool,
    /// Package → version.
    pub versions: BTreeMap<String, String>,
    /// `python:3.11-slim`.
    pub bases: Vec<String>,
}

impl State {
    pub fn registry(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Written by the last `up`, whether or not it still runs.
    pub fn read(paths: &Paths) -> Option<State> {
        serde_json::from_str(&std::fs::read_to_string(file(paths)).ok()?).ok()
    }

    pub fn write(&self, paths: &Paths) -> Result<()> {
        write(&file(paths), &serde_json::to_string(self)?)
    }

    pub fn remove(paths: &Paths) -> Result<()> {
        remove_file(&file(paths))
    }
}

fn file(paths: &Paths) -> Utf8PathBuf {
    paths.run.join("state.json")
}

/// Waits for the machine's one lock; it is given back when the file is closed, also by being killed.
pub fn lock(runner: &Runner, paths: &Paths) -> Result<File> {
    let path = paths.run.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {path}"))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if runner.is_interrupted() => return Err(Fault::interrupted().into()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {path}")),
        }
        if !told {
            report::note("sandbox: waiting for another process that starts or stops it");
            told = true;
        }
        sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dir: &tempfile::TempDir) -> Paths {
        let run = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Paths { cache: run.clone(), run }
    }

    #[test]
    fn a_state_comes_back_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let state = State {
            since: "2026-01-01T00:00:00Z".into(),
            cache: "/c".into(),
            port: 5001,
            engine: true,
            versions: BTreeMap::from([("runc".into(), "1.1".into())]),
            bases: vec!["python:3.11-slim".into()],
        };
        state.write(&paths).unwrap();
        assert_eq!(State::read(&paths), Some(state));
        std::fs::write(file(&paths), "{\"since\": ").unwrap();
        assert_eq!(State::read(&paths), None);
        State::remove(&paths).unwrap();
        State::remove(&paths).unwrap();
    }

    #[test]
    fn a_second_holder_waits() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let first = lock(&Runner::default(), &paths).unwrap();
        let other = File::options().write(true).open(paths.run.join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        other.try_lock().unwrap();
    }
}
