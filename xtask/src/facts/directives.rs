//! The directives at the top of a Dockerfile: `# syntax=`, `# escape=`, `# check=`.
//!
//! moby/buildkit, frontend/dockerfile/parser/directives.go. BuildKit looks at them twice, and not in the same way: for
//! `syntax` it leaves a shebang out and knows other comments; for `escape` it allows blanks before the `#`.

use super::parser::{text, trim_start};

pub struct Directives {
    /// The image that reads the file.
    pub syntax: Option<String>,
    /// `\` or a backtick; else what is wrong with it.
    pub escape: Result<u8, &'static str>,
}

/// Name and value of a directive.
struct Directive {
    name: String,
    value: String,
}

pub fn read(bytes: &[u8]) -> Directives {
    let bytes = without_bom(bytes);
    let behind = &bytes[shebang(bytes)..];
    let named = |comment| find(scan(behind, comment, false), "syntax");
    let cut = |value: String| value.split(' ').next().unwrap_or_default().to_owned();
    let syntax = named("#").or_else(|| named("//")).map(cut).or_else(|| in_json(behind));
    let escape = match find(scan(bytes, "#", true), "escape").as_deref() {
        None | Some("\\") => Ok(b'\\'),
        Some("`") => Ok(b'`'),
        Some(_) => Err("`# escape=` is neither a backslash nor a backtick"),
    };
    Directives { syntax, escape }
}

/// The text with a comment below its directives, which count at the very top only, one or the other with blanks before
/// it. JSON has no comments.
pub fn with_header(file: &str, header: &str) -> String {
    let bytes = file.as_bytes();
    let start = bytes.len() - without_bom(bytes).len();
    let start = start + shebang(&bytes[start..]);
    if in_json(&bytes[start..]).is_some() {
        return file.to_owned();
    }
    let comment =
        if scan(&bytes[start..], "#", false).is_empty() && !scan(&bytes[start..], "//", false).is_empty() { "//" } else { "#" };
    let lines = file[start..].split_inclusive('\n').take_while(|line| one(trim_start(line.as_bytes()), comment).is_some());
    let (above, below) = file.split_at(start + lines.map(str::len).sum::<usize>());
    let end = if above.ends_with('\n') || above.trim_start_matches('\u{feff}').is_empty() { "" } else { "\n" };
    format!("{above}{end}{comment} {header}\n{below}")
}

/// The first line below the directives.
pub fn first_line(file: &str) -> &str {
    let file = file.trim_start_matches('\u{feff}');
    let mut lines = file[shebang(file.as_bytes())..].lines();
    let is_one = |line: &str, comment| one(trim_start(line.as_bytes()), comment).is_some();
    lines.find(|line| !["#", "//"].iter().any(|comment| is_one(line, comment))).unwrap_or_default()
}

pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The length of a first line that begins with `#!`.
fn shebang(bytes: &[u8]) -> usize {
    let end = || bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
    if bytes.starts_with(b"#!") { end() } else { 0 }
}

/// Those at the beginning. An unknown one, or one for the second time, ends them.
fn scan(bytes: &[u8], comment: &str, indented: bool) -> Vec<Directive> {
    let mut found: Vec<Directive> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = if indented { trim_start(line) } else { line };
        match one(line, comment) {
            Some(directive) if found.iter().all(|other| other.name != directive.name) => found.push(directive),
            _ => break,
        }
    }
    found
}

fn find(directives: Vec<Directive>, name: &str) -> Option<String> {
    directives.into_iter().find(|directive| directive.name == name).map(|directive| directive.value)
}

fn one(line: &[u8], comment: &str) -> Option<Directive> {
    let line = text(line.strip_prefix(comment.as_bytes())?);
    let line = line.trim_end_matches(['\n', '\r']).trim_start();
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end_matches(is_blank).to_ascii_lowercase();
    // A value of nothing but blanks is one, too.
    let value = if value.is_empty() { return None } else { value.trim_matches(is_blank).to_owned() };
    ["syntax", "escape", "check"].contains(&name.as_str()).then_some(Directive { name, value })
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}

/// `{"syntax": "…"}`
fn in_json(bytes: &[u8]) -> Option<String> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    map.get("syntax")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &[u8]) -> (Option<String>, Option<char>) {
        let directives = read(text);
        (directives.syntax, directives.escape.ok().map(char::from))
    }

    #[test]
    fn as_buildkit_finds_them() {
        let table: [(&str, Option<&str>, Option<char>); 24] = [
            ("# syntax=a\n# escape=`\n", Some("a"), Some('`')),
            ("#Syntax = a b  \r\n#\u{a0}ESCAPE=`\r\n", Some("a"), Some('`')),
            ("\u{feff}# syntax=a", Some("a"), Some('\\')),
            // A shebang is left out for one of them alone.
            ("#!/usr/bin/env x\n# syntax=a\n# escape=`\n", Some("a"), Some('\\')),
            ("\u{feff}#!x\n# syntax=a", Some("a"), Some('\\')),
            ("# syntax=a\n#!x\n# escape=`", Some("a"), Some('\\')),
            // The first counts.
            ("# syntax=a\n# syntax=b\n", Some("a"), Some('\\')),
            ("# escape=`\n# escape=\\\n", None, Some('`')),
            ("# syntax=a\n# syntax=b\n# escape=`\n", Some("a"), Some('\\')),
            // Others end them.
            ("# check=skip=all\n# syntax=a", Some("a"), Some('\\')),
            ("# author=me\n# syntax=a\n# escape=`", None, Some('\\')),
            ("# a comment\n# syntax=a", None, Some('\\')),
            ("\n# syntax=a\n# escape=`", None, Some('\\')),
            ("# syntax=a\n\n# escape=`", Some("a"), Some('\\')),
            ("# check=\n# escape=`", None, Some('\\')),
            ("# check= \n# escape=`", None, Some('`')),
            ("FROM a\n# escape=`", None, Some('\\')),
            // Blanks before them.
            ("  # syntax=a\n\u{a0}# escape=`", None, Some('`')),
            ("# escape=x", None, None),
            // Other comments.
            ("// syntax=a b\n// escape=`", Some("a"), Some('\\')),
            ("#!x\n// check=y\n//syntax=a", Some("a"), Some('\\')),
            ("{\"syntax\": \"a b\", \"x\": [1]}", Some("a b"), Some('\\')),
            ("{\"syntax\": 1}", None, Some('\\')),
            ("{\"syntax\": \"a\"", None, Some('\\')),
        ];
        for (text, syntax, escape) in table {
            assert_eq!(read_text(text.as_bytes()), (syntax.map(str::to_owned), escape), "{text:?}");
        }
        assert_eq!(read_text(b"# syntax=a\xff\n# escape=`").1, Some('`'));
    }

    #[test]
    fn a_header_follows_them() {
        for (text, expected) in [
            ("FROM a\n", "# h\nFROM a\n"),
            ("", "# h\n"),
            ("# a comment\nFROM a\n", "# h\n# a comment\nFROM a\n"),
            ("# syntax=x\n# escape=`\nFROM a\n", "# syntax=x\n# escape=`\n# h\nFROM a\n"),
            ("# syntax=x\r\n# check=y\r\nFROM a", "# syntax=x\r\n# check=y\r\n# h\nFROM a"),
            ("# check=y\n  # escape=`\nFROM a", "# check=y\n  # escape=`\n# h\nFROM a"),
            ("# syntax=x", "# syntax=x\n# h\n"),
            ("# syntax=x\n\u{a0} # escape=`\nFROM a", "# syntax=x\n\u{a0} # escape=`\n# h\nFROM a"),
            ("# syntax=x\n# a=b\n# escape=`\n", "# syntax=x\n# h\n# a=b\n# escape=`\n"),
            ("\u{feff}FROM a", "\u{feff}# h\nFROM a"),
            ("#!run\n# syntax=x\nFROM a", "#!run\n# syntax=x\n# h\nFROM a"),
            ("\u{feff}#!run", "\u{feff}#!run\n# h\n"),
            ("// syntax=x\nthing", "// syntax=x\n// h\nthing"),
            ("{\"syntax\": \"x\"}", "{\"syntax\": \"x\"}"),
        ] {
            let with = with_header(text, "h");
            assert_eq!(with, expected, "{text:?}");
            assert_eq!(read_text(with.as_bytes()), read_text(text.as_bytes()), "{text:?}: the same directives");
            assert_eq!(first_line(&with).ends_with(" h"), !text.starts_with('{'), "{text:?}");
        }
    }
}
