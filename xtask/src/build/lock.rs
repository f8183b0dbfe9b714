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
    let mut file = open.map_err(|error| cannot("open", &path, error))?;
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
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(|error| cannot("write", &path, error))?;
    Ok(Lock { _file: file })
}

/// Makes the folder, and git blind to it: what we write must not make anybody's working tree dirty.
fn prepare(folder: &Utf8Path) -> Result<()> {
    let ignore = folder.join(".gitignore");
    std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, error))?;
    // A disk that was full has left an empty one.
    if std::fs::read_to_string(&ignore).is_ok_and(|text| !text.trim().is_empty()) {
        return Ok(());
    }
    std::fs::write(&ignore, "*\n").map_err(|error| cannot("write", &ignore, error))
}

/// A disk that is full or must not be written is a matter of the machine.
fn cannot(what: &str, path: &Utf8Path, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let hint = match error.kind() {
        StorageFull | QuotaExceeded => "free space on the disk that holds it",
        PermissionDenied | ReadOnlyFilesystem => "every run writes there: make it writable for this user",
        NotADirectory => "a file is in the place of a folder: take it away",
        _ => return anyhow::Error::new(error).context(format!("cannot {what} {path}")),
    };
    Fault::not_ready(format!("cannot {what} {path}: {error}")).hint(hint).into()
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

    #[test]
    fn what_a_full_disk_has_left_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        for (text, then) in [("", "*\n"), ("\n", "*\n"), ("*\n!keep\n", "*\n!keep\n")] {
            std::fs::write(folder.join(".gitignore"), text).unwrap();
            drop(take(folder).unwrap());
            assert_eq!(std::fs::read_to_string(folder.join(".gitignore")).unwrap(), then, "{text:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_matter_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("target");
        std::fs::write(&file, "").unwrap();
        for folder in [&file.join("slipway"), Utf8Path::new("/proc/self/slipway")] {
            let error = take(folder).unwrap_err();
            let is_known = error.downcast_ref::<Fault>().is_some();
            assert!(!is_known || crate::error::exit_code(&error) == crate::error::Code::NotReady, "{error:#}");
        }
        for (kind, hint) in [
            (std::io::ErrorKind::StorageFull, "free space"),
            (std::io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
            (std::io::ErrorKind::PermissionDenied, "make it writable"),
        ] {
            let error = cannot("write", Utf8Path::new("target/slipway/lock"), kind.into());
            assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
            assert!(error.downcast_ref::<Fault>().unwrap().hint.as_ref().unwrap().contains(hint), "{error:#}");
        }
    }
}
