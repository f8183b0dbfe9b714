//! Every file that we write: made beside its place and renamed, so that whoever reads sees the old text or the new; and
//! never through a link, because what lies in a clone is anybody's.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

use anyhow::Result;
use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::error::Fault;
use crate::exec::Runner;
use crate::git;

/// Where everything lies that a run leaves, relative to the repository.
pub const FOLDER: &str = "target/slipway";

/// `rw-r--r--`, less what the user's umask takes away.
const READABLE: u32 = 0o644;
/// For the owner alone.
pub const PRIVATE: u32 = 0o600;

/// Writes a file below the folder of our own state, which is known by its name.
///
/// # Errors
/// Refused: the way to it leads through a link. Else what the system says.
pub fn write(path: &Utf8Path, text: &str) -> Result<()> {
    write_in(&repository(path), path, text)
}

/// The same of a file that the owner alone may read.
pub fn write_private(path: &Utf8Path, text: &str) -> Result<()> {
    make_folder(&repository(path), parent(path))?;
    put(path, text, PRIVATE)
}

/// The same of a file anywhere in a repository.
pub fn write_in(repo: &Utf8Path, path: &Utf8Path, text: &str) -> Result<()> {
    let path = inside(repo, path)?;
    make_folder(repo, parent(path))?;
    put(path, text, READABLE)
}

/// Writes beside and renames. The way to it is not looked at: that is for folders that are not of a clone.
pub fn put(path: &Utf8Path, text: &str, mode: u32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = beside(path, mode)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| cannot("write", path, error))
}

/// An empty file in the place of whatever was there, to be written line by line.
///
/// # Errors
/// Those of [`write`].
pub fn create_in(repo: &Utf8Path, path: &Utf8Path) -> Result<File> {
    let path = inside(repo, path)?;
    make_folder(repo, parent(path))?;
    let create = || -> std::io::Result<File> { Ok(beside(path, READABLE)?.persist(path)?) };
    create().map_err(|error| cannot("write", path, error))
}

fn beside(path: &Utf8Path, mode: u32) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".slipway-").permissions(Permissions::from_mode(mode)).tempfile_in(parent(path))
}

/// A file that is read, locked or grows: as it is, or a new one.
///
/// # Errors
/// Refused: it is a link or no file, or has another name as well.
pub fn open(path: &Utf8Path) -> Result<File> {
    make_folder(&repository(path), parent(path))?;
    let mut options = File::options();
    // Without waiting for somebody at the other end of a pipe.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.read(true).append(true).create(true).custom_flags(flags.bits().cast_signed());
    if let Ok(meta) = path.symlink_metadata()
        && (!meta.is_file() || meta.nlink() > 1)
    {
        return Err(foreign(path, "is no file of ours"));
    }
    options.open(path).map_err(|error| cannot("open", path, error))
}

/// Makes a folder of a repository, and those around it.
///
/// # Errors
/// Refused: one of them is a link.
pub fn make_folder(repo: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    let mut way = repo.to_owned();
    for part in folder.strip_prefix(repo).unwrap_or(Utf8Path::new("")).components() {
        way.push(part);
        if way.is_symlink() {
            return Err(foreign(&way, "is a link"));
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, error))
}

/// Makes the folder of our state, which git must not see and must not have brought.
///
/// # Errors
/// Refused: it leads elsewhere, or is part of what was cloned.
pub fn prepare(runner: &Runner, repo: &Utf8Path) -> Result<Utf8PathBuf> {
    let folder = repo.join(FOLDER);
    make_folder(repo, &folder)?;
    let list = git::ask(repo, "look for files of git in the folder of the state", &["ls-files", "-z", "--", "target", FOLDER]);
    let listed = runner.output(&list)?;
    let is_ours = |name: &str| name == "target" || Utf8Path::new(name).starts_with(FOLDER);
    if let Some(name) = listed.stdout.split('\0').find(|name| is_ours(name)) {
        let fault = Fault::refused(format!("git tracks {name}, which is where a run leaves its state"));
        return Err(fault.hint(format!("run `git rm -r --cached {name}`, and put /target into .gitignore")).into());
    }
    let ignore = folder.join(".gitignore");
    // A disk that was full has left an empty one, and git reads none that is a link.
    let is_good = std::fs::read_to_string(&ignore).is_ok_and(|text| !text.trim().is_empty());
    if !is_good || ignore.is_symlink() {
        write(&ignore, "*\n")?;
    }
    Ok(folder)
}

/// A path that was configured: in the repository, and not in its git.
fn inside<'a>(repo: &Utf8Path, path: &'a Utf8Path) -> Result<&'a Utf8Path> {
    let below = path.strip_prefix(repo).ok().filter(|below| below.components().all(|part| part != Utf8Component::ParentDir));
    match below {
        Some(below) if !is_of_git(below) => Ok(path),
        Some(_) => Err(foreign(path, "is in the folder of git")),
        None => Err(foreign(path, "is outside the repository")),
    }
}

fn parent(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|parent| *parent != "").unwrap_or(Utf8Path::new("."))
}

/// What is before the folder of our state; the outermost, because a released source is in one and may have its own.
fn repository(path: &Utf8Path) -> Utf8PathBuf {
    let state = path.ancestors().filter(|folder| folder.ends_with(FOLDER)).last();
    state.and_then(|state| state.ancestors().nth(2)).unwrap_or(parent(path)).to_owned()
}

/// A disk that is full or must not be written is a matter of the machine.
pub fn cannot(what: &str, path: &Utf8Path, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let hint = match error.kind() {
        StorageFull | QuotaExceeded => "free space on the disk that holds it",
        PermissionDenied | ReadOnlyFilesystem => "every run writes there: make it writable for this user",
        NotADirectory => "a file is in the place of a folder: take it away",
        _ => return anyhow::Error::new(error).context(format!("cannot {what} {path}")),
    };
    Fault::not_ready(format!("cannot {what} {path}: {error}")).hint(hint).into()
}

fn foreign(path: &Utf8Path, why: &str) -> anyhow::Error {
    let fault = Fault::refused(format!("cannot write {path}: {why}"));
    let hint = if path.ends_with("target") {
        "make it a folder; CARGO_TARGET_DIR puts what cargo builds elsewhere"
    } else {
        "remove it"
    };
    fault.hint(hint).into()
}

/// Whether a path of a repository is in the folder of a git, on whatever file system.
pub fn is_of_git(path: &Utf8Path) -> bool {
    let names = path.components().filter_map(|part| if let Utf8Component::Normal(name) = part { Some(name) } else { None });
    names.into_iter().any(is_git)
}

/// `.git`, however a file system may write it: git itself refuses the same names.
fn is_git(name: &str) -> bool {
    // HFS+ leaves such characters out, NTFS what is behind a colon, and blanks and dots at the end.
    let ignored = |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = name.chars().filter(|c| !ignored(*c)).flat_map(char::to_lowercase).collect();
    let plain = plain.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']);
    matches!(plain, ".git" | "git~1")
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
