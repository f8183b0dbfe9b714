//! Patterns of `${NAME#pattern}`, `${NAME%pattern}` and `${NAME/pattern/text}`: `*`, `?`, and `\` before what is meant itself.
//!
//! moby/buildkit, frontend/dockerfile/shell: `convertShellPatternToRegex`, `trimPrefix` and `trimSuffix`.

use regex_lite::{NoExpand, Regex};

/// Characters of a value times those of a pattern, and of what takes the place of matches: about 0.1 s.
const LONGEST: usize = 1 << 22;

/// `None`: BuildKit refuses the pattern.
pub fn without_prefix(value: &str, pattern: &str, longest: bool) -> Option<String> {
    let beginning = anchored(&pieces(value, pattern, longest)?)?;
    Some(value[beginning.find(value).map_or(0, |found| found.end())..].to_owned())
}

/// By the prefix of what is turned round, as BuildKit does it: an expression finds the shortest match from the left alone.
///
/// `None`: BuildKit refuses the pattern.
pub fn without_suffix(value: &str, pattern: &str, longest: bool) -> Option<String> {
    let mut pieces = pieces(value, pattern, longest)?;
    pieces.reverse();
    let value: String = value.chars().rev().collect();
    let left = &value[anchored(&pieces)?.find(&value).map_or(0, |found| found.end())..];
    Some(left.chars().rev().collect())
}

/// `None`: BuildKit refuses the pattern, or gives the `$` of the text a meaning.
pub fn replaced(value: &str, pattern: &str, text: &str, all: bool) -> Option<String> {
    let pattern = Regex::new(&pieces(value, pattern, true)?.concat()).ok()?;
    match all {
        true if text.contains('$') || (value.len() + 1) * text.len() > LONGEST => None,
        true => Some(pattern.replace_all(value, NoExpand(text)).into_owned()),
        false => Some(pattern.replacen(value, 1, NoExpand(text)).into_owned()),
    }
}

fn anchored(pieces: &[String]) -> Option<Regex> {
    Regex::new(&format!("^{}", pieces.concat())).ok()
}

/// A regular expression for each character of the pattern.
fn pieces(value: &str, pattern: &str, longest: bool) -> Option<Vec<String>> {
    if value.len() * pattern.len() > LONGEST {
        return None;
    }
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let itself = match c {
            '*' => {
                pieces.push(if longest { ".*" } else { ".*?" }.to_owned());
                continue;
            }
            '?' => {
                pieces.push(".".to_owned());
                continue;
            }
            '\\' => chars.next().filter(|next| matches!(next, '*' | '?' | '\\' | '}' | '/'))?,
            other => other,
        };
        pieces.push(regex_lite::escape(itself.encode_utf8(&mut [0; 4])));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of BuildKit's own tests, and what it says of patterns that it refuses.
    #[test]
    fn as_buildkit_does_it() {
        for (value, pattern, longest, expected) in [
            ("()[]{}^$.*?|\\x", "()[]{\\}^$.\\*\\?|\\\\", false, Some("x")),
            ("xxyy", "*x*y", false, Some("y")),
            ("xxyy", "*", false, Some("xxyy")),
            ("xxyy", "x", false, Some("xyy")),
            ("xxyy", "", true, Some("xxyy")),
            ("xxyy", "*x", true, Some("yy")),
            ("???y", "?\\?", false, Some("?y")),
            ("v1.2.3", "v", false, Some("1.2.3")),
            ("ärger", "?", false, Some("rger")),
            ("x", "\\x", false, None),
        ] {
            assert_eq!(without_prefix(value, pattern, longest).as_deref(), expected, "{value} # {pattern}");
        }
        for (value, pattern, longest, expected) in [
            ("xx**", "\\**", true, Some("xx")),
            ("a***yy*", "\\**\\*", true, Some("a")),
            ("xxyy", "x", false, Some("xxyy")),
            ("xxyy", "", true, Some("xxyy")),
            ("a.b.c", ".*", false, Some("a.b")),
            ("a.b.c", ".*", true, Some("a")),
            ("x", "x\\", false, None),
        ] {
            assert_eq!(without_suffix(value, pattern, longest).as_deref(), expected, "{value} % {pattern}");
        }
        for (value, pattern, text, all, expected) in [
            ("/foo*/*/*.txt", "\\*/", ".", false, Some("/foo.*/*.txt")),
            ("/foo*/*/*.txt", "\\*/", ".", true, Some("/foo..*.txt")),
            ("/tmp/tmp/bar.txt", "/tmp", "", false, Some("/tmp/bar.txt")),
            ("/tmp/tmp/bar.txt", "/tmp", "", true, Some("/bar.txt")),
            ("/a/foo/b/c.txt", "/?/", "/", true, Some("/foo/c.txt")),
            ("/tmp/foo.txt", "\\/", "\\/", true, Some("\\/tmp\\/foo.txt")),
            ("xxyy", "", "ww", false, Some("wwxxyy")),
            ("1_2_3", "_", "$0", false, Some("1$02_3")),
            ("1_2_3", "_", "$0", true, None),
        ] {
            assert_eq!(replaced(value, pattern, text, all).as_deref(), expected, "{value} / {pattern} / {text}");
        }
    }
}
