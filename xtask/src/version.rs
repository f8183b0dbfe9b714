//! Versions: SemVer with an optional `v`, and the PEP 440 spellings of pre- and post-releases; the text is kept.

use std::cmp::Ordering;
use std::fmt;

/// A version as somebody wrote it, ordered by precedence: dev < a < b < rc < final < post, numbers as numbers.
///
/// Two spellings of one precedence are ordered by their text, so that `Ord` agrees with `Eq`.
/// Sources: <https://semver.org/#spec-item-11>, <https://peps.python.org/pep-0440/#summary-of-permitted-suffixes-and-relative-ordering>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub text: String,
    release: [u64; 3],
    stage: Stage,
}

/// What follows the three numbers, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// PEP 440 `.devN`
    Dev(u64),
    Pre(Vec<Part>),
    Final,
    /// PEP 440 `.postN`, `-N`
    Post(u64),
}

/// Numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// # Errors
    /// Says what is wrong and what a version looks like; the caller says where it stands.
    pub fn parse(text: &str) -> Result<Version, String> {
        let fault =
            |what: &str| format!("\"{}\" is not a version: {what}; write it like v1.2.3 or v1.2.3-rc.1", text.escape_debug());
        if text.is_empty() {
            return Err("it is empty; write a version like v1.2.3".into());
        }
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (core, build) = bare.split_once('+').map_or((bare, None), |(core, build)| (core, Some(build)));
        if build.is_some_and(|build| build.is_empty() || semver::BuildMetadata::new(build).is_err()) {
            return Err(fault("what follows + may hold letters, digits, - and ."));
        }
        let mut rest = core;
        let mut release = [0; 3];
        for (at, number) in release.iter_mut().enumerate() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (found, after) = rest.split_at(digits);
            if found.is_empty() || (found.len() > 1 && found.starts_with('0')) {
                return Err(fault("it starts with three numbers without leading zeros, separated by dots"));
            }
            *number = found.parse().map_err(|_| fault("a number is too large"))?;
            rest = if at == 2 { after } else { after.strip_prefix('.').ok_or_else(|| fault("three numbers are needed"))? };
        }
        let stage = stage(rest).ok_or_else(|| fault(&format!("cannot read \"{}\"", rest.escape_debug())))?;
        Ok(Version { text: text.to_owned(), release, stage })
    }

    /// A post-release is not one.
    pub fn is_prerelease(&self) -> bool {
        matches!(self.stage, Stage::Dev(_) | Stage::Pre(_))
    }

    pub fn major(&self) -> u64 {
        self.release[0]
    }

    pub fn minor(&self) -> u64 {
        self.release[1]
    }

    pub fn patch(&self) -> u64 {
        self.release[2]
    }

    /// The text without the `v`.
    pub fn semver_text(&self) -> &str {
        self.text.strip_prefix('v').unwrap_or(&self.text)
    }

    /// By precedence only: `v1.0.0` and `1.0.0` are equal.
    pub fn precedence(&self, other: &Version) -> Ordering {
        (self.release, &self.stage).cmp(&(other.release, &other.stage))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.precedence(other).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn stage(rest: &str) -> Option<Stage> {
    if rest.is_empty() {
        return Some(Stage::Final);
    }
    if let Some(stage) = pep440(rest) {
        return Some(stage);
    }
    let text = rest.strip_prefix('-').filter(|text| !text.is_empty())?;
    semver::Prerelease::new(text).ok()?;
    Some(Stage::Pre(text.split('.').flat_map(parts).collect()))
}

/// `rc10`, `.dev1`, `a1`, `.post2`, `-1`; separators and long names as PEP 440 permits them.
fn pep440(rest: &str) -> Option<Stage> {
    let separator = ['.', '-', '_'];
    let text = rest.strip_prefix(separator).unwrap_or(rest);
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, number) = text.split_at(letters);
    let number = number.strip_prefix(separator).unwrap_or(number);
    let number = if number.is_empty() { Some(0) } else { number.parse().ok() };
    let word = word.to_ascii_lowercase();
    // A bare number after a dash is a post-release in PEP 440 and a pre-release in SemVer; SemVer wins.
    let pre = |name: &str| Some(Stage::Pre(vec![Part::Word(name.into()), Part::Number(number?)]));
    match word.as_str() {
        "a" | "alpha" => pre("a"),
        "b" | "beta" => pre("b"),
        "rc" | "c" | "pre" | "preview" => pre("rc"),
        "dev" => Some(Stage::Dev(number?)),
        "post" | "rev" | "r" => Some(Stage::Post(number?)),
        _ => None,
    }
}

/// `rc10` is the word rc and the number 10, so that rc10 comes after rc9.
fn parts(identifier: &str) -> Vec<Part> {
    if let Ok(number) = identifier.parse() {
        return vec![Part::Number(number)];
    }
    let word = identifier.trim_end_matches(|c: char| c.is_ascii_digit());
    match identifier[word.len()..].parse() {
        Ok(number) => vec![Part::Word(word.into()), Part::Number(number)],
        Err(_) => vec![Part::Word(identifier.into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn precedence() {
        let ascending = [
            "v0.1.0.dev1",
            "v0.1.0a1",
            "v0.1.0-alpha.2",
            "0.1.0-beta",
            "v0.1.0rc9",
            "v0.1.0rc10",
            "v0.1.0-rc.11",
            "v0.1.0",
            "v0.1.0.post1",
            "0.2.0-rc.1",
            "0.2.0",
            "0.10.0",
            "v1.0.0-rc",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0-post1",
        ];
        for pair in ascending.windows(2) {
            let (a, b) = (Version::parse(pair[0]).unwrap(), Version::parse(pair[1]).unwrap());
            assert_eq!(a.precedence(&b), Ordering::Less, "{a} < {b}");
        }
    }

    #[test]
    fn pre_and_post_releases() {
        for (text, pre) in [
            ("v1.0.0-rc1", true),
            ("1.0.0a1", true),
            ("1.0.0.dev3", true),
            ("1.0.0", false),
            ("1.0.0.post1", false),
            ("v2.3.1-beta", true),
            ("1.0.0+b", false),
        ] {
            assert_eq!(Version::parse(text).unwrap().is_prerelease(), pre, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_version() {
        for text in [
            "",
            "latest",
            "v1",
            "1.2",
            "v01.2.3",
            "1.2.3\n1.2.4",
            "1.2.3-",
            "1.2.3 ",
            "v1.2.3-rc..1",
            "99999999999999999999.0.0",
            "1.2.3+",
            "1.2.3.4",
        ] {
            let error = Version::parse(text).unwrap_err();
            assert!(error.contains("v1.2.3"), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn order_is_total_and_agrees_with_equality(texts in prop::collection::vec("v?[0-2]\\.[0-2]\\.[0-2](-?(rc|a|post|dev|x)\\.?[0-3])?", 3)) {
            let versions: Vec<Version> = texts.iter().filter_map(|text| Version::parse(text).ok()).collect();
            for a in &versions {
                for b in &versions {
                    prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
                    prop_assert_eq!(a == b, a.cmp(b) == Ordering::Equal);
                    for c in &versions {
                        prop_assert!(!(a < b && b < c) || a < c);
                    }
                }
            }
        }
    }
}
