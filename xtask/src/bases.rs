//! The digests of images that builds start from, asked of their registries once for a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use camino::Utf8Path;

use crate::docker::familiar;
use crate::exec::Runner;
use crate::plan::labels::MadeOf;
use crate::registry::{AT_ONCE, Live, Peek, Peeked, split};
use crate::{files, parallel};

/// How many digests are remembered; beyond that, those of the last run alone.
const KEPT: usize = 4096;

/// What registries say of the images that builds start from.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    /// Reference → digest; `None`: its registry has no such image. What is not known is left out.
    pub digests: BTreeMap<String, Option<String>>,
    /// Those with ONBUILD steps, or of which that is not known.
    pub triggers: BTreeSet<String>,
    /// Reference → what it was made of, by its labels.
    pub made_of: BTreeMap<String, MadeOf>,
    /// Reference → its platforms.
    pub platforms: BTreeMap<String, Vec<String>>,
}

impl Bases {
    /// Takes over what was said of further images.
    pub fn extend(&mut self, more: Bases) {
        self.digests.extend(more.digests);
        self.triggers.extend(more.triggers);
        self.made_of.extend(more.made_of);
        self.platforms.extend(more.platforms);
    }
}

/// Asks for each reference as written in FROM. `mirror` answers for docker.io (the sandbox's registry).
///
/// A registry that does not answer once is not asked again: the digests of the others, and of nothing, are still right.
/// What a digest says never changes: it is kept in `memory`, a file that may be lost.
pub fn look(runner: &Runner, references: &BTreeSet<String>, mirror: Option<&str>, memory: &Utf8Path) -> Bases {
    let registry = Live::new(runner);
    let known: BTreeMap<String, Peeked> =
        std::fs::read_to_string(memory).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let silent: Mutex<BTreeSet<String>> = Mutex::default();
    let ask = |reference: &String| {
        let asked = mirror.map_or_else(|| reference.clone(), |mirror| mirrored(reference, mirror));
        let host = asked.split('/').next().unwrap_or_default().to_owned();
        if silent.lock().is_ok_and(|silent| silent.contains(&host)) {
            return None;
        }
        let digest = match registry.peek(&asked) {
            Peek::Is(digest) => Some(digest.to_string()),
            Peek::Absent => None,
            Peek::Unknown => return None,
            Peek::Silent => {
                silent.lock().ok()?.insert(host);
                return None;
            }
        };
        let says = digest.as_ref().map(|digest| {
            let pinned = || format!("{}@{digest}", split(asked.split('@').next().unwrap_or(&asked)).0);
            known.get(digest).cloned().or_else(|| registry.peek_config(&pinned()))
        });
        Some((reference.clone(), digest, says))
    };
    let (mut bases, mut seen) = (Bases::default(), BTreeMap::new());
    for (reference, digest, says) in parallel::map(AT_ONCE, references.iter().collect(), ask).into_iter().flatten() {
        if says.as_ref().is_some_and(|says| says.as_ref().is_none_or(|says| says.has_triggers)) {
            bases.triggers.insert(reference.clone());
        }
        if let (Some(says), Some(digest)) = (says.flatten(), &digest) {
            bases.made_of.insert(reference.clone(), says.made_of.clone());
            bases.platforms.insert(reference.clone(), says.platforms.clone());
            seen.insert(digest.clone(), says);
        }
        bases.digests.insert(reference, digest);
    }
    let is_new = seen.keys().any(|digest| !known.contains_key(digest));
    if known.len() < KEPT {
        seen.extend(known);
    }
    if is_new && let Ok(text) = serde_json::to_string(&seen) {
        // Lost, it only costs the next run some questions.
        let _ = files::write(memory, &text);
    }
    bases
}

/// Where a mirror has an image of docker.io: `python:3.11` is `localhost:5000/library/python:3.11`.
fn mirrored(reference: &str, mirror: &str) -> String {
    let name = familiar(reference);
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("{mirror}/{name}"),
        None => format!("{mirror}/library/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_stands_for_docker_io_alone() {
        for (reference, asked) in [
            ("python:3.11-slim", "m:1/library/python:3.11-slim"),
            ("docker.io/library/debian:12", "m:1/library/debian:12"),
            ("grafana/grafana", "m:1/grafana/grafana"),
            ("ghcr.io/acme/base:1", "ghcr.io/acme/base:1"),
            ("localhost:5000/acme/base", "localhost:5000/acme/base"),
        ] {
            assert_eq!(mirrored(reference, "m:1"), asked);
        }
    }
}
