//! Where the sandbox keeps things, and the few environment variables it looks at.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};

use crate::error::Fault;
use crate::files;

/// Linux refuses longer socket paths (`sun_path` holds 108 bytes with the final zero).
const SOCKET_LIMIT: usize = 107;

/// `cache` is large and survives `down`; `run` is small, has a short path and is one per user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub cache: Utf8PathBuf,
    pub run: Utf8PathBuf,
}

impl Paths {
    /// `SLIPWAY_CACHE`, else `slipway` in the user's cache folder; nothing is created.
    pub fn find() -> Result<Paths> {
        let cache = match (var("SLIPWAY_CACHE"), var("XDG_CACHE_HOME"), var("HOME")) {
            (Some(cache), _, _) => std::path::absolute(cache)?.try_into()?,
            (_, Some(xdg), _) if xdg.starts_with('/') => Utf8PathBuf::from(xdg).join("slipway"),
            (_, _, Some(home)) => Utf8PathBuf::from(home).join(".cache/slipway"),
            _ => return Err(Fault::not_ready("HOME is not set").hint("set SLIPWAY_CACHE to a folder for downloads").into()),
        };
        let uid = rustix::process::geteuid().as_raw();
        let base = if Utf8Path::new("/run").is_dir() && uid == 0 { "/run" } else { "/tmp" };
        Ok(Paths { cache, run: format!("{base}/slipway-{uid}").into() })
    }

    /// Makes both folders; the run folder is ours alone, or it is refused.
    pub fn create(&self) -> Result<()> {
        make_dir(&self.cache)?;
        match std::fs::DirBuilder::new().mode(0o700).create(&self.run) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot create {}", self.run));
            }
            _ => {}
        }
        let found = std::fs::symlink_metadata(&self.run).with_context(|| format!("cannot read {}", self.run))?;
        let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        if !ours || found.permissions().mode() & 0o022 != 0 {
            return Err(Fault::not_ready(format!("{} belongs to somebody else", self.run)).hint("remove it").into());
        }
        if self.socket().as_str().len() > SOCKET_LIMIT {
            return Err(Fault::not_ready(format!("the path {} is too long for a socket", self.socket())).into());
        }
        Ok(())
    }

    pub fn socket(&self) -> Utf8PathBuf {
        self.run.join("docker.sock")
    }

    pub fn log(&self, daemon: &str) -> Utf8PathBuf {
        self.cache.join(format!("{daemon}.log"))
    }

    /// The private `DOCKER_CONFIG`: no credentials of the user are read.
    pub fn docker_config(&self) -> Utf8PathBuf {
        self.cache.join("docker-config")
    }

    /// An unpacked set of packages.
    pub fn tools(&self, set: &str) -> Utf8PathBuf {
        self.cache.join("tools").join(set)
    }

    pub fn data(&self) -> Utf8PathBuf {
        self.cache.join("engine")
    }

    pub fn registry(&self) -> Utf8PathBuf {
        self.cache.join("registry")
    }

    /// Half-made things; emptied at the start of every `up`.
    pub fn tmp(&self) -> Utf8PathBuf {
        self.cache.join("tmp")
    }
}

/// A variable that is set and not empty.
pub fn var(name: &str) -> Option<String> {
    crate::facts::var(name)
}

pub fn make_dir(dir: &Utf8Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))
}

/// Writes beside and renames into place, readable for the owner alone.
pub fn write(path: &Utf8Path, text: &str) -> Result<()> {
    files::put(path, text, files::PRIVATE)
}

/// Removes a file or an empty place; that it is not there is fine.
pub fn remove_file(path: &Utf8Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {path}")),
        _ => Ok(()),
    }
}
