//! What COPY and ADD take from the context: their sources as patterns, and whether a path is among them.

use super::ignore::Ignore;

/// The whole context, as a pattern.
pub const ALL: &str = ".";

/// A source as a pattern from the root of the context; `None`: the whole context.
///
/// A leading `/` and `..` stay inside the context, as BuildKit does it.
pub fn clean(source: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/")).filter(|joined| !joined.is_empty())
}

/// Whether the pattern is that of the path or of a folder above it, by the rules of Go's
/// <https://pkg.go.dev/path/filepath#Match>, with `**` for any number of folders (`COPY --parents`). What is excluded in
/// each folder that the pattern names is not taken; what the pattern names itself always is.
pub fn takes(pattern: &str, excludes: Option<&Ignore>, path: &str) -> bool {
    let is_left = |below: &[&str]| !below.is_empty() && excludes.is_some_and(|excludes| excludes.ignores(&below.join("/")));
    let pattern = if pattern == ALL { Vec::new() } else { pattern.split('/').collect() };
    folders(&pattern, &path.split('/').collect::<Vec<_>>(), &|below| !is_left(below))
}

/// `takes`: whether what stands below one of the folders that the pattern names is taken.
fn folders(pattern: &[&str], path: &[&str], takes: &dyn Fn(&[&str]) -> bool) -> bool {
    match (pattern, path) {
        ([], below) => takes(below),
        (["**", rest @ ..], _) => {
            folders(rest, path, takes) || path.split_first().is_some_and(|(_, below)| folders(pattern, below, takes))
        }
        (_, []) => false,
        ([first, rest @ ..], [name, below @ ..]) => {
            let (first, name) = (first.chars().collect::<Vec<_>>(), name.chars().collect::<Vec<_>>());
            segment(&first, &name) && folders(rest, below, takes)
        }
    }
}

fn segment(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => segment(rest, name) || name.split_first().is_some_and(|(_, name)| segment(pattern, name)),
        (['?', rest @ ..], [_, name @ ..]) => segment(rest, name),
        (['[', rest @ ..], [first, name @ ..]) => {
            let Some(end) = bracket_end(rest) else { return false };
            bracket(&rest[..end], *first) && segment(&rest[end + 1..], name)
        }
        (['\\', exact, rest @ ..], [first, name @ ..]) | ([exact, rest @ ..], [first, name @ ..]) => {
            exact == first && segment(rest, name)
        }
        _ => false,
    }
}

/// Where the `]` is that ends a class: not the first character, and not behind a backslash.
fn bracket_end(rest: &[char]) -> Option<usize> {
    let mut at = usize::from(rest.first() == Some(&'^'));
    let first = at;
    while let Some(c) = rest.get(at) {
        match c {
            ']' if at > first => return Some(at),
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn bracket(set: &[char], c: char) -> bool {
    let (negated, mut set) = set.strip_prefix(&['^']).map_or((false, set), |set| (true, set));
    let mut found = false;
    while let Some((first, rest)) = escaped(set) {
        set = rest;
        let mut last = first;
        if let ['-', range @ ..] = rest
            && let Some((end, rest)) = escaped(range)
        {
            (last, set) = (end, rest);
        }
        found |= (first..=last).contains(&c);
    }
    found != negated
}

/// The next character of a class, as it is behind a backslash, and what follows it.
fn escaped(set: &[char]) -> Option<(char, &[char])> {
    match set {
        ['\\', exact, rest @ ..] => Some((*exact, rest)),
        [first, rest @ ..] => Some((*first, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned() {
        let table = [
            ("src", Some("src")),
            ("./src/", Some("src")),
            ("/a//b/", Some("a/b")),
            ("a/../b", Some("b")),
            ("../x", Some("x")),
            ("*.txt", Some("*.txt")),
            (".", None),
            ("./", None),
            ("/", None),
            ("a/..", None),
        ];
        for (source, expected) in table {
            assert_eq!(clean(source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn taken() {
        let table: [(&str, &[&str], &[&str]); 13] = [
            ("src", &["src", "src/a.py", "src/a/b.py"], &["srcs", "a/src"]),
            ("requirements*.txt", &["requirements.txt", "requirements-dev.txt"], &["a/requirements.txt", "requirements.in"]),
            ("requirements/*.txt", &["requirements/ci.txt"], &["requirements/a/ci.txt", "requirements"]),
            ("a/*", &["a/b", "a/b/c"], &["a"]),
            ("v?", &["v1", "v1/x"], &["v", "v12"]),
            ("[a-c]x[^0-9]", &["axz", "bx-"], &["dxz", "ax1"]),
            (r"a\*", &["a*"], &["ab"]),
            ("**/go.mod", &["go.mod", "a/go.mod", "a/b/go.mod"], &["a/go.sum"]),
            ("[]", &[], &["[]", "x"]),
            (r"sr[b\]c]*", &["src", "sr]x"], &["sra"]),
            (r"[a\-c]", &["a", "-", "c"], &["b"]),
            ("ü*", &["üb"], &["u"]),
            (".", &["a", "a/b"], &[]),
        ];
        for (pattern, yes, no) in table {
            for path in yes {
                assert!(takes(pattern, None, path), "{pattern} should take {path}");
            }
            for path in no {
                assert!(!takes(pattern, None, path), "{pattern} should not take {path}");
            }
        }
    }

    #[test]
    fn excluded() {
        let excludes = Ignore::parse("*.md\n**/deep\n!deep/keep");
        for (pattern, path, taken) in [
            ("src", "src/a", true),
            ("src", "src/a.md", false),
            ("src", "src/x/a.md", true),
            ("src", "src/deep/a", false),
            ("src", "src/deep/keep", true),
            (".", "a.md", false),
            (".", "src/a.md", true),
            // What the source itself names is no file in it.
            ("src/*", "src/a.md", true),
            ("*", "src/a.md", false),
            ("a.md", "a.md", true),
        ] {
            assert_eq!(takes(pattern, Some(&excludes), path), taken, "{pattern} {path}");
        }
    }
}
