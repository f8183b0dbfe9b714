//! The tags that runs leave for themselves in a repository, spelled and read here and nowhere else.
//!
//! Several builds may share a repository, so each of these tags carries its build: the key of a build contains its id,
//! and the mark of a release has a hash of that.
//!
//! | tag | points at |
//! |---|---|
//! | `candidate-KEY-RUN` | the image that this run built, or took over |
//! | `tested-KEY-TESTS` | the image of this key that passed these tests last: here reuse looks |
//! | `tested-KEY-TESTS-DIGEST` | this very image, which passed them |
//! | `tested-KEY-TESTS-DIGEST-PLATFORM` | the same, which passed them on this platform |
//! | `released-BUILD-VERSION` | the image of a version that is final |
//! | `slipway-removed-DIGEST` | an index that is being removed |
//!
//! KEY, TESTS, DIGEST and BUILD are 12 hexadecimal digits. A mark of an image always points at the same image, so that
//! runs at the same time take nothing from each other.

use crate::facts::{digest as hash, short};
use crate::registry::{Digest, split};
use crate::version::Version;

const CANDIDATE: &str = "candidate-";
const TESTED: &str = "tested-";
const RELEASED: &str = "released-";
const REMOVED: &str = "slipway-removed-";

/// Hexadecimal digits of a hash that a tag has.
const DIGITS: usize = 12;

/// As long as a tag may be.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
const LENGTH: usize = 128;

/// What a tag of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of this run.
    Candidate { run: String },
    /// That the tests of an image passed.
    Tested,
    /// That a version of a build is final. `build`: see [`build`].
    Released { build: String, version: Version },
    /// Of an index that is being removed: it leads to its images until they are gone.
    Removed,
}

/// What a tag says, without its repository; `None`: it is not one of ours.
pub fn read(tag: &str) -> Option<Mark> {
    if let Some((key, run)) = tag.strip_prefix(CANDIDATE).and_then(|rest| rest.split_once('-')) {
        return (is_hex(key, DIGITS) && !run.is_empty()).then(|| Mark::Candidate { run: run.to_owned() });
    }
    if let Some((key, tests)) = tag.strip_prefix(TESTED).and_then(|rest| rest.split_once('-')) {
        let tests = tests.split('-').next().unwrap_or_default();
        return (is_hex(key, DIGITS) && is_hex(tests, DIGITS)).then_some(Mark::Tested);
    }
    if let Some((build, version)) = tag.strip_prefix(RELEASED).and_then(|rest| rest.split_once('-')) {
        let version = Version::parse(&version.replace("__", "+")).ok().filter(|_| is_hex(build, DIGITS))?;
        return Some(Mark::Released { build: build.to_owned(), version });
    }
    tag.strip_prefix(REMOVED).is_some_and(|digits| is_hex(digits, 64)).then_some(Mark::Removed)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where a run pushes what it builds, before it is tested.
pub fn candidate(repository: &str, key: &str, run: &str) -> String {
    format!("{repository}:{CANDIDATE}{}-{run}", short(key, DIGITS))
}

/// The candidate of some platforms of a build, which another builder makes. `platforms`: as they stand in ids.
pub fn part(candidate: &str, platforms: &str) -> String {
    let is_long = split(candidate).1.len() + 1 + platforms.len() > LENGTH;
    let hashed = is_long.then(|| hash(&[platforms]));
    format!("{candidate}-{}", hashed.as_deref().map_or(platforms, |hashed| short(hashed, DIGITS)))
}

/// What identifies the run of a candidate.
pub fn run_of(candidate: &str) -> Option<&str> {
    split(candidate).1.strip_prefix(CANDIDATE)?.split_once('-').map(|(_, run)| run)
}

/// The mark of a key and its tests, on the image that passed last.
pub fn tested(repository: &str, key: &str, tests: &str) -> String {
    format!("{repository}:{TESTED}{}-{}", short(key, DIGITS), short(tests, DIGITS))
}

/// The same mark of another key. `None`: `tested` is no such mark.
pub fn of_another_key(tested: &str, key: &str) -> Option<String> {
    let (repository, tag) = split(tested);
    let (_, tests) = tag.strip_prefix(TESTED)?.split_once('-')?;
    Some(self::tested(repository, key, tests))
}

/// Beside the mark of a key, that of one of its images.
pub fn of_image(tested: &str, image: &Digest) -> String {
    format!("{tested}-{}", short(image.hex(), DIGITS))
}

/// Beside the mark of an image for several platforms, that of one on which its tests passed.
pub fn on_platform(tested: &str, image: &Digest, platform: &str) -> String {
    format!("{}-{}", of_image(tested, image), platform.replace('/', "-"))
}

/// The mark that a version's own run leaves. A tag takes no `+`, and a version that is too long says nothing to others.
pub fn released(repository: &str, id: &str, version: &str) -> String {
    let build = build(id);
    let text = version.replace('+', "__");
    let is_long = RELEASED.len() + build.len() + 1 + text.len() > LENGTH;
    let text = if is_long { hash(&[&text]) } else { text };
    format!("{repository}:{RELEASED}{build}-{text}")
}

/// What stands for a build: its id may have any characters, and any length.
pub fn build(id: &str) -> String {
    short(&hash(&[id]), DIGITS).to_owned()
}

/// The tag of an index that is being removed.
pub fn removed(repository: &str, index: &Digest) -> String {
    format!("{repository}:{REMOVED}{}", index.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::names::is_tag;
    use crate::registry::memory::d;

    fn tag(reference: &str) -> &str {
        split(reference).1
    }

    #[test]
    fn what_is_spelled_is_read() {
        let (key, tests) = ("0123456789abcdef", "fedcba9876543210");
        let tested = tested("r:5000/a", key, tests);
        assert_eq!(tested, "r:5000/a:tested-0123456789ab-fedcba987654");
        let digits = format!("{:012x}", 7);
        assert_eq!(of_image(&tested, &d(7)), format!("{tested}-{digits}"));
        let platform = on_platform(&tested, &d(7), "linux/arm/v7");
        assert_eq!(platform, format!("{tested}-{digits}-linux-arm-v7"));
        for mark in [&tested, &of_image(&tested, &d(7)), &platform] {
            assert_eq!(read(tag(mark)), Some(Mark::Tested), "{mark}");
        }
        assert_eq!(of_another_key(&tested, "aaaaaaaaaaaaaaaa").unwrap(), "r:5000/a:tested-aaaaaaaaaaaa-fedcba987654");
        let candidate = candidate("r:5000/a", key, "c0ffee_12");
        assert_eq!(read(tag(&candidate)), Some(Mark::Candidate { run: "c0ffee_12".into() }));
        assert_eq!(run_of(&candidate), Some("c0ffee_12"));
        assert_eq!(read(tag(&removed("r/a", &d(1)))), Some(Mark::Removed));
        for other in ["latest", "tested-by-hand", "candidate-of-mine", "released-yesterday", "slipway-removed-by-me", "tested-"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn every_version_and_every_build_has_a_mark_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        let long = format!("v1.0.0-{}", "x".repeat(150));
        for id in ["go-1.21", "go-1.21-full", "go/odd id+ü", &"x".repeat(300)] {
            for version in ["v1.2.3", "1.2.3", "v1.2.3+a", "v1.2.3+b", "v1.2.3-rc.1", "1.2.3.post1", &long] {
                let mark = released("r/a", id, version);
                assert!(is_tag(tag(&mark)) && seen.insert(mark.clone()), "{mark}");
                let expected = Mark::Released { build: build(id), version: Version::parse(version).unwrap() };
                assert!(version.len() > 100 || read(tag(&mark)) == Some(expected), "{mark}: {:?}", read(tag(&mark)));
            }
        }
    }

    #[test]
    fn a_part_of_many_platforms_is_a_tag() {
        let candidate = candidate("r/a", &"0".repeat(64), "19283746556");
        assert!(part(&candidate, "linux-arm64").ends_with("-19283746556-linux-arm64"));
        let many = crate::config::names::PLATFORMS.map(|platform| platform.replace('/', "-")).join("_");
        let part = part(&candidate, &many);
        assert!(is_tag(tag(&part)), "{part}");
        assert!(matches!(read(tag(&part)), Some(Mark::Candidate { .. })));
    }
}
