//! Foreign text made safe to print: control and invisible characters are shown, and nothing is a command to who reads it.
//!
//! File names, branch names, lines of a Dockerfile, answers of registries and the output of builds and tests are written
//! by others. `report` prints nothing that did not go through here.

use std::fmt::Write as _;

/// Several lines. Colours are left out; other control characters but tabs are shown, like `\r` and `\u{1b}`.
pub fn text(text: &str) -> String {
    show(text, |c| c == '\n')
}

/// One line: a line break is shown, too.
pub fn line(text: &str) -> String {
    show(text, |_| false)
}

/// The same for JSON, which stays the same value: hidden characters are escaped as JSON does it.
pub fn json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for (before, c) in with_before(json) {
        if c == '\n' || !is_hidden(before, c) {
            shown.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _infallible = write!(shown, "\\u{unit:04x}");
            });
        }
    }
    // Only strings have it: numbers, names and punctuation don't.
    shown.replace("##[", "#\\u0023[")
}

/// A cell of a table in Markdown, where nothing is markup.
pub fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '$' | '@' | '!' | '&') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// Lines that GitHub's runner takes for text. It looks for `::name::` at the start of a line, behind any blanks, and for
/// `##[name]` anywhere: `ActionCommand.cs` of github.com/actions/runner.
pub fn inert(shown: &str) -> String {
    let line = |line: &str| {
        let words = line.trim_start();
        let blanks = &line[..line.len() - words.len()];
        format!("{blanks}{}{}", if words.starts_with("::") { "\\" } else { "" }, words.replace("##[", "##\\["))
    };
    shown.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// What stands behind `::name::` in a command of ours; `line` is [`line`]'s.
pub fn command_data(line: &str) -> String {
    line.replace('%', "%25")
}

fn show(text: &str, stays: impl Fn(char) -> bool) -> String {
    let plain = without_colours(text);
    let mut shown = String::with_capacity(plain.len());
    for (before, c) in with_before(&plain) {
        match c {
            _ if stays(c) || !is_hidden(before, c) => shown.push(c),
            '\n' => shown += "\\n",
            '\r' => shown += "\\r",
            _ => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// Each character behind the one before it.
fn with_before(text: &str) -> impl Iterator<Item = (Option<char>, char)> {
    std::iter::once(None).chain(text.chars().map(Some)).zip(text.chars())
}

/// Whether a terminal, a browser or a comparison of text would not show a character as itself: controls (C0, DEL, C1),
/// line separators, marks of direction, and what Unicode calls default-ignorable. An emoji keeps its variation selector.
fn is_hidden(before: Option<char>, c: char) -> bool {
    match c {
        '\t' => false,
        '\u{fe00}'..='\u{fe0f}' => before.is_none_or(|before| before.is_ascii() || is_hidden(None, before)),
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' => true,
        '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => c.is_control(),
    }
}

/// Leaves out the sequences that set colours (SGR, ECMA-48 §8.3.117), which tools write without harm.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':')).strip_prefix('m') {
            Some(rest) => plain += rest,
            None => plain = plain + "\u{1b}[" + part,
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_stays() {
        for plain in ["", "a\tb", "naïve – 名前 ✔️ é", "std::fs::read", "{\"a\": [1]}", "C:\\x\\n"] {
            assert_eq!((text(plain), line(plain), json(plain)), (plain.to_owned(), plain.to_owned(), plain.to_owned()));
            assert_eq!(inert(plain), plain);
        }
        assert_eq!(text("a\nb"), "a\nb");
    }

    #[test]
    fn what_is_hidden_is_shown() {
        let cases = [
            ("a\r::warning::x", r"a\r::warning::x"),
            ("a\nb", r"a\nb"),
            ("\u{1b}[31mred\u{1b}[0m \u{1b}[38;2;1:2:3mx", "red x"),
            ("\u{1b}[2J\u{1b}]8;;http://x\u{7}y", r"\u{1b}[2J\u{1b}]8;;http://x\u{7}y"),
            ("\u{9b}31m\u{85}\u{7f}\0", r"\u{9b}31m\u{85}\u{7f}\u{0}"),
            ("a\u{202e}b\u{2069}\u{200b}\u{2028}\u{feff}\u{ad}", r"a\u{202e}b\u{2069}\u{200b}\u{2028}\u{feff}\u{ad}"),
            (":\u{fe0f}:", r":\u{fe0f}:"),
            ("\u{e0041}", r"\u{e0041}"),
        ];
        for (hidden, shown) in cases {
            assert_eq!(line(hidden), shown);
        }
        // A sequence does not come to be where another was left out.
        assert_eq!(line("\u{1b}\u{1b}[0m[2J"), r"\u{1b}[2J");
    }

    #[test]
    fn json_is_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": ["\u{202e}\u{e0041}\u{7f}", "x ##[error]y", "\u{1b}\n"] });
        for written in [value.to_string(), format!("{value:#}")] {
            let shown = json(&written);
            assert!(shown.is_ascii() && !shown.contains("##[") && !shown.contains('\u{7f}'), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn no_line_is_a_command() {
        let cases = [
            ("::warning::x", r"\::warning::x"),
            ("a\n \t\u{a0}::add-mask::x", "a\n \t\u{a0}\\::add-mask::x"),
            ("a ##[error]b ###[x]", r"a ##\[error]b ###\[x]"),
            ("a ::warning::x", "a ::warning::x"),
        ];
        for (foreign, shown) in cases {
            assert_eq!(inert(foreign), shown);
        }
        assert_eq!(command_data("50%0A"), "50%250A");
    }

    #[test]
    fn markdown_has_no_markup() {
        assert_eq!(markdown("a|b\n<img src=x> [l](u) `c` &lt;"), r"a\|b\\n\<img src=x\> \[l\](u) \`c\` \&lt;");
    }
}
