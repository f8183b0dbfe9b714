//! The checks that need images: which ones run, what they need, and running them one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::check::Outcome;
use super::log::Log;
use super::stack::{self, Stack};
use super::{compose, images, junit, within};
use crate::build::FOLDER;
use crate::config::{Config, suggest};
use crate::error::Fault;
use crate::exec::Runner;
use crate::facts::working::Seen;
use crate::files;
use crate::plan::{Check, Plan, shorten};

/// A check that can run.
pub enum Ready<'a> {
    /// With `build:ID` or the reference of a published image.
    Within(&'a Check, &'a str),
    Composed(&'a Check, Box<Stack<'a>>),
}

impl<'a> Ready<'a> {
    fn check(&self) -> &'a Check {
        match self {
            Ready::Within(check, _) | Ready::Composed(check, _) => check,
        }
    }

    /// The builds whose images it runs.
    pub fn builds(&self) -> Vec<&str> {
        match self {
            Ready::Within(check, _) => check.build().into_iter().collect(),
            Ready::Composed(_, stack) => stack.builds().collect(),
        }
    }
}

/// # Errors
/// Usage: a name that no check has, or only one that needs no image.
pub fn known(config: &Config, names: &[String]) -> Result<()> {
    let needs_image = |name: &&String| config.checks[*name].r#in.is_some() || config.checks[*name].compose.is_some();
    let Some(name) = names.iter().find(|name| !config.checks.get_key_value(*name).is_some_and(|(name, _)| needs_image(&name)))
    else {
        return Ok(());
    };
    if config.checks.contains_key(name) {
        let fault = Fault::usage(format!("check {name} needs no image: it runs on this machine"));
        return Err(fault.hint("run `cargo xtask static-checks`").into());
    }
    let all = config.checks.keys().filter(needs_image).map(String::as_str);
    Err(Fault::usage(format!("no check is called {name} ({})", suggest(name, all))).into())
}

/// The checks of a plan that need images; `names`: only these.
///
/// # Errors
/// Usage: a name that is not among them.
pub fn chosen<'a>(plan: &'a Plan, names: &[String]) -> Result<Vec<&'a Check>> {
    let all: Vec<&Check> = plan.checks.iter().filter(|check| !check.is_static()).collect();
    if let Some(name) = names.iter().find(|name| !all.iter().any(|check| check.name == **name)) {
        let known: Vec<&str> = all.iter().map(|check| check.name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("there are {}", known.join(", ")) };
        return Err(Fault::usage(format!("no check of this plan is called {name}: {known}")).into());
    }
    Ok(all.into_iter().filter(|check| names.is_empty() || names.contains(&check.name)).collect())
}

/// Where checks run: what is checked, and whose it is.
pub struct Place<'a> {
    /// The source of the plan.
    pub root: &'a Utf8Path,
    pub checkout: &'a Utf8Path,
}

/// Finds what checks need: docker compose, what compose files say, published images.
///
/// # Errors
/// Those of [`stack::is_ready`], [`stack::read`] and [`images::published`].
pub fn prepare<'a>(
    runner: &Runner,
    config: &Config,
    plan: &'a Plan,
    checks: &[&'a Check],
    place: &Place<'_>,
) -> Result<Vec<Ready<'a>>> {
    if checks.iter().any(|check| check.compose.is_some()) {
        stack::is_ready(runner)?;
    }
    let mut ready = Vec::new();
    for check in checks {
        if let Some(image) = check.r#in.as_deref() {
            if check.build().is_none() {
                images::published(runner, check, image)?;
            }
            ready.push(Ready::Within(check, image));
        } else if let Some(stack) = stack::read(runner, config, plan, check, place)? {
            ready.push(Ready::Composed(check, Box::new(stack)));
        }
    }
    Ok(ready)
}

/// Runs them all. They are never skipped because they passed before: they check the working tree too. One that changes a
/// file of the commit fails, whatever it says itself: what was built and tested is not what is there then. After one that
/// did so in the tree itself nothing else runs.
///
/// # Errors
/// The engine does not answer, a log cannot be written, or we were interrupted.
pub fn run(runner: &Runner, checks: &[Ready<'_>], place: &Place<'_>, images: &BTreeMap<String, String>) -> Result<Vec<Outcome>> {
    let mut all = Vec::new();
    let mut is_changed = false;
    for ready in checks {
        let check = ready.check();
        if is_changed {
            all.extend(check.run.iter().map(|command| Outcome::new(check, command)));
            continue;
        }
        let name = Utf8PathBuf::from(format!("{FOLDER}/logs/check-{}.log", compose::plain(&check.name)));
        let path = place.checkout.join(&name);
        let log = &mut Log::create(runner, place.checkout, &path)?;
        let mut outcomes = match ready {
            Ready::Within(_, image) => {
                let ours = check.build().and_then(|id| images.get(id)).map(String::as_str);
                within::run(runner, check, ours.unwrap_or(image), place, log)?
            }
            Ready::Composed(_, stack) => {
                let seen = Seen::new(runner, place.root)?;
                let mut outcomes = stack.run(runner, images, &seen, place, log)?;
                let change = changed(check, Instant::now(), Ok(seen.differing()));
                is_changed = change.is_some();
                outcomes.extend(change);
                outcomes
            }
        };
        outcomes.iter_mut().for_each(|outcome| outcome.log = Some(name.to_string()));
        let cases: Vec<junit::Case> = outcomes.iter().filter(|outcome| outcome.passed.is_some()).map(case).collect();
        if !cases.is_empty() {
            let path = path.with_extension("xml");
            files::write(&path, &junit::xml(&check.name, &cases))?;
        }
        all.extend(outcomes);
    }
    Ok(all)
}

/// The failure of a check after which these files are not what they were, or of which that cannot be told.
pub fn changed(check: &Check, started: Instant, files: Result<Vec<String>, String>) -> Option<Outcome> {
    let reason = match files {
        Ok(files) if files.is_empty() => return None,
        Ok(files) => {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            format!("it changed {}: what was built and tested is not what is there now", shorten(&files))
        }
        Err(reason) => reason,
    };
    let mut outcome = Outcome { may_fail: false, ..Outcome::new(check, "leaves the files of the commit alone") };
    outcome.end(started, Some(Err(reason)));
    Some(outcome)
}

fn case(outcome: &Outcome) -> junit::Case {
    let failure = outcome.reason.clone().map(|reason| (reason, outcome.tail.join("\n")));
    junit::Case { name: outcome.command.clone(), seconds: outcome.seconds, failure }
}

/// The builds whose images checks run.
pub fn builds<'a>(checks: &'a [Ready<'_>]) -> BTreeSet<&'a str> {
    checks.iter().flat_map(Ready::builds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::plan;

    #[test]
    fn names_of_checks() {
        let check = |name: &str, place: Option<&str>| Check {
            name: name.into(),
            r#in: place.map(str::to_owned),
            run: vec!["true".into()],
            compose: None,
            services: Vec::new(),
            may_fail: false,
            timeout: 1,
        };
        let mut plan = plan(Vec::new());
        plan.checks = vec![check("lint", Some("r/ci")), check("static", None), check("test", Some("r/ci"))];
        let names = |names: &[&str]| -> Result<Vec<String>> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Ok(chosen(&plan, &names)?.into_iter().map(|check| check.name.clone()).collect())
        };
        assert_eq!(names(&[]).unwrap(), ["lint", "test"]);
        assert_eq!(names(&["test"]).unwrap(), ["test"]);
        assert_eq!(names(&["tests"]).unwrap_err().to_string(), "no check of this plan is called tests: there are lint, test");
    }
}
