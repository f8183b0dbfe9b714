//! Versions: SemVer with an optional `v`, and the PEP 440 spellings of pre- and post-releases; the text is kept.
//!
//! Precedence is that of <https://semver.org/#spec-item-11>, with three additions that people expect and
//! <https://peps.python.org/pep-0440/#summary-of-permitted-suffixes-and-relative-ordering> names:
//! digits inside an identifier count as a number (`rc9` < `rc10`), `dev` comes before what it stands
//! after (`1.0.0.dev1` < `1.0.0a1`, `1.0.0a1.dev1` < `1.0.0a1`), `post` after it (`1.0.0` < `1.0.0.post1`).

use std::cmp::Ordering;
use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;

/// A version as somebody wrote it.
///
/// Two versions are equal when their texts are. `Ord` orders by precedence, and by text where that is the
/// same (`1.0.0` and `v1.0.0`, `1.0.0+a` and `1.0.0+b`), so that it agrees with `Eq`;
/// [`Version::precedence`] leaves the text out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub text: String,
    numbers: [u64; 3],
    /// What follows the numbers, without build metadata; empty: a final release.
    suffix: Vec<Part>,
}

/// A run of digits or of letters in the suffix. The order of the variants is the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Dev,
    /// Nothing more to come; only made while comparing.
    End,
    /// Digits without leading zeros: the longer text is the larger number.
    Number(usize, String),
    Word(String),
    Post,
}

/// `1.0.0a1`, `1.0.0-rc.1`, `1.0.0.post1.dev2`: the suffixes of PEP 440, on three numbers.
static PEP_440: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pre = r"[._-]?(?:alpha|beta|preview|pre|rc|a|b|c)[._-]?[0-9]*";
    let post = r"[._-]?(?:post|rev|r)[._-]?[0-9]*";
    let dev = r"[._-]?dev[._-]?[0-9]*";
    let local = r"\+[a-z0-9]+(?:[._-][a-z0-9]+)*";
    Regex::new(&format!(r"(?i)^(?:{pre})?(?:{post})?(?:{dev})?(?:{local})?$")).ok()
});

impl Version {
    /// Reads a version; white space around it (the last newline of a `VERSION` file) is not part of it.
    ///
    /// # Errors
    /// One line that says what is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Version, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("the version is empty (write it like v1.2.3)".into());
        }
        if text.lines().count() > 1 {
            return Err(format!("the version has {} lines (write one, like v1.2.3)", text.lines().count()));
        }
        let bare = text.strip_prefix('v').unwrap_or(text);
        let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
        let (core, rest) = split_core(bare, end);
        let numbers = core.split('.').collect::<Vec<_>>();
        let [major, minor, patch] = numbers[..] else { return Err(fault(text, core, &numbers)) };
        let numbers = [number(text, major)?, number(text, minor)?, number(text, patch)?];
        let pep = PEP_440.as_ref().is_some_and(|pattern| pattern.is_match(rest));
        if !pep {
            semver::Version::parse(bare).map_err(|error| format!("`{text}` is not a version: {error} ({EXAMPLES})"))?;
        }
        let suffix = rest.split('+').next().unwrap_or_default();
        Ok(Version { text: text.to_owned(), numbers, suffix: parts(suffix) })
    }

    pub fn major(&self) -> u64 {
        self.numbers[0]
    }

    pub fn minor(&self) -> u64 {
        self.numbers[1]
    }

    pub fn patch(&self) -> u64 {
        self.numbers[2]
    }

    /// Comes before the final release of its numbers; a post-release comes after it and is none,
    /// unless it is the pre-release of one (`1.0.0.post1.dev2`).
    pub fn is_prerelease(&self) -> bool {
        self.suffix.contains(&Part::Dev) || self.suffix.first().is_some_and(|first| *first != Part::Post)
    }

    /// The text without the `v`.
    pub fn semver_text(&self) -> &str {
        self.text.strip_prefix('v').unwrap_or(&self.text)
    }

    /// Which one is newer, whatever the spelling: `v1.0.0` and `1.0.0+build` are the same.
    pub fn precedence(&self, other: &Version) -> Ordering {
        let ended = |suffix: &[Part]| suffix.iter().cloned().chain([Part::End]).collect::<Vec<_>>();
        // A final release is newer than anything but a post-release; further on, `x` is older than `x.1`.
        let first = |suffix: &[Part]| match suffix.first() {
            None => 1,
            Some(Part::Post) => 2,
            Some(_) => 0,
        };
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| first(&self.suffix).cmp(&first(&other.suffix)))
            .then_with(|| ended(&self.suffix).cmp(&ended(&other.suffix)))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.precedence(other).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const EXAMPLES: &str = "write it like v1.2.3, v1.2.3-rc.1 or 1.2.3.post1";

/// `1.2.3.dev1` → `1.2.3` and `.dev1`: a dot before a letter belongs to the suffix.
fn split_core(bare: &str, end: usize) -> (&str, &str) {
    let (core, _) = bare.split_at(end);
    let core = core.strip_suffix('.').filter(|_| end < bare.len()).unwrap_or(core);
    bare.split_at(core.len())
}

fn number(text: &str, digits: &str) -> Result<u64, String> {
    if digits.len() > 1 && digits.starts_with('0') {
        let fixed = digits.trim_start_matches('0');
        let fixed = if fixed.is_empty() { "0" } else { fixed };
        return Err(format!("`{text}` is not a version: `{digits}` has a leading zero (write {fixed})"));
    }
    digits.parse().map_err(|_| format!("`{text}` is not a version: `{digits}` is not a number of at most 20 digits ({EXAMPLES})"))
}

/// Why this many numbers are no version, with what to write instead where that is clear.
fn fault(text: &str, core: &str, numbers: &[&str]) -> String {
    match (core, numbers.len()) {
        ("", _) => match text.strip_prefix('V') {
            Some(rest) => format!("`{text}` is not a version: the `V` is a capital (write v{rest})"),
            None => format!("`{text}` is not a version: it does not begin with a number ({EXAMPLES})"),
        },
        (_, 1) => format!("`{text}` is not a version: one number, three are needed (write {core}.0.0)"),
        (_, 2) => format!("`{text}` is not a version: two numbers, three are needed (write {core}.0)"),
        (_, count) => format!("`{text}` is not a version: {count} numbers, three are needed ({EXAMPLES})"),
    }
}

fn parts(suffix: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in suffix.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            parts.push(part(&run.to_ascii_lowercase()));
            rest = after;
        }
    }
    parts
}

fn part(run: &str) -> Part {
    match run {
        "dev" => Part::Dev,
        "post" | "rev" | "r" => Part::Post,
        "alpha" => Part::Word("a".into()),
        "beta" => Part::Word("b".into()),
        "c" | "pre" | "preview" => Part::Word("rc".into()),
        _ if run.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = run.trim_start_matches('0');
            Part::Number(digits.len(), digits.into())
        }
        _ => Part::Word(run.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_is_older_than_the_next() {
        let ladder = [
            "0.0.0",
            "0.0.9",
            "0.0.10",
            "0.9.9",
            "1.0.0-0",
            "v1.0.0a1.dev1",
            "1.0.0a1",
            "1.0.0-alpha.2",
            "1.0.0a10",
            "1.0.0a10.post1",
            "1.0.0b2",
            "1.0.0-beta.11",
            "v1.0.0-rc",
            "v1.0.0rc9",
            "v1.0.0rc10",
            "1.0.0-rc.11",
            "1.0.0-x.7.z.92",
            "v1.0.0",
            "1.0.0.post1.dev1",
            "1.0.0-post1",
            "1.0.0.post2",
            "1.0.1.dev0",
            "1.0.1-rc1",
            "1.0.1",
            "2.0.0",
            "10.0.0",
        ];
        for (i, left) in ladder.iter().enumerate() {
            for (j, right) in ladder.iter().enumerate() {
                assert_eq!(version(left).cmp(&version(right)), i.cmp(&j), "{left} and {right}");
            }
        }
        assert!(version("1.0.0.dev1") < version("1.0.0a1"), "dev is the first of all");
    }

    #[test]
    fn the_same_precedence_in_other_words() {
        let table = [("v1.2.3", "1.2.3"), ("1.2.3+a", "1.2.3+b"), ("1.0.0a1", "1.0.0-alpha.1"), ("1.0.0c1", "1.0.0RC1")];
        for (left, right) in table.map(|(left, right)| (version(left), version(right))) {
            assert_eq!(left.precedence(&right), Ordering::Equal, "{left} and {right}");
            assert!(left != right && left.cmp(&right) != Ordering::Equal, "Ord agrees with Eq");
        }
    }

    #[test]
    fn the_text_is_kept() {
        let read = version("v1.2.3-rc.1+x\n");
        assert_eq!((read.text.as_str(), read.semver_text()), ("v1.2.3-rc.1+x", "1.2.3-rc.1+x"));
        assert_eq!((read.major(), read.minor(), read.patch()), (1, 2, 3));
    }

    #[test]
    fn prereleases() {
        for text in
            ["v0.1.0-rc", "1.0.0a1", "1.0.0b2", "1.0.0.dev1", "2.3.1-beta", "1.0.0-1", "1.0.0.post1.dev2", "1.0.0-nightly"]
        {
            assert!(version(text).is_prerelease(), "{text}");
        }
        for text in ["v1.0.0", "1.0.0+x", "1.0.0.post1", "1.0.0-post1", "1.0.0post2"] {
            assert!(!version(text).is_prerelease(), "{text}");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        let table = [
            ("", "the version is empty (write it like v1.2.3)"),
            (" \n", "the version is empty (write it like v1.2.3)"),
            ("v1.2.3\nv1.2.4", "the version has 2 lines (write one, like v1.2.3)"),
            ("latest", "`latest` is not a version: it does not begin with a number ("),
            ("V1.2.3", "`V1.2.3` is not a version: the `V` is a capital (write v1.2.3)"),
            ("v1", "`v1` is not a version: one number, three are needed (write 1.0.0)"),
            ("1.2", "`1.2` is not a version: two numbers, three are needed (write 1.2.0)"),
            ("1.2.3.4", "`1.2.3.4` is not a version: 4 numbers, three are needed ("),
            ("2024.01.5", "`2024.01.5` is not a version: `01` has a leading zero (write 1)"),
            ("1.2.", "`1.2.` is not a version: `` is not a number"),
            ("1.2.99999999999999999999", "`1.2.99999999999999999999` is not a version: "),
            ("1.2.3-", "`1.2.3-` is not a version: "),
            ("1.2.3 beta", "`1.2.3 beta` is not a version: "),
            ("1.2.3.x1", "`1.2.3.x1` is not a version: "),
            ("1!1.2.3", "`1!1.2.3` is not a version: one number"),
            ("1.2.3-ä", "`1.2.3-ä` is not a version: "),
        ];
        for (text, expected) in table {
            let error = Version::parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let suffix = "(|-?(a|b|rc|dev|post|alpha|x)[.]?[0-9]{0,2}([.](dev|post|z)[0-9]?)?)([+]a)?";
        (any::<bool>(), 0..2u64, 0..2u64, suffix).prop_filter_map("not a version", |(v, a, b, suffix)| {
            Version::parse(&format!("{}{a}.0.{b}{suffix}", if v { "v" } else { "" })).ok()
        })
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            prop_assert_eq!(a.precedence(&b), b.precedence(&a).reverse());
        }

        #[test]
        fn plain_numbers_are_as_semver_says(a in [0..3u64, 0..3, 0..3], b in [0..3u64, 0..3, 0..3]) {
            let text = |n: [u64; 3]| format!("{}.{}.{}", n[0], n[1], n[2]);
            let (x, y) = (semver::Version::parse(&text(a)).unwrap(), semver::Version::parse(&text(b)).unwrap());
            prop_assert_eq!(version(&text(a)).cmp(&version(&text(b))), x.cmp(&y));
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _either = Version::parse(&text);
        }
    }
}
