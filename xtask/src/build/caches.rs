//! What became of a build's caches: none there yet, or one that could not be written. Neither fails a build.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::plan::Plan;
use crate::progress::state::State;

/// How the engine calls the steps that we look at; BuildKit's `cache/remotecache` and `solver/llbsolver`.
const IMPORT: &str = "importing cache manifest from ";
const EXPORT: &str = "exporting cache to ";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caches {
    /// References where no cache is yet.
    pub absent: Vec<String>,
    /// Why a cache was not written.
    pub unwritten: Option<String>,
}

/// What the engine told about the caches of a target.
pub fn of(state: &State, at: usize) -> Caches {
    let mut caches = Caches::default();
    for (name, error) in state.errors(at) {
        if let Some(reference) = name.strip_prefix(IMPORT).filter(|_| error.contains("not found")) {
            caches.absent.push(reference.to_owned());
        } else if name.starts_with(EXPORT) {
            caches.unwritten = Some(error.to_owned());
        }
    }
    caches
}

/// For people: one line for all that are absent and not written by this very run, and one for each that was not written.
pub fn notes(plan: &Plan, outcomes: &[Outcome]) -> Vec<String> {
    let writes = |id: &str| plan.builds.iter().any(|build| build.id == id && !build.test.cache_to.is_empty());
    let cold = outcomes.iter().filter(|outcome| !writes(&outcome.id)).flat_map(|outcome| &outcome.caches.absent);
    let cold: Vec<&String> = cold.collect::<BTreeSet<_>>().into_iter().collect();
    let cold = cold.first().map(|first| {
        let more = if cold.len() > 1 { format!(" and {} more", cold.len() - 1) } else { String::new() };
        format!("no cache yet at {first}{more}: runs that publish write it, `cargo xtask plan` says which")
    });
    let unwritten = outcomes.iter().filter_map(|outcome| {
        let why = outcome.caches.unwritten.as_ref()?;
        let denied = ["denied", "403", "401", "unauthorized"].iter().any(|word| why.to_lowercase().contains(word));
        let fix =
            if denied { "; the account must be allowed to write there, in GitHub Actions with `packages: write`" } else { "" };
        Some(format!("warning: {}: cannot write its cache, the next build is slower: {why}{fix}", outcome.id))
    });
    cold.into_iter().chain(unwritten).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn outcome(id: &str, absent: &str, unwritten: Option<&str>) -> Outcome {
        let caches = Caches { absent: vec![absent.into()], unwritten: unwritten.map(str::to_owned) };
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
        assert_eq!(of(&state, 0), Caches { absent: vec!["r/c:a".into()], unwritten: Some("403 Forbidden".into()) });
    }

    #[test]
    fn many_absent_caches_are_one_line_and_those_that_this_run_writes_are_none() {
        let mut writes = build("c");
        writes.test.cache_to = vec!["type=registry,ref=r/c:c".into()];
        let plan = plan(vec![build("a"), build("b"), writes]);
        let outcomes = [outcome("a", "r/c:a", None), outcome("b", "r/c:b", None), outcome("c", "r/c:c", Some("denied"))];
        let notes = notes(&plan, &outcomes);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("no cache yet at r/c:a and 1 more: "), "{notes:?}");
        assert!(
            notes[1].starts_with("warning: c: cannot write its cache") && notes[1].ends_with("`packages: write`"),
            "{notes:?}"
        );
    }
}
