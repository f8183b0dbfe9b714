//! What COPY and ADD take from the context: their sources as patterns, and whether a path is among them.

use std::collections::BTreeSet;

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
            // Twice the same means no more.
            "**" if parts.last() == Some(&"**") => {}
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

/// `takes`: whether what stands below one of the folders that the pattern names is taken. All ways are followed at once.
fn folders(pattern: &[&str], path: &[&str], takes: &dyn Fn(&[&str]) -> bool) -> bool {
    let mut places = BTreeSet::new();
    enter(pattern, 0, &mut places);
    for (at, name) in path.iter().enumerate() {
        if places.contains(&pattern.len()) && takes(&path[at..]) {
            return true;
        }
        let name: Vec<char> = name.chars().collect();
        let mut next = BTreeSet::new();
        for place in places {
            match pattern.get(place) {
                Some(&"**") => enter(pattern, place, &mut next),
                Some(part) if segment(&part.chars().collect::<Vec<_>>(), &name) => enter(pattern, place + 1, &mut next),
                _ => {}
            }
        }
        places = next;
    }
    places.contains(&pattern.len()) && takes(&[])
}

/// A place in the pattern, and that behind a `**`, which may be no folder.
fn enter(pattern: &[&str], place: usize, places: &mut BTreeSet<usize>) {
    let is_new = places.insert(place);
    if is_new && pattern.get(place) == Some(&"**") {
        enter(pattern, place + 1, places);
    }
}

/// Only the last star may have to take more: what matched before it, matched as early as it can.
fn segment(mut pattern: &[char], mut name: &[char]) -> bool {
    let mut star = None;
    loop {
        if let ['*', rest @ ..] = pattern {
            star = Some((rest, name));
            pattern = rest;
        } else if let Some((rest, left)) = step(pattern, name) {
            (pattern, name) = (rest, left);
        } else if pattern.is_empty() && name.is_empty() {
            return true;
        } else {
            let Some((rest, [_, left @ ..])) = star else { return false };
            star = Some((rest, left));
            (pattern, name) = (rest, left);
        }
    }
}

/// One character, and the part of the pattern that it matches, taken off.
fn step<'p, 'n>(pattern: &'p [char], name: &'n [char]) -> Option<(&'p [char], &'n [char])> {
    let (first, left) = name.split_first()?;
    let rest = match pattern {
        [] => return None,
        ['?', rest @ ..] => rest,
        ['[', rest @ ..] => {
            let end = bracket_end(rest)?;
            if !bracket(&rest[..end], *first) {
                return None;
            }
            &rest[end + 1..]
        }
        ['\\', exact, rest @ ..] | [exact, rest @ ..] if exact == first => rest,
        _ => return None,
    };
    Some((rest, left))
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
    fn many_stars_end() {
        let name = "a".repeat(255);
        assert!(!takes(&format!("{}b", "*a".repeat(100)), None, &name));
        assert!(takes(&"*a".repeat(100), None, &name));
        let (deep, path) = (format!("{}b", "**/a/".repeat(100)), "a/".repeat(300));
        assert!(!takes(&deep, None, path.trim_end_matches('/')) && takes(&deep, None, &format!("{path}b/c")));
        assert_eq!(clean("**/**/./**/x").as_deref(), Some("**/x"));
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
