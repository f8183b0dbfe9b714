//! GitHub's filter patterns for paths, branches and tags, translated to regular expressions.
//!
//! The language is that of the "filter pattern cheat sheet" in
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax>: `*` stays within a
//! path segment, `**` does not, `?` and `+` repeat the character before them, `[a-z0-9]` is one character,
//! `\` takes the next character as it is, and in a list a pattern that begins with `!` takes back what an
//! earlier one matched.

use std::cell::RefCell;
use std::collections::HashMap;

use regex_lite::Regex;

#[cfg(test)]
thread_local! {
    /// How many names were compared with a pattern.
    pub static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

thread_local! {
    /// One pattern is asked about thousands of builds and files. `None`: it cannot be read.
    static KNOWN: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

/// Whether a list of patterns takes a name. The last one that matches decides: a plain one takes it, one with
/// `!` takes it back. A pattern that cannot be read matches nothing; see [`check`].
pub fn matches_any<S: AsRef<str>>(patterns: &[S], name: &str) -> bool {
    let last = patterns.iter().rev().map(|pattern| split(pattern.as_ref())).find(|(body, _)| matches(body, name));
    last.is_some_and(|(_, taken_back)| !taken_back)
}

/// # Errors
/// One line that names the pattern and what is wrong with it.
pub fn check(pattern: &str) -> Result<(), String> {
    match split(pattern).0 {
        "" => Err(format!("the pattern `{pattern}` is empty (`**` matches everything)")),
        body => regex(body).map(drop).map_err(|fault| format!("the pattern `{pattern}` {fault}")),
    }
}

/// The pattern without its `!`, and whether it had one.
fn split(pattern: &str) -> (&str, bool) {
    pattern.strip_prefix('!').map_or((pattern, false), |body| (body, true))
}

fn matches(body: &str, name: &str) -> bool {
    #[cfg(test)]
    COMPARED.set(COMPARED.get() + 1);
    // Most patterns are plain names, `v*`, `*.lock` or `folder/**`, which need no regular expression.
    let plain = |text: &str| !text.contains(['*', '?', '+', '[', '\\']);
    if let Some(folder) = body.strip_suffix("**").filter(|folder| folder.ends_with('/') && plain(folder)) {
        return name.starts_with(folder);
    }
    if !body.contains(['?', '+', '[', '\\']) && !body.contains("**") {
        return fits(body, name);
    }
    KNOWN.with_borrow_mut(|known| {
        if !known.contains_key(body) {
            known.insert(body.to_owned(), regex(body).ok());
        }
        known[body].as_ref().is_some_and(|regex| regex.is_match(name))
    })
}

/// A pattern of literal text and single `*`, each of which stays within a path segment.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut others = others;
    // The first place of each text is as good as any later one: a `*` that takes more may take a `/`.
    while let Some((text, more)) = others.split_once('*') {
        let Some((skipped, after)) = rest.split_once(text) else { return false };
        if skipped.contains('/') {
            return false;
        }
        (rest, others) = (after, more);
    }
    rest.strip_suffix(others).is_some_and(|skipped| !skipped.contains('/'))
}

fn regex(body: &str) -> Result<Regex, String> {
    Regex::new(&translate(body)?).map_err(|error| format!("cannot be used: {error}"))
}

fn translate(body: &str) -> Result<String, String> {
    let mut out = String::from("(?s)^");
    let mut rest = body;
    // What `?` and `+` repeat: the last piece, in a group of its own.
    let mut last: Option<String> = None;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        let piece = match first {
            '?' | '+' => {
                let repeated =
                    last.take().ok_or(format!("has nothing that `{first}` could repeat (write `\\{first}` for itself)"))?;
                out.push_str(&format!("(?:{repeated}){first}"));
                continue;
            }
            '*' if rest.starts_with('*') => {
                let at_start = last.as_deref().map_or(out.ends_with('^'), |before| before == "/");
                rest = rest.trim_start_matches('*');
                // `docs/**/a` also is docs/a, but `docs/**` is not docs.
                match rest.strip_prefix('/').filter(|_| at_start) {
                    Some(after) => {
                        rest = after;
                        "(?:.*/)?".to_owned()
                    }
                    None => ".*".to_owned(),
                }
            }
            '*' => "[^/]*".to_owned(),
            '[' => {
                let (set, after) = rest.split_once(']').ok_or("has a `[` without its `]`")?;
                rest = after;
                bracket(set)?
            }
            '\\' => {
                let next = rest.chars().next().ok_or("ends in `\\`")?;
                rest = &rest[next.len_utf8()..];
                regex_lite::escape(next.encode_utf8(&mut [0; 4]))
            }
            other => regex_lite::escape(other.encode_utf8(&mut [0; 4])),
        };
        out.push_str(&last.replace(piece).unwrap_or_default());
    }
    out.push_str(&last.unwrap_or_default());
    out.push('$');
    Ok(out)
}

/// `a-z0-9_`: characters and ranges of letters or digits.
fn bracket(set: &str) -> Result<String, String> {
    if set.is_empty() || set.starts_with(['!', '^']) {
        return Err(format!("has `[{set}]`, but brackets hold the characters that are allowed (like `[a-z0-9]`)"));
    }
    let mut out = String::from("[");
    let characters = set.chars().collect::<Vec<_>>();
    let mut at = 0;
    while let Some(&from) = characters.get(at) {
        match (characters.get(at + 1), characters.get(at + 2)) {
            (Some('-'), Some(&to)) => {
                let same_kind = from.is_ascii_digit() == to.is_ascii_digit()
                    && from.is_ascii_lowercase() == to.is_ascii_lowercase()
                    && from.is_ascii_alphanumeric()
                    && to.is_ascii_alphanumeric();
                if !same_kind || from > to {
                    return Err(format!("has the range `{from}-{to}`, but ranges are within a-z, A-Z or 0-9"));
                }
                out.push_str(&format!("{from}-{to}"));
                at += 3;
            }
            _ => {
                out.push_str(&regex_lite::escape(from.encode_utf8(&mut [0; 4])));
                at += 1;
            }
        }
    }
    out.push(']');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        matches_any(&[pattern], text)
    }

    /// Pattern, what it matches, what it does not; most rows are facts of GitHub's page.
    #[test]
    fn single_patterns() {
        let table: [(&str, &[&str], &[&str]); 30] = [
            ("feature/*", &["feature/my-branch", "feature/your-branch"], &["feature/a/b", "feature"]),
            (
                "feature/**",
                &["feature/beta-a/my-branch", "feature/your-branch", "feature/mona/the/octocat"],
                &["feature", "my/feature/x"],
            ),
            ("main", &["main"], &["main2", "a/main", "Main"]),
            ("*", &["main", "releases", "README.md"], &["all/the/branches"]),
            ("**", &["all/the/branches", "every/tag", "x", "with\nnewline", "ü/ö"], &[]),
            ("*feature", &["mona-feature", "feature", "ver-10-feature"], &["x/feature"]),
            ("v2*", &["v2", "v2.0", "v2.9"], &["v1", "xv2"]),
            ("v[12].[0-9]+.[0-9]+", &["v1.10.1", "v2.0.0"], &["v3.0.0", "v1.x.1", "v1.1"]),
            ("v*.*.*", &["v1.2.3", "v1.2.3-rc.1"], &["v1.2", "1.2.3"]),
            ("*.jsx?", &["page.js", "page.jsx"], &["page.jsxx", "a/page.js", "pagexjs"]),
            ("*.js", &["app.js", "index.js"], &["src/app.js"]),
            ("**.js", &["index.js", "js/index.js", "src/js/app.js"], &["index.ts"]),
            ("docs/*", &["docs/README.md", "docs/file.txt"], &["docs/a/b", "x/docs/a"]),
            ("docs/**", &["docs/README.md", "docs/mona/octocat.txt"], &["docs", "mydocs/x"]),
            (
                "docs/**/*.md",
                &["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"],
                &["docs/a.txt", "README.md"],
            ),
            ("**/docs/**", &["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"], &["mydocs/x", "docs"]),
            ("**/README.md", &["README.md", "js/README.md"], &["js/XREADME.md"]),
            ("**/*src/**", &["a/src/app.js", "my-src/code/js/app.js"], &["srcs/x"]),
            ("**/*-post.md", &["my-post.md", "path/their-post.md"], &["post.md"]),
            ("**/migrate-*.sql", &["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"], &["migrate.sql"]),
            ("a**/b", &["a/b", "ax/y/b"], &["ab", "a/x"]),
            ("***", &["a/b"], &[]),
            ("**/*", &["a", "a/b"], &[]),
            ("a*?b", &["ab", "axxb"], &["a/b"]),
            ("colou?r+", &["color", "colour", "colorrr"], &["colo", "colouur"]),
            ("ü?", &["ü", ""], &["üü"]),
            (r"a\*b\+\?\[", &["a*b+?["], &["axb+?["]),
            ("a.b (c)|{d}$^", &["a.b (c)|{d}$^"], &["axb (c)|{d}$^"]),
            ("[a.b_-]x", &[".x", "_x", "-x", "ax"], &["cx"]),
            ("a/!b", &["a/!b"], &["a/b"]),
        ];
        for (pattern, yes, no) in table {
            for text in yes {
                assert!(matches(pattern, text), "{pattern} should match {text:?}");
            }
            for text in no {
                assert!(!matches(pattern, text), "{pattern} should not match {text:?}");
            }
        }
    }

    #[test]
    fn lists_are_read_in_order() {
        let table: [(&[&str], &[&str], &[&str]); 6] = [
            (&["*.md", "!README.md"], &["hello.md"], &["README.md", "docs/hello.md"]),
            (&["*.md", "!README.md", "README*"], &["hello.md", "README.md", "README.doc"], &[]),
            (&["!README.md", "*.md"], &["README.md"], &[]),
            (&["releases/**", "!releases/**-alpha"], &["releases/10", "releases/beta/mona"], &["releases/10-alpha"]),
            (&["!x"], &[], &["x", "y"]),
            (&[], &[], &["x"]),
        ];
        for (patterns, yes, no) in table {
            for text in yes {
                assert!(matches_any(patterns, text), "{patterns:?} should match {text}");
            }
            for text in no {
                assert!(!matches_any(patterns, text), "{patterns:?} should not match {text}");
            }
        }
    }

    #[test]
    fn faults_name_the_pattern() {
        let table = [
            ("", "the pattern `` is empty"),
            ("!", "the pattern `!` is empty"),
            ("+x", "the pattern `+x` has nothing that `+` could repeat"),
            ("?", "the pattern `?` has nothing that `?` could repeat"),
            ("a?+", "the pattern `a?+` has nothing that `+` could repeat"),
            ("v[12", "the pattern `v[12` has a `[` without its `]`"),
            ("[]", "the pattern `[]` has `[]`, but brackets"),
            ("[!a]", "the pattern `[!a]` has `[!a]`, but brackets"),
            ("[z-a]", "the pattern `[z-a]` has the range `z-a`"),
            ("[a-Z]", "the pattern `[a-Z]` has the range `a-Z`"),
            ("x\\", "the pattern `x\\` ends in `\\`"),
        ];
        for (pattern, expected) in table {
            let error = check(pattern).expect_err(pattern);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
