//! What a tag is: by the templates of the configuration, and by the names that runs give to their own.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::config::placeholder::{Piece, pieces};
use crate::config::{Config, EventKey};
use crate::marks::{self, Mark};
use crate::plan::is_written_once;
use crate::registry::Digest;
use crate::version::Version;

/// What a tag is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Written once, by this template.
    Once { template: String, named: Named },
    /// Of this run.
    Candidate { run: String },
    /// That the tests of an image passed.
    Tested,
    /// That a version is final.
    Released,
    /// Of an index that is being removed: it leads to its images until they are gone.
    Removed,
    /// A signature or an attestation of this image, by the names that cosign and registries without referrers use.
    Of(Digest),
    /// A moving tag, a cache, or somebody else's.
    Other,
}

/// What the text of a tag tells of its age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub version: Option<Version>,
    /// Full, or its first seven digits.
    pub commit: Option<String>,
    /// RFC 3339.
    pub time: Option<String>,
}

impl Named {
    pub fn is_prerelease(&self) -> bool {
        self.version.as_ref().is_some_and(Version::is_prerelease)
    }
}

/// A template of a written-once tag.
#[derive(Clone, Debug)]
struct Template {
    text: String,
    pattern: Regex,
    /// Bytes of it that are no placeholder: of two that fit, the one with more is meant.
    literal: usize,
}

/// Repository, with its registry → the templates of all who publish into it.
#[derive(Clone, Debug, Default)]
pub struct Kinds(BTreeMap<String, Vec<Template>>);

impl Kinds {
    /// Of every event that publishes; repositories of candidates alone have none.
    pub fn of(config: &Config) -> Kinds {
        let mut kinds = Kinds::default();
        for build in config.builds.iter().filter(|build| build.publish && !build.local_only) {
            kinds.0.entry(config.with_target(&build.candidates)).or_default();
            let templates = kinds.0.entry(config.with_target(&build.repository)).or_default();
            let publishes = |event: &EventKey| !matches!(event, EventKey::PullRequest | EventKey::Local);
            let policies = build.on.iter().filter(|policy| publishes(&policy.event));
            for text in policies.flat_map(|policy| &policy.tags).filter(|text| is_written_once(text)) {
                if !templates.iter().any(|known| known.text == *text) {
                    templates.extend(Template::new(text));
                }
            }
        }
        for templates in kinds.0.values_mut() {
            templates.sort_by_key(|template| std::cmp::Reverse(template.literal));
        }
        kinds
    }

    pub fn repositories(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub fn kind(&self, repository: &str, tag: &str) -> Kind {
        match marks::read(tag) {
            Some(Mark::Candidate { run }) => return Kind::Candidate { run },
            Some(Mark::Tested) => return Kind::Tested,
            Some(Mark::Released { .. }) => return Kind::Released,
            Some(Mark::Removed) => return Kind::Removed,
            None => {}
        }
        if let Some(hex) = tag.strip_prefix("sha256-")
            && let Ok(digest) = Digest::parse(&format!("sha256:{}", hex.split('.').next().unwrap_or_default()))
        {
            return Kind::Of(digest);
        }
        let once = |template: &Template| Some(Kind::Once { template: template.text.clone(), named: template.read(tag)? });
        self.0.get(repository).into_iter().flatten().find_map(once).unwrap_or(Kind::Other)
    }
}

/// Whether a tag may come of a template.
pub fn fits(template: &str, tag: &str) -> bool {
    Template::new(template).is_some_and(|template| template.pattern.is_match(tag))
}

impl Template {
    /// `None` where it is no pattern that can be matched; its tags are then nobody's and stay.
    fn new(text: &str) -> Option<Template> {
        let (mut pattern, mut literal, mut seen) = (String::from("^"), 0, Vec::new());
        for piece in pieces(text) {
            match piece {
                Piece::Text(part) | Piece::Escaped(part) => {
                    pattern.push_str(&regex_lite::escape(part));
                    literal += part.len();
                }
                Piece::Name(name) | Piece::Variable(name) => {
                    let part = match name {
                        "sha" => "[0-9a-f]{40}",
                        "sha7" => "[0-9a-f]{7}",
                        "timestamp" => "[0-9]{8}-[0-9]{6}",
                        "date" => "[0-9]{8}",
                        "major" | "minor" | "patch" | "number" => "[0-9]+",
                        _ => "[0-9A-Za-z_.-]+",
                    };
                    // A name may be there twice; the first counts.
                    let named = matches!(name, "sha" | "sha7" | "timestamp" | "version" | "semver") && !seen.contains(&name);
                    seen.push(name);
                    pattern.push_str(&if named { format!("(?P<{name}>{part})") } else { format!("(?:{part})") });
                }
            }
        }
        pattern.push('$');
        Some(Template { text: text.to_owned(), pattern: Regex::new(&pattern).ok()?, literal })
    }

    fn read(&self, tag: &str) -> Option<Named> {
        let found = self.pattern.captures(tag)?;
        let text = |name| found.name(name).map(|part| part.as_str().to_owned());
        let version = match text("version").or_else(|| text("semver")) {
            Some(version) => Some(Version::parse(&version).ok()?),
            None => None,
        };
        Some(Named { version, commit: text("sha").or_else(|| text("sha7")), time: text("timestamp").map(|text| time(&text)) })
    }
}

/// `20261121-092200` → `2026-11-21T09:22:00Z`.
fn time(text: &str) -> String {
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(9, 11), part(11, 13), part(13, 15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::config;

    #[test]
    fn a_rehearsal_cleans_up_what_it_wrote() {
        let mut config = config("[image.i]\n");
        config.rehearsal = Some("localhost:9".into());
        assert_eq!(Kinds::of(&config).repositories().collect::<Vec<_>>(), ["localhost:9/acme/i"]);
    }

    #[test]
    fn tags_as_templates_and_runs_name_them() {
        let kinds = Kinds::of(&config(
            "[axes]\na = ['slim', 'full']\n[image.i]\nrepository = 'acme/i'\nvariant = '{a}'\n\
             on.tag.tags = ['{version}-{a}', '{major}.{minor}-{a}', 'latest-{a}']\n\
             on.branch.main.tags = ['{branch}-{sha7}-{a}', '{a}-{timestamp}', '{a}']\non.manual.tags = ['{a}-{sha}']\n[image.j]\nrepository = 'acme/i'\non.tag.tags = ['{semver}']\n",
        ));
        let repositories: Vec<&String> = kinds.repositories().collect();
        assert_eq!(repositories, ["ghcr.io/acme/i"]);
        let of = |tag: &str| match kinds.kind("ghcr.io/acme/i", tag) {
            Kind::Once { template, named } => {
                let version = named.version.map(|version| version.text);
                let parts = [version, named.commit, named.time].into_iter().flatten();
                format!("{template} {}", parts.collect::<Vec<_>>().join(" "))
            }
            other => format!("{other:?}"),
        };
        let digest = format!("sha256-{}", "0a".repeat(32));
        for (tag, expected) in [
            ("v1.2.3-slim", "{version}-slim v1.2.3"),
            ("v1.2.3-rc1-full", "{version}-full v1.2.3-rc1"),
            // Of no variant.
            ("1.2.3", "{semver} 1.2.3"),
            ("1.2", "Other"),
            ("1.2-slim", "Other"),
            ("latest-slim", "Other"),
            ("main-0123abc-slim", "{branch}-0123abc"),
            ("feature-x-0123abc-full", "{branch}-0123abc"),
            ("slim-20261121-092200", "slim-{timestamp} 2026-11-21T09:22:00Z"),
            ("slim", "Other"),
            ("cache", "Other"),
            ("candidate-0123456789ab-77", "Candidate { run: \"77\" }"),
            ("candidate-0123456789ab-20261121092200", "Candidate { run: \"20261121092200\" }"),
            ("candidate-of-mine", "Other"),
            ("tested-0123456789ab-0123456789ab", "Tested"),
            ("tested-0123456789ab-0123456789ab-linux-arm64", "Tested"),
            ("tested-by-hand", "Other"),
            (&format!("slipway-removed-{}", "0a".repeat(32)), "Removed"),
            ("slipway-removed-by-me", "Other"),
            ("tested-0123456789ab-0123456789ab-0123456789ab-linux-arm64", "Tested"),
            ("released-0123456789ab-v1.2.3", "Released"),
            ("released-v1.2.3", "Other"),
            ("released-yesterday", "Other"),
            (&format!("{digest}.sig"), &format!("Of({:?})", digest.replace('-', ":"))),
            (&digest, &format!("Of({:?})", digest.replace('-', ":"))),
            ("sha256-0a", "Other"),
        ] {
            let kind = of(tag).replace("{branch}-{sha7}-slim ", "{branch}-").replace("{branch}-{sha7}-full ", "{branch}-");
            assert_eq!(kind.replace("Digest(", "").replace("))", ")"), expected, "{tag}");
        }
        assert_eq!(kinds.kind("ghcr.io/acme/other", "v1.2.3-slim"), Kind::Other);
    }
}
