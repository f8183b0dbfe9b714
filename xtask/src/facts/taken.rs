//! What the steps of a Dockerfile take, put together: images, sources, downloads, and what cannot be known of them.

use std::collections::{BTreeMap, BTreeSet};

use super::flags::Flags;
use super::ignore::Ignore;
use super::installs::Installs;
use super::sources;
use super::words::Gap;

/// Patterns of `--exclude` times sources of one step; beyond that everything counts.
const MOST_EXCLUDES: usize = 100_000;

/// What was found so far.
#[derive(Default)]
pub struct Taken {
    pub images: BTreeSet<String>,
    /// Source → what is left out of it.
    pub sources: BTreeMap<String, Ignore>,
    pub remotes: BTreeSet<String>,
    /// Something takes the whole context, or it cannot be known what it takes; then `whole` says why.
    pub everything: bool,
    pub whole: Option<String>,
    pub always: Option<String>,
    pub parents: bool,
    pub onbuild: bool,
    pub installs: Installs,
}

impl Taken {
    /// The image that reads the Dockerfile, by `# syntax=` or `BUILDKIT_SYNTAX`; behind it may stand arguments. `text` is
    /// `None` where it is not known yet.
    pub fn frontend(&mut self, text: Option<&str>) -> Option<String> {
        let Some(text) = text else {
            self.never_the_same("BUILDKIT_SYNTAX is not known before the build".into());
            return None;
        };
        // That one is BuildKit's own.
        let image = text.split_whitespace().next().filter(|image| *image != "dockerfile.v0")?;
        // Another language may take anything.
        if !is_dockerfile(image) {
            self.all(format!("# syntax={image} is not known"));
        }
        self.images.insert(image.to_owned());
        Some(image.to_owned())
    }

    /// Neither the files that it takes nor the images are all known.
    pub fn never_the_same(&mut self, why: String) {
        self.always.get_or_insert(why.clone());
        self.all(why);
    }

    /// What a step leaves out of each of its sources.
    pub fn excludes(flags: &Flags, sources: usize) -> Ignore {
        let is_much = flags.all("exclude").count().saturating_mul(sources) > MOST_EXCLUDES;
        if is_much { Ignore::default() } else { flags.excludes() }
    }

    pub fn source(&mut self, word: Result<String, Gap>) {
        self.source_without(word, &Ignore::default());
    }

    /// A source of which `--exclude` leaves something out.
    pub fn source_without(&mut self, word: Result<String, Gap>, excludes: &Ignore) {
        match word.map(|source| sources::clean(&source)) {
            Ok(None) if excludes.is_empty() => self.everything = true,
            Ok(source) => {
                let source = source.unwrap_or_else(|| sources::ALL.to_owned());
                let known = self.sources.entry(source).or_insert_with(|| excludes.clone());
                if known != excludes {
                    *known = Ignore::default();
                }
            }
            Err(gap) => self.all(format!("{} is not known before the build", gap.what)),
        }
    }

    pub fn all(&mut self, why: String) {
        self.everything = true;
        self.whole.get_or_insert(why);
    }

    /// A source of ADD. Its content is that of another time unless the Dockerfile says which it has to be.
    pub fn add(&mut self, word: Result<String, Gap>, fixed: bool, excludes: &Ignore) {
        match &word {
            Ok(source) if is_remote(source) => {
                if !fixed && !names_commit(source) {
                    self.always.get_or_insert(format!("ADD {source} has no checksum"));
                }
                self.remotes.insert(source.clone());
            }
            Ok(_) => self.source_without(word, excludes),
            Err(gap) => {
                self.always.get_or_insert(format!("ADD may download what {} says", gap.what));
                self.source(word);
            }
        }
    }
}

/// `https://…`, `git@host:path`; of another scheme it is a path.
fn is_remote(source: &str) -> bool {
    if let Some((scheme, _)) = source.split_once("://") {
        return ["http", "https", "git", "ssh"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    }
    let scp = source.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
    scp.is_some_and(|(user, host)| !user.contains('/') && !host.contains('/'))
}

/// `….git#COMMIT`, `….git#COMMIT:folder`: full, because a short one may become another's beginning.
fn names_commit(source: &str) -> bool {
    let commit = source.rsplit_once('#').map(|(_, fragment)| fragment.split(':').next().unwrap_or(fragment));
    let address = source.split('#').next().unwrap_or_default().to_ascii_lowercase();
    let is_git = address.ends_with(".git") || !address.starts_with("http");
    is_git && commit.is_some_and(|commit| [40, 64].contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_dockerfile(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let rest = image.strip_prefix("docker/dockerfile").map(|rest| rest.strip_prefix("-upstream").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}
