//! Questions to a registry that are asked once and not for long: a run can do without the answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::said::{Said, said};
use super::super::{Digest, Image, crane};
use super::{Live, by_platform};
use crate::cmd::{Cmd, Effect};
use crate::docker;
use crate::plan::labels::MadeOf;

/// How long a registry may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// What a reference points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    Is(Digest),
    /// There is no such image.
    Absent,
    /// The registry does not tell us of this image; it may of others.
    Unknown,
    /// The registry does not answer.
    Silent,
}

/// What is in an image, by its index and configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peeked {
    /// It has ONBUILD steps.
    pub has_triggers: bool,
    pub made_of: MadeOf,
    /// Those that it is for.
    pub platforms: Vec<String>,
}

impl Live {
    pub fn peek(&self, reference: &str) -> Peek {
        let cmd = self.digest_of(Effect::Probe, reference).timeout(LIMIT);
        let Ok(exit) = self.runner.output(&cmd) else { return Peek::Silent };
        if exit.ok() {
            return Digest::parse(exit.stdout.trim()).map_or(Peek::Unknown, Peek::Is);
        }
        match said(&exit.stderr) {
            _ if exit.timed_out => Peek::Silent,
            Said::Absent => Peek::Absent,
            Said::NotLoggedIn | Said::Denied | Said::Unsupported => Peek::Unknown,
            Said::Transient | Said::Other => Peek::Silent,
        }
    }

    /// `None`: that is not known.
    pub fn peek_config(&self, reference: &str) -> Option<Peeked> {
        let ask = |cmd: Cmd| -> Option<Value> {
            let exit = self.runner.output(&cmd.timeout(LIMIT)).ok().filter(|exit| exit.ok())?;
            serde_json::from_str(&exit.stdout).ok()
        };
        if !self.has_crane {
            return peeked(&ask(docker::imagetools_image(Effect::Probe, reference))?, Vec::new());
        }
        let index = by_platform(&ask(crane::manifest(Effect::Probe, reference))?, reference);
        // What an image says of itself is the same for each of its platforms.
        let first = index.first().map_or(reference, |(_, first)| first);
        let config = ask(crane::config(Effect::Probe, first))?;
        peeked(&config, index.into_iter().map(|(platform, _)| platform).collect())
    }
}

/// `said`: one configuration, or a table of them by platform. `platforms` of an index, where it was read.
fn peeked(said: &Value, platforms: Vec<String>) -> Option<Peeked> {
    let configs: Vec<&Value> = match said.get("rootfs") {
        Some(_) => vec![said],
        None => said.as_object()?.values().collect(),
    };
    let platforms = match platforms.is_empty() {
        true => configs.iter().map(|config| Image::from_config(config).platform).filter(|name| is_whole(name)).collect(),
        false => platforms,
    };
    let steps = |config: &&Value| config["config"]["OnBuild"].as_array().is_some_and(|steps| !steps.is_empty());
    let made_of = MadeOf::read(|label| configs.first()?["config"]["Labels"][label].as_str());
    Some(Peeked { has_triggers: configs.iter().any(steps), made_of, platforms })
}

/// A configuration need not say which platform it is for.
fn is_whole(platform: &str) -> bool {
    platform.split('/').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_configuration_or_a_table() {
        let config =
            |arch: &str| json!({ "os": "linux", "architecture": arch, "rootfs": {}, "config": { "OnBuild": ["RUN x"] } });
        let of = |said: &Value, platforms: &[&str]| {
            let found = peeked(said, platforms.iter().map(|name| (*name).to_owned()).collect()).unwrap();
            (found.has_triggers, found.platforms.join(" "))
        };
        assert_eq!(of(&config("amd64"), &[]), (true, "linux/amd64".into()));
        let table = json!({ "linux/amd64": config("amd64"), "linux/arm64": config("arm64") });
        assert_eq!(of(&table, &[]), (true, "linux/amd64 linux/arm64".into()));
        // The index said more than the configuration of its first image.
        assert_eq!(of(&config("amd64"), &["linux/amd64", "linux/arm64"]), (true, "linux/amd64 linux/arm64".into()));
        assert_eq!(of(&json!({ "rootfs": {}, "config": { "OnBuild": ["RUN x"] } }), &[]), (true, String::new()));
        assert_eq!(peeked(&json!([]), Vec::new()), None);
    }
}
