//! What COPY and ADD take from the context: their sources as patterns, and whether a path is among them.

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

/// Whether one of the patterns is that of the path or of a folder above it, by the rules of Go's
/// <https://pkg.go.dev/path/filepath#Match>, with `**` for any number of folders (`COPY --parents`).
pub fn take(patterns: &[String], path: &str) -> bool {
    let path = path.split('/').collect::<Vec<_>>();
    patterns.iter().any(|pattern| folders(&pattern.split('/').collect::<Vec<_>>(), &path))
}

fn folders(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], _) => true,
        (["**", rest @ ..], _) => folders(rest, path) || path.split_first().is_some_and(|(_, below)| folders(pattern, below)),
        (_, []) => false,
        ([first, rest @ ..], [name, below @ ..]) => {
            let (first, name) = (first.chars().collect::<Vec<_>>(), name.chars().collect::<Vec<_>>());
            segment(&first, &name) && folders(rest, below)
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
        let table: [(&str, &[&str], &[&str]); 12] = [
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
        ];
        for (pattern, yes, no) in table {
            for path in yes {
                assert!(take(&[pattern.to_owned()], path), "{pattern} should take {path}");
            }
            for path in no {
                assert!(!take(&[pattern.to_owned()], path), "{pattern} should not take {path}");
            }
        }
    }
}
