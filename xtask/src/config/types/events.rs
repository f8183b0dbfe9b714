//! `[on.EVENT]`: the part of the language that says when something is built, and what is published.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMany;

/// What each event does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Events {
    /// Never pushes.
    pub pull_request: Option<Switch>,
    /// By pattern of the branch's name, or by any name with `match`.
    pub branch: BTreeMap<String, Switch>,
    /// A pushed tag.
    pub tag: Option<Switch>,
    pub schedule: Option<Switch>,
    /// Started by hand.
    pub manual: Option<Switch>,
    /// On your machine; never pushes.
    pub local: Option<Switch>,
}

/// `false` switches the event off (for an image), a table says what it does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Switch {
    Off(bool),
    On(Box<Policy>),
}

/// When a build starts from nothing: `--pull --no-cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FreshWhen {
    #[default]
    Never,
    Always,
    DependenciesChanged,
    BasesChanged,
}

/// `true`, `false`, or the name of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Fresh {
    Flag(bool),
    When(FreshIf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FreshIf {
    DependenciesChanged,
    BasesChanged,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    #[default]
    ReadWrite,
    Read,
    Off,
}

/// The keys of `[on.EVENT]`; which of them an event takes is checked when the file is loaded.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Policy {
    /// Patterns of the branch or tag (GitHub's globs).
    pub r#match: Option<OneOrMany<String>>,
    /// Of a pull request: into which branches. Default: any.
    pub branches: Option<Vec<String>>,
    /// Changed files that select the image. Default: what it is made of, or its parent is built.
    pub paths: Option<Vec<String>>,
    /// Changed files that do not count; alone, all others do.
    pub paths_ignore: Option<Vec<String>>,
    /// Conditions: only these builds.
    pub only: Option<Vec<String>>,
    /// Default: the image's.
    pub platforms: Option<Vec<String>>,
    /// Default false; true: `--pull --no-cache`.
    pub fresh: Option<Fresh>,
    /// Default "read-write"; of a local run "read".
    pub cache: Option<CacheMode>,
    /// Written once with {version}, {semver}, {sha}, {sha7} or {timestamp}; every other one moves: with {branch} it follows
    /// the branch, else it goes forward only. []: build and test only.
    pub tags: Option<Vec<String>>,
    /// Reads the inline cache of the images with these tags, and makes them carry it.
    pub cache_from_tags: Option<Vec<String>>,
    /// "0 3 * * 0"; GitHub reads it in the workflow, so say it there too.
    pub cron: Option<OneOrMany<String>>,
    /// Default false; true: a fresh build of the same version's source takes a written-once tag over.
    pub replace: Option<bool>,
    /// The checkbox that makes a run fresh. Default "rebuild".
    pub rebuild_input: Option<String>,
}
