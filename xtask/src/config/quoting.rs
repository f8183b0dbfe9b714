//! Keys that need quotes and have none: `when.python<3.9.platforms`, `on.branch.release/*`, `on.branch.v1.2`.

/// What may follow a condition or a branch in a dotted key, to find out where it ends.
const IMAGE_KEYS: &[&str] = &[
    "repository",
    "context",
    "dockerfile",
    "template",
    "target",
    "parent",
    "platforms",
    "args",
    "vars",
    "labels",
    "secrets",
    "dependencies",
    "publish",
    "local-only",
    "timeout",
    "test",
];
const POLICY_KEYS: &[&str] =
    &["match", "branches", "paths", "paths-ignore", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags", "replace"];

/// The likely cause of a syntax error on this line, if it is a missing pair of quotes.
pub fn explain(line: &str) -> Option<String> {
    let line = line.trim();
    let (table, inner) = match line.strip_prefix('[') {
        Some(rest) => (true, rest.trim_start_matches('[').trim_end().trim_end_matches(']')),
        None => (false, line),
    };
    for (word, keys) in [("when.", IMAGE_KEYS), ("on.branch.", POLICY_KEYS)] {
        let Some(at) = inner.find(word).filter(|&at| at == 0 || inner[..at].ends_with('.')) else { continue };
        let rest = &inner[at + word.len()..];
        if rest.starts_with(['"', '\'']) {
            continue;
        }
        let (name, key) = split(rest, keys, table);
        return Some(format!("`{name}` is not quoted (write {word}\"{name}\"{key})"));
    }
    None
}

/// Splits `python<3.9.platforms = …` into `python<3.9` and `.platforms`.
fn split<'a>(rest: &'a str, keys: &[&str], table: bool) -> (&'a str, &'a str) {
    let ends_key = |after: &str| after.is_empty() || after.starts_with(['.', ' ', '=', '\t']);
    let dots = rest.match_indices('.').map(|(at, _)| at);
    let found = dots.into_iter().find(|&at| keys.iter().any(|key| rest[at + 1..].strip_prefix(key).is_some_and(ends_key)));
    let whole = if table { rest } else { rest.rsplit_once('=').map_or(rest, |(key, _)| key.trim_end()) };
    match found {
        Some(at) => (&rest[..at], rest[at..].split([' ', '=', '\t']).next().unwrap_or_default()),
        None => (whole, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_the_quotes_belong() {
        for (line, expected) in [
            ("when.python<3.9.platforms = []", "`python<3.9` is not quoted (write when.\"python<3.9\".platforms)"),
            ("when.runtime=cuda.vars.cuda = \"1\"", "`runtime=cuda` is not quoted (write when.\"runtime=cuda\".vars.cuda)"),
            ("[image.python.when.python<3.9]", "`python<3.9` is not quoted (write when.\"python<3.9\")"),
            ("[image.a.on.branch.release/*]", "`release/*` is not quoted (write on.branch.\"release/*\")"),
            ("on.branch.release/*.tags = []", "`release/*` is not quoted (write on.branch.\"release/*\".tags)"),
            ("on.branch.release/* = false", "`release/*` is not quoted (write on.branch.\"release/*\")"),
        ] {
            assert_eq!(explain(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn leaves_other_mistakes_alone() {
        for line in ["a =", "when.\"python<3.9\".platforms = ", "whenever.x = "] {
            assert_eq!(explain(line), None, "{line}");
        }
    }
}
