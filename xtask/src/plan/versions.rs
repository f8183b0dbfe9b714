//! The version of a run, and which builds need one.

use anyhow::{Context as _, Result};

use super::select::{is_for, policy_of, subject};
use crate::config::condition::{Condition, selects};
use crate::config::placeholder::{Piece, pieces};
use crate::config::{Build, Config, Policy};
use crate::error::Fault;
use crate::event::Event;
use crate::version::Version;

/// Placeholders that are filled from the version.
const PLACEHOLDERS: [&str; 5] = ["version", "semver", "major", "minor", "patch"];

/// The pushed tag, which equals the version file where there is one; in other events the version file.
///
/// # Errors
/// Usage: the pushed tag is another version, or none. It counts only where a build needs a version, see [`need`].
pub fn version(config: &Config, event: &Event) -> Result<Option<Version>> {
    let from_file = config.version_file.as_ref();
    let Event::Tag { name } = event else { return Ok(from_file.map(|file| file.version.clone())) };
    let parsed = Version::parse(name);
    let leave_out = format!("let [on.tag] leave {name} out, for example with `match = \"v*.*.*\"`");
    match (from_file, parsed) {
        (Some(file), _) if file.version.text == *name => Ok(Some(file.version.clone())),
        (Some(file), parsed) => {
            let (path, text) = (&file.path, &file.version.text);
            let hint = match parsed {
                Ok(_) => format!("write {name} into {path}, commit, and tag that commit; or push the tag {text}"),
                Err(_) => format!("push the tag {text}; or {leave_out}"),
            };
            Err(Fault::usage(format!("the tag is {name}, but {path} says {text}")).hint(hint).into())
        }
        (None, Ok(version)) => Ok(Some(version)),
        (None, Err(error)) => Err(Fault::usage(format!("the tag {error}")).hint(leave_out).into()),
    }
}

/// The first text of a build that can't be filled without a version: a tag of its event, an argument or a label.
pub fn need<'a>(build: &'a Build, policy: &'a Policy) -> Option<&'a str> {
    let needs =
        |text: &&String| pieces(text).iter().any(|piece| matches!(piece, Piece::Name(name) if PLACEHOLDERS.contains(name)));
    policy.tags.iter().chain(build.args.values()).chain(build.labels.values()).find(needs).map(String::as_str)
}

/// Names the build that needs the version which a run does not have.
pub fn needed_by(build: &Build, text: &str) -> String {
    format!("{} needs a version for \"{text}\"", build.id)
}

/// Refuses a pushed tag without a version where a build of its event needs one, before anything is planned.
///
/// # Errors
/// Those of [`version`].
pub fn check_version(config: &Config, event: &Event, only: &[Condition]) -> Result<()> {
    let Err(fault) = version(config, event) else { return Ok(()) };
    for build in &config.builds {
        if let Ok(policy) = policy_of(event, build)
            && is_for(config, policy, build)
            && selects(only, &subject(config, build))
            && let Some(text) = need(build, policy)
        {
            return Err(fault).context(needed_by(build, text));
        }
    }
    Ok(())
}

/// Why no build takes a pushed tag; `None`: another event, or a build takes it.
pub fn why_left_out(config: &Config, event: &Event) -> Option<String> {
    let Event::Tag { name } = event else { return None };
    let mut reasons: Vec<String> = Vec::new();
    for build in &config.builds {
        match policy_of(event, build) {
            Ok(policy) if is_for(config, policy, build) => return None,
            Ok(_) => reasons.push("`only` of on.tag leaves it out".into()),
            Err(reason) => reasons.push(reason),
        }
    }
    reasons.sort();
    reasons.dedup();
    Some(format!("no image takes the tag {name}: {}", reasons.join("; ")))
}
