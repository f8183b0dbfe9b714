//! A plan that was made before and handed over with `--plan`: read, and held against the source that is here.

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use super::Context;
use crate::error::Fault;
use crate::plan::{self, Plan};
use crate::{event, facts};

/// Reads a plan and checks that it can be one.
///
/// # Errors
/// Usage: not a plan of this program.
pub fn load(file: &Utf8Path) -> Result<Plan> {
    let text = std::fs::read_to_string(file).with_context(|| Fault::usage(format!("cannot read the plan {file}")))?;
    let bad = || Fault::usage(format!("cannot understand the plan {file}")).hint("write it with `cargo xtask plan --json`");
    // Through an object: serde would take an array for a structure, field by field.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).with_context(bad)?;
    let plan: Plan = serde_json::from_value(object.into()).with_context(bad)?;
    if plan.schema != 1 {
        return Err(Fault::usage(format!("the plan {file} has format {}, this program knows 1", plan.schema))
            .hint("plan again")
            .into());
    }
    plan::check(&plan).map_err(|error| Fault::usage(format!("cannot use the plan {file}: {error}")).hint("plan again"))?;
    Ok(plan)
}

impl Context {
    /// A plan names what it builds by the commit: built from anything else, its keys would be lies.
    pub(super) fn refuse_another_source(&self, plan: &Plan) -> Result<()> {
        let (commit, dirty) = facts::checkout(&self.runner, &self.repo);
        let name = |commit: &Option<String>| commit.as_ref().map_or("no commit".into(), |sha| facts::short(sha, 12).to_owned());
        if commit != plan.commit {
            let fault =
                Fault::refused(format!("the plan is of {}, and the checkout is at {}", name(&plan.commit), name(&commit)));
            return Err(fault.hint("check that commit out, or plan again").into());
        }
        if plan.publishes && dirty {
            let fault = Fault::refused("the plan publishes, and the working tree has changes that are not committed");
            return Err(fault.hint("commit them and plan again, or put them away with `git stash --include-untracked`").into());
        }
        self.refuse_other_files(plan)
    }

    /// What git does not see counts too: files that it ignores, and changes of a plan that publishes nothing.
    fn refuse_other_files(&self, plan: &Plan) -> Result<()> {
        let recorded = event::Recorded { event: plan.event.clone(), compare: event::Compare::Nothing, default_branch: None };
        let now = plan::plan(self.config()?, &plan.event, &self.facts(&recorded)?, &[])?;
        for build in &plan.builds {
            let is_file = |name: &str| name == "dockerfile" || name.starts_with("copy:");
            let now = now.builds.iter().find(|other| other.id == build.id).map_or(&[][..], |other| &other.inputs);
            if let Some((name, _)) = build.inputs.iter().find(|input| is_file(&input.0) && !now.contains(input)) {
                let fault = Fault::refused(format!("the plan is of other files: {name} of {} is not what it was then", build.id));
                return Err(fault.hint("plan again").into());
            }
        }
        Ok(())
    }
}
