//! Versions: SemVer with an optional `v`, and the PEP 440 spellings of pre- and post-releases; the text is kept.

/// A version as somebody wrote it; ordered by precedence, not by text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub text: String,
}
