//! One run at a time in a checkout: two would take each other's logs, results and containers.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::error::Fault;

/// Held while it lives. The kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of the checkout whose state is in `folder`.
///
/// # Errors
/// "Not ready", naming the process that holds it.
pub fn take(folder: &Utf8Path) -> Result<Lock> {
    prepare(folder)?;
    let path = folder.join("lock");
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.with_context(|| format!("cannot open {path}"))?;
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
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).with_context(|| format!("cannot write {path}"))?;
    Ok(Lock { _file: file })
}

/// Makes the folder, and git blind to it: what we write must not make anybody's working tree dirty.
fn prepare(folder: &Utf8Path) -> Result<()> {
    let ignore = folder.join(".gitignore");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    if ignore.exists() {
        return Ok(());
    }
    std::fs::write(&ignore, "*\n").with_context(|| format!("cannot write {ignore}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let first = take(folder).unwrap();
        let error = take(folder).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        take(folder).unwrap();
    }
}
