//! One run at a time in a checkout: two would take each other's logs, results and containers.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::error::Fault;
use crate::exec::Runner;
use crate::files;

/// Held while it lives. The kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of a checkout.
///
/// # Errors
/// "Not ready", naming the process that holds it; those of the folder that it is in.
pub fn take(runner: &Runner, repo: &Utf8Path) -> Result<Lock> {
    let path = files::prepare(runner, repo)?.join("lock");
    let mut file = files::open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).unwrap_or_default();
            let who = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
            let fault = Fault::not_ready(format!("another run{who} is at work in this checkout"));
            return Err(fault.hint("wait for it, or end it").into());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {path}")),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(|error| files::cannot("write", &path, error))?;
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        let take = || take(&Runner::default(), repo);
        let first = take().unwrap();
        let error = take().unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        take().unwrap();
    }

    #[test]
    fn what_a_full_disk_has_left_is_repaired() {
        let repo = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(repo.path()).unwrap();
        let folder = repo.join(files::FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        for (text, then) in [("", "*\n"), ("\n", "*\n"), ("*\n!keep\n", "*\n!keep\n")] {
            std::fs::write(folder.join(".gitignore"), text).unwrap();
            drop(take(&Runner::default(), repo).unwrap());
            assert_eq!(std::fs::read_to_string(folder.join(".gitignore")).unwrap(), then, "{text:?}");
        }
    }
}
