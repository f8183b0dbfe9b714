//! What a Dockerfile takes from outside: base images, files of the context, things it downloads.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::ignore::Ignore;
use super::parser::{self, Unread};
use super::stages::File;
use super::taken::Taken;
use super::{hex, predefined, sources};

/// What a Dockerfile takes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dockerfile {
    /// SHA-256 of its text.
    pub sha256: String,
    /// External images of FROM, COPY --from and RUN --mount=from=, arguments filled in, sorted; stages left out.
    pub images: Vec<String>,
    /// Sources of COPY, ADD and bind mounts, relative to the context, as patterns; `None`: the whole context.
    pub sources: Option<Vec<String>>,
    /// By source (`.`: the context): what `--exclude` leaves out of it, where every step that takes it leaves out the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excludes: BTreeMap<String, Ignore>,
    /// What ADD downloads; its content is not known here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<String>,
    /// Why it counts as taking the whole context, though it does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<String>,
    /// Why it may make another image each time, of the same files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<String>,
    /// `COPY --parents`: the folders around a source are taken, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    /// Has ONBUILD steps, which run in whatever is built on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onbuild: bool,
    /// Files of the context that its install steps name, see `installs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installs: Vec<String>,
    /// The image of `# syntax=`; also among `images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    /// The first part of it that this program cannot read; BuildKit decides whether it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// Name → value of each build argument; `None`: it is given, but its value is not known yet.
pub type Args = BTreeMap<String, Option<String>>;

/// Reads a Dockerfile as BuildKit would build it: with these build arguments, the stages that `target`
/// (default: the last) needs, for each of the platforms. Where it cannot be read, nothing that was built of it is
/// known to be the same.
///
/// # Errors
/// One line: there is no stage, the target is none of them, or FROM is one that BuildKit refuses.
pub fn read(bytes: &[u8], args: &Args, target: Option<&str>, platforms: &[String]) -> Result<Dockerfile, String> {
    let parsed = parser::parse(bytes);
    let mut taken = Taken::default();
    let syntax = match args.get("BUILDKIT_SYNTAX") {
        Some(given) => taken.frontend(given.as_deref()),
        None => parsed.directives.syntax.as_deref().and_then(|syntax| taken.frontend(Some(syntax))),
    };
    let is_foreign = taken.everything;
    let mut unread = parsed.unread.clone();
    let file = File::new(&parsed, &mut unread, args, target);
    match walk(&file, platforms, &mut taken) {
        // Another language has rules of its own.
        Err(why) if is_foreign => drop(unread.get_or_insert(Unread { line: 1, why })),
        Err(why) => {
            return Err(unread.map_or_else(|| why.clone(), |unread| format!("{why} (line {}: {})", unread.line, unread.why)));
        }
        Ok(()) => {}
    }
    if let Some(unread) = &unread {
        taken.never_the_same(format!("line {} cannot be read: {}", unread.line, unread.why));
    }
    let sources = Some(taken.sources).filter(|_| !taken.everything);
    let excludes = sources.iter().flatten().filter(|(_, excludes)| !excludes.is_empty());
    Ok(Dockerfile {
        sha256: hex(&Sha256::digest(bytes)),
        images: taken.images.into_iter().collect(),
        excludes: excludes.map(|(source, excludes)| (source.clone(), excludes.clone())).collect(),
        sources: sources.map(|sources| sources.into_keys().collect()),
        remotes: taken.remotes.into_iter().collect(),
        whole: taken.whole,
        always: taken.always,
        parents: taken.parents,
        onbuild: taken.onbuild,
        installs: taken.installs.into_named(),
        syntax,
        unread,
    })
}

/// Once for each platform, and for each that the node may be of.
fn walk(file: &File<'_>, platforms: &[String], taken: &mut Taken) -> Result<(), String> {
    let default = ["linux/amd64".to_owned()];
    let platforms = if platforms.is_empty() { &default } else { platforms };
    let words = file.globals.iter().map(|arg| arg.text.as_str()).chain(file.stages.iter().map(|stage| stage.base));
    let nodes = predefined::nodes(words, platforms);
    for platform in platforms {
        for node in &nodes {
            file.walk(platform, node, taken)?;
        }
    }
    Ok(())
}

/// Whether a file (relative to the repository) is one that the image is made of; without a Dockerfile, any of the context.
pub fn takes(context: &Utf8Path, dockerfile: Option<&Dockerfile>, content: Option<&Content>, file: &Utf8Path) -> bool {
    let inside = if context == "." { Ok(file) } else { file.strip_prefix(context) };
    let Ok(inside) = inside else { return false };
    // It says what COPY leaves out.
    if inside == ".dockerignore" {
        return true;
    }
    if content.is_some_and(|content| content.ignore.ignores(inside.as_str())) {
        return false;
    }
    let dockerfile = dockerfile.filter(|_| content.is_none_or(|content| content.whole.is_none()));
    let Some((dockerfile, patterns)) = dockerfile.and_then(|read| Some((read, read.sources.as_ref()?))) else { return true };
    patterns.iter().any(|pattern| sources::takes(pattern, dockerfile.excludes.get(pattern), inside.as_str()))
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
