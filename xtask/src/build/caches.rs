//! What became of a build's caches: none there yet, or one that could not be read or written. None of it fails a build.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::plan::Plan;
use crate::progress::state::State;
use crate::registry::said::is_refused;

/// How the engine calls the steps that we look at; BuildKit's `cache/remotecache` and `solver/llbsolver`.
const IMPORT: &str = "importing cache manifest from ";
const EXPORT: &str = "exporting cache to ";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caches {
    /// References where no cache is yet.
    pub absent: Vec<String>,
    /// References that may not be read as who we are.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Why a cache was not written.
    pub unwritten: Option<String>,
}

/// What the engine told about the caches of a target.
pub fn of(state: &State, at: usize) -> Caches {
    let mut caches = Caches::default();
    for (name, error) in state.errors(at) {
        if let Some(reference) = name.strip_prefix(IMPORT) {
            if error.contains("not found") {
                caches.absent.push(reference.to_owned());
            } else if is_refused(error) {
                caches.refused.push(reference.to_owned());
            }
        } else if name.starts_with(EXPORT) {
            caches.unwritten = Some(error.to_owned());
        }
    }
    caches
}

/// For people: one line for all that are absent and not written by this very run, one for all that may not be read, and
/// one for each that was not written.
pub fn notes(plan: &Plan, outcomes: &[Outcome]) -> Vec<String> {
    let writes = |id: &str| plan.builds.iter().any(|build| build.id == id && !build.test.cache_to.is_empty());
    let cold = outcomes.iter().filter(|outcome| !writes(&outcome.id)).flat_map(|outcome| &outcome.caches.absent);
    let cold =
        several(cold).map(|cold| format!("no cache yet at {cold}: runs that publish write it, `cargo xtask plan` says which"));
    let refused = several(outcomes.iter().flat_map(|outcome| &outcome.caches.refused)).map(|refused| {
        format!("warning: cannot read the cache at {refused}: not logged in, or not as one who may; run `cargo xtask login`")
    });
    let unwritten = outcomes.iter().filter_map(|outcome| {
        let why = outcome.caches.unwritten.as_ref()?;
        let fix = if is_refused(why) {
            "; the account must be allowed to write there, in GitHub Actions with `packages: write`"
        } else {
            ""
        };
        Some(format!("warning: {}: cannot write its cache, the next build is slower: {why}{fix}", outcome.id))
    });
    cold.into_iter().chain(refused).chain(unwritten).collect()
}

/// "r/c:a and 2 more"
fn several<'a>(references: impl Iterator<Item = &'a String>) -> Option<String> {
    let all: BTreeSet<&String> = references.collect();
    let more = if all.len() > 1 { format!(" and {} more", all.len() - 1) } else { String::new() };
    all.first().map(|first| format!("{first}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn outcome(id: &str, absent: &str, unwritten: Option<&str>) -> Outcome {
        let caches = Caches { absent: vec![absent.into()], refused: Vec::new(), unwritten: unwritten.map(str::to_owned) };
        Outcome { id: id.into(), caches, ..Outcome::default() }
    }

    #[test]
    fn what_the_engine_says_of_caches() {
        let mut state = State::new(["a"]);
        let line = |digest: &str, name: &str, error: &str| {
            format!(r#"{{"vertexes":[{{"digest":"{digest}","name":"{name}","started":"t","completed":"t","error":"{error}"}}]}}"#)
        };
        state.feed(&line("1", "importing cache manifest from r/c:a", "r/c:a: not found"));
        state.feed(&line("2", "importing cache manifest from r/c:b", "no route to host"));
        state.feed(&line("3", "exporting cache to registry", "403 Forbidden"));
        state.feed(&line("4", "[2/2] RUN false", "exit code: 1"));
        let refused = "failed to configure registry cache importer: unexpected status from HEAD request to http://r/v2/c/manifests/d: 401 Unauthorized";
        state.feed(&line("5", "importing cache manifest from r/c:d", refused));
        let (absent, refused) = (vec!["r/c:a".into()], vec!["r/c:d".into()]);
        assert_eq!(of(&state, 0), Caches { absent, refused, unwritten: Some("403 Forbidden".into()) });
    }

    #[test]
    fn many_absent_caches_are_one_line_and_those_that_this_run_writes_are_none() {
        let mut writes = build("c");
        writes.test.cache_to = vec!["type=registry,ref=r/c:c".into()];
        let plan = plan(vec![build("a"), build("b"), writes]);
        let mut outcomes =
            [outcome("a", "r/c:a", None), outcome("b", "r/c:b", None), outcome("c", "r/c:c", Some("403 Forbidden"))];
        outcomes[2].caches.refused = vec!["r/c:d".into()];
        let mut notes = notes(&plan, &outcomes);
        assert_eq!(notes.len(), 3, "{notes:?}");
        let refused = notes.remove(1);
        assert!(refused.starts_with("warning: cannot read the cache at r/c:d: not logged in"), "{refused}");
        assert!(notes[0].starts_with("no cache yet at r/c:a and 1 more: "), "{notes:?}");
        assert!(
            notes[1].starts_with("warning: c: cannot write its cache") && notes[1].ends_with("`packages: write`"),
            "{notes:?}"
        );
    }
}
