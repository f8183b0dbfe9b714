//! Placeholders: `{name}` is filled in, `{{name}}` is the text `{name}`, every other brace is itself.
//!
//! `${NAME}` is an environment variable, and only some keys take it.

use super::EventKey;

/// Known for every build as soon as the file is loaded, beside the axes.
pub const STATIC: [&str; 5] = ["image", "variant", "id", "namespace", "repository"];

/// Known when an event is planned.
pub const EVENT: [&str; 11] =
    ["sha", "sha7", "timestamp", "date", "branch", "number", "version", "semver", "major", "minor", "patch"];

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// `{name}`
    Name(&'a str),
    /// `{{name}}`, with one pair of its braces.
    Escaped(&'a str),
    /// The name in `${NAME}`.
    Variable(&'a str),
}

/// Cuts a text into its pieces.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|offset| at + offset) {
        let name = |from: usize| {
            let rest = &text[from..];
            let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            let end = rest.as_bytes().iter().position(|byte| !inner(byte)).unwrap_or(rest.len());
            let first = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            (first && rest[end..].starts_with('}')).then_some(from + end)
        };
        let (from, piece, to) = if let Some(end) = name(open + 1) {
            let variable = text[..open].ends_with('$');
            let inner = &text[open + 1..end];
            if variable { (open - 1, Piece::Variable(inner), end + 1) } else { (open, Piece::Name(inner), end + 1) }
        } else if let Some(end) = text[open + 1..].starts_with('{').then(|| name(open + 2)).flatten()
            && text[end + 1..].starts_with('}')
        {
            (open, Piece::Escaped(&text[open + 1..=end]), end + 2)
        } else {
            at = open + 1;
            continue;
        };
        if from > start {
            found.push(Piece::Text(&text[start..from]));
        }
        found.push(piece);
        (start, at) = (to, to);
    }
    if start < text.len() {
        found.push(Piece::Text(&text[start..]));
    }
    found
}

/// Fills every placeholder; an unknown one is an error that names it.
pub fn fill<V: AsRef<str>>(text: &str, lookup: impl Fn(&str) -> Option<V>) -> Result<String, String> {
    if !text.contains('{') {
        return Ok(text.to_owned());
    }
    let mut filled = String::with_capacity(text.len() + 16);
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) | Piece::Escaped(part) => filled.push_str(part),
            Piece::Name(name) => match lookup(name) {
                Some(value) => filled.push_str(value.as_ref()),
                None => return Err(format!("`{{{name}}}` is not known here")),
            },
            Piece::Variable(name) => return Err(format!("`${{{name}}}` is not known here")),
        }
    }
    Ok(filled)
}

/// Fills what `lookup` knows and leaves everything else as it is, to be filled later.
pub fn fill_known<V: AsRef<str>>(text: &str, lookup: impl Fn(&str) -> Option<V>) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let mut filled = String::with_capacity(text.len() + 16);
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) => filled.push_str(part),
            Piece::Escaped(part) => filled.extend(["{", part, "}"]),
            Piece::Name(name) => match lookup(name) {
                Some(value) => filled.push_str(value.as_ref()),
                None => filled.extend(["{", name, "}"]),
            },
            Piece::Variable(name) => filled.extend(["${", name, "}"]),
        }
    }
    filled
}

/// The event placeholders that can be known in an event.
pub fn in_event(event: &EventKey, version_file: bool) -> Vec<&'static str> {
    let known = |name: &&str| match *name {
        "sha" | "sha7" | "timestamp" | "date" => true,
        "branch" => *event != EventKey::Tag,
        "number" => *event == EventKey::PullRequest,
        _ => version_file || *event == EventKey::Tag,
    };
    EVENT.into_iter().filter(known).collect()
}

/// Why an event placeholder can't be known in an event, and what to do.
pub fn why_not(name: &str, event: &EventKey) -> String {
    match name {
        "branch" => format!("`{{branch}}` is not known in {event}"),
        "number" => "`{number}` is known in pull requests only".into(),
        _ => format!("`{{{name}}}` is not known in {event} (set version-file)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        [("python", "3.11"), ("sha7", "abcdef0")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn only_names_in_single_braces_are_filled() {
        for (text, expected) in [
            ("py{python}-{sha7}", "py3.11-abcdef0"),
            ("plain", "plain"),
            ("", ""),
            ("{{python}}", "{python}"),
            ("${{HOME}}", "${HOME}"),
            ("awk '{print $1}' {}", "awk '{print $1}' {}"),
            ("{\"a\": {python}}", "{\"a\": 3.11}"),
            ("{{.Id}} {{json .}}", "{{.Id}} {{json .}}"),
            ("{python", "{python"),
            ("ä{python}ö", "ä3.11ö"),
        ] {
            assert_eq!(fill(text, lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_an_error_or_stays() {
        assert_eq!(fill("{x}", lookup).unwrap_err(), "`{x}` is not known here");
        assert_eq!(fill("${X}", lookup).unwrap_err(), "`${X}` is not known here");
        assert_eq!(fill_known("{python}{x}${Y}{{z}}{", lookup), "3.11{x}${Y}{{z}}{");
    }

    #[test]
    fn filling_in_two_steps_is_filling_at_once() {
        for text in ["{python}-{sha7}-{{python}}-${{A}}", "{{{python}}}", "{{sha7}} {"] {
            let first = fill_known(text, |name| (name == "python").then_some("3.11"));
            assert_eq!(fill(&first, lookup), fill(text, lookup), "{text}");
        }
    }

    #[test]
    fn each_event_knows_its_own() {
        assert!(in_event(&EventKey::Tag, false).contains(&"semver"));
        assert!(!in_event(&EventKey::Schedule, false).contains(&"version"));
        assert!(in_event(&EventKey::Schedule, true).contains(&"version"));
        assert!(!in_event(&EventKey::Tag, true).contains(&"branch"));
        assert!(in_event(&EventKey::PullRequest, false).contains(&"number"));
        assert!(!in_event(&EventKey::Local, false).contains(&"number"));
    }
}
