//! A plan that was made before and handed over with `--plan`: read, and held against the source that is here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use super::Context;
use crate::bases::Bases;
use crate::error::Fault;
use crate::plan::{self, Build, Plan};
use crate::{event, facts};

/// Bytes of a plan.
const LARGEST: u64 = 1 << 28;

/// Reads a plan and checks that it can be one.
///
/// # Errors
/// Usage: not a plan of this program. Refused: one that it would not make.
pub fn load(file: &Utf8Path) -> Result<Plan> {
    let unreadable = || Fault::usage(format!("cannot read the plan {file}"));
    let mut text = String::new();
    File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)).with_context(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(Fault::usage(format!("the plan {file} has more than {LARGEST} bytes")).hint("plan again").into());
    }
    let bad = || Fault::usage(format!("cannot understand the plan {file}")).hint("write it with `cargo xtask plan --json`");
    // Through an object: serde would take an array for a structure, field by field.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).with_context(bad)?;
    let plan: Plan = serde_json::from_value(object.into()).with_context(bad)?;
    if plan.schema != 1 {
        return Err(Fault::usage(format!("the plan {file} has format {}, this program knows 1", plan.schema))
            .hint("plan again")
            .into());
    }
    plan::check(&plan).map_err(|error| Fault::refused(format!("cannot use the plan {file}: {error}")).hint("plan again"))?;
    Ok(plan)
}

impl Context {
    /// A plan names what it builds by the commit: built from anything else, its keys would be lies.
    pub(super) fn refuse_another_source(&self, plan: &Plan) -> Result<()> {
        let (commit, dirty) = facts::checkout(&self.runner, &self.repo);
        self.refuse_commit(plan, &commit)?;
        if plan.publishes && dirty {
            let fault = Fault::refused("the plan publishes, and the working tree has changes that are not committed");
            return Err(fault.hint("commit them and plan again, or put them away with `git stash --include-untracked`").into());
        }
        self.refuse_other_files(plan)
    }

    /// `commit`: that of the source which is here.
    pub(super) fn refuse_commit(&self, plan: &Plan, commit: &Option<String>) -> Result<()> {
        let name = |commit: &Option<String>| commit.as_ref().map_or("no commit".into(), |sha| facts::short(sha, 12).to_owned());
        if *commit == plan.commit {
            return Ok(());
        }
        let fault = Fault::refused(format!("the plan is of {}, and the checkout is at {}", name(&plan.commit), name(commit)));
        Err(fault.hint("check that commit out, or plan again").into())
    }

    /// What git does not see counts too: files that it ignores, and changes of a plan that publishes nothing.
    fn refuse_other_files(&self, plan: &Plan) -> Result<()> {
        let recorded = event::Recorded { event: plan.event.clone(), compare: event::Compare::Nothing, default_branch: None };
        let config = self.config()?;
        let mut facts = self.facts(&recorded)?;
        let plain = plan::plan(config, &plan.event, &facts, &[])?;
        // A base or a published parent with ONBUILD steps makes the whole context count, and only its registry knew.
        let takes_all = |build: &Build| build.inputs.iter().any(|(name, _)| name == "copy:.");
        let ids: BTreeSet<&str> = plan.builds.iter().filter(|build| takes_all(build)).map(|build| build.id.as_str()).collect();
        let whole = config.builds.iter().filter(|build| ids.contains(build.id.as_str()));
        let bases = |build| facts.dockerfile(build).map(|dockerfile| dockerfile.images.clone()).unwrap_or_default();
        // Any tag of a parent's repository will do.
        let parents = |build| config.parents(build).map(|(_, of)| config.with_registry(&of.repository));
        let triggers = whole.flat_map(|build| bases(build).into_iter().chain(parents(build))).collect();
        let with_triggers = match ids.is_empty() {
            true => None,
            false => {
                facts::add_bases(&self.runner, &self.repo, config, &mut facts, Bases { triggers, ..Bases::default() })?;
                Some(plan::plan(config, &plan.event, &facts, &[])?)
            }
        };
        for build in &plan.builds {
            let is_file = |name: &str| name == "dockerfile" || name.starts_with("copy:");
            let now = with_triggers.as_ref().filter(|_| takes_all(build)).unwrap_or(&plain);
            let now = now.builds.iter().find(|other| other.id == build.id);
            let inputs = now.map_or(&[][..], |now| &now.inputs);
            let file = build.inputs.iter().find(|input| is_file(&input.0) && !inputs.contains(input));
            if let Some((name, _)) = file {
                return Err(another("files", name, &build.id));
            }
        }
        Ok(())
    }

    /// The first of the settings of a build that is another one in the configuration that is here. A local run builds
    /// for its machine, which may be another one.
    pub(super) fn another_setting(&self, then: &Build, now: &Build, is_local: bool) -> Option<String> {
        let config = self.config().ok()?.builds.iter().find(|build| build.id == then.id)?;
        let labels = |name: &str| config.labels.contains_key(name);
        let platforms = then.platforms != now.platforms && !is_local;
        let (then, now) = (settings(then, &labels), settings(now, &labels));
        let differs = |name: &&String| then.get(*name) != now.get(*name);
        then.keys().chain(now.keys()).find(differs).cloned().or_else(|| platforms.then(|| "platforms".to_owned()))
    }
}

pub(super) fn another(what: &str, name: &str, id: &str) -> anyhow::Error {
    Fault::refused(format!("the plan is of other {what}: {name} of {id} is not what it was then")).hint("plan again").into()
}

/// What makes a build and its tests, beside files and what registries say: as the key has it, and as it is handed to
/// docker. `labels`: those that somebody wrote.
fn settings(build: &Build, labels: &dyn Fn(&str) -> bool) -> BTreeMap<String, String> {
    const KEYED: [&str; 5] = ["target", "version", "arg", "label", "secret"];
    let keyed = |name: &str| KEYED.contains(&name.split(':').next().unwrap_or_default());
    let mut settings: BTreeMap<String, String> = build.inputs.iter().filter(|(name, _)| keyed(name)).cloned().collect();
    settings.extend(build.args.iter().map(|(name, value)| (format!("args {name}"), value.clone())));
    let labels = build.labels.iter().filter(|(name, _)| labels(name));
    settings.extend(labels.map(|(name, value)| (format!("labels {name}"), value.clone())));
    let text = |value: serde_json::Result<String>| value.unwrap_or_default();
    settings.extend([
        ("context".to_owned(), build.context.clone()),
        ("the path of the Dockerfile".into(), build.dockerfile.clone()),
        ("the target".into(), build.target.clone().unwrap_or_default()),
        ("secrets".into(), text(serde_json::to_string(&build.secrets))),
        ("tests".into(), text(serde_json::to_string(&build.tests))),
    ]);
    settings
}
