//! GitHub's filter patterns for branches, tags and paths.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet>

use std::cell::RefCell;
use std::collections::HashMap;

use regex_lite::Regex;

thread_local! {
    /// One pattern is asked about thousands of builds and files.
    static CACHE: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

/// Whether a name matches the patterns, read in order: a later `!pattern` takes names out again.
pub fn matches_any<S: AsRef<str>>(patterns: &[S], name: &str) -> bool {
    let mut matched = false;
    for pattern in patterns.iter().map(AsRef::as_ref) {
        match pattern.strip_prefix('!') {
            Some(pattern) => matched &= !matches(pattern, name),
            None => matched |= matches(pattern, name),
        }
    }
    matched
}

/// One pattern without `!`. A pattern that cannot be read matches nothing; see [`check`].
fn matches(pattern: &str, name: &str) -> bool {
    // Most patterns are plain names or `folder/**`, which need no regular expression.
    if !pattern.contains(['*', '?', '+', '[', '\\']) {
        return pattern == name;
    }
    if let Some(folder) = pattern.strip_suffix("/**").filter(|folder| !folder.contains(['*', '?', '+', '[', '\\'])) {
        return name.strip_prefix(folder).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
    }
    CACHE.with_borrow_mut(|cache| {
        let regex = cache.entry(pattern.to_owned()).or_insert_with(|| regex(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(name))
    })
}

/// # Errors
/// Says what is wrong with a pattern.
pub fn check(pattern: &str) -> Result<(), String> {
    let text = pattern.strip_prefix('!').unwrap_or(pattern);
    if text.is_empty() {
        return Err("a pattern is empty".into());
    }
    regex(text).map(drop).map_err(|_| format!("\"{pattern}\" is not a pattern: check its brackets, and what ? and + follow"))
}

fn regex(pattern: &str) -> Result<Regex, regex_lite::Error> {
    let mut out = String::from("^(?:");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.peek() == Some(&'*') => {
                rest.next();
                // `**/x` also matches x itself.
                if rest.peek() == Some(&'/') && (out == "^(?:" || out.ends_with('/')) {
                    rest.next();
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            // Zero or one, one or more, of the character before.
            '?' | '+' => out.push(c),
            '[' => {
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '\\' => out.push_str(&regex_lite::escape(&rest.next().map(String::from).unwrap_or_default())),
            c => out.push_str(&regex_lite::escape(&c.to_string())),
        }
    }
    Regex::new(&format!("{out})$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_as_github_documents_them() {
        for (pattern, yes, no) in [
            ("feature/*", "feature/a", "feature/a/b"),
            ("feature/**", "feature/a/b", "feature"),
            ("main", "main", "mains"),
            ("**", "a/b/c", "\0\0never"),
            ("*", "main", "a/b"),
            ("*feature", "my-feature", "feature-1"),
            ("v2*", "v2.0", "v1.9"),
            ("v[12].[0-9]+.[0-9]+", "v1.10.1", "v3.1.1"),
            ("*.jsx?", "page.js", "page.ts"),
            ("**/*.md", "README.md", "a.txt"),
            ("docs/**/*.md", "docs/a/b.md", "other/b.md"),
            ("docs/**/*.md", "docs/b.md", "docs/b.txt"),
            ("**/docs/**", "a/docs/x", "docs"),
            ("a.b", "a.b", "axb"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(no.contains('\0') || !matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn a_later_exclamation_mark_takes_out() {
        let patterns = ["sub/**", "!sub/docs/**", "sub/docs/keep.md"];
        let names = ["sub/a", "sub/docs/a", "sub/docs/keep.md", "other"];
        assert_eq!(names.map(|name| matches_any(&patterns, name)), [true, false, true, false]);
    }

    #[test]
    fn bad_patterns_are_named() {
        assert!(check("[a").is_err() && check("").is_err() && check("+").is_err());
        assert!(check("v*").is_ok());
    }
}
