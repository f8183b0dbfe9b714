//! Every flag of `crane …`, spelled here and nowhere else.
//!
//! <https://github.com/google/go-containerregistry/blob/main/cmd/crane/doc/crane.md>

use std::time::Duration;

use crate::cmd::{Cmd, Effect};

/// A read that takes longer has lost its connection.
const READ: Duration = Duration::from_secs(20);
/// What registries take as a manifest, and the configuration of an image with a long history.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>
pub const MANIFEST: usize = 4 << 20;
pub const CONFIG: usize = 8 << 20;
/// A hundred thousand tags as long as they may be.
const TAGS: usize = 13 << 20;
/// A copy mounts blobs, one request each; nothing is uploaded.
const WRITE: Duration = Duration::from_secs(60);

fn cmd(effect: Effect, why: String, limit: Duration) -> Cmd {
    Cmd { effect, ..Cmd::probe("crane", why).timeout(limit).most(MANIFEST) }
}

pub fn digest(effect: Effect, reference: &str) -> Cmd {
    cmd(effect, format!("read {reference}"), READ).args(["digest", reference])
}

pub fn tags(effect: Effect, repository: &str) -> Cmd {
    cmd(effect, format!("list the tags of {repository}"), READ).args(["ls", repository]).most(TAGS)
}

pub fn manifest(effect: Effect, reference: &str) -> Cmd {
    cmd(effect, format!("read {reference}"), READ).args(["manifest", reference])
}

pub fn config(effect: Effect, reference: &str) -> Cmd {
    cmd(effect, format!("read {reference}"), READ).args(["config", reference]).most(CONFIG)
}

/// A blob, `REPOSITORY@DIGEST`; `crane config` would read the manifest again first.
pub fn blob(effect: Effect, reference: &str) -> Cmd {
    cmd(effect, format!("read {reference}"), READ).args(["blob", reference])
}

/// `source` is `REPOSITORY@DIGEST` of the same repository.
pub fn tag(effect: Effect, source: &str, tag: &str) -> Cmd {
    cmd(effect, format!("tag {source} as {tag}"), WRITE).args(["tag", source, tag])
}

pub fn copy(effect: Effect, source: &str, target: &str) -> Cmd {
    cmd(effect, format!("publish {source} as {target}"), WRITE).args(["copy", source, target])
}

/// A registry in memory, on a free port that it prints.
pub fn serve() -> Cmd {
    // It touches nothing and ends with us, so a dry run has it too.
    Cmd::probe("crane", "serve a throwaway registry").args(["registry", "serve", "--address", "localhost:0"])
}

pub fn delete(effect: Effect, reference: &str) -> Cmd {
    cmd(effect, format!("delete {reference}"), WRITE).args(["delete", reference])
}
