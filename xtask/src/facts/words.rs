//! Words of a Dockerfile: quotes, escapes and `${NAME:-default}`.
//!
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::shell;

/// The variables that a word may name.
#[derive(Clone, Debug)]
pub struct Vars {
    /// Name → value; `None`: it has one that is not known here.
    pub known: BTreeMap<String, Option<String>>,
    /// Inside a stage a name that is not known may be set by the base image; before it, it is empty.
    pub others_may_exist: bool,
    /// `\`, or what `# escape=` says.
    pub escape: char,
}

/// Why a word has no text here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The variable or the form that stood in the way.
    pub what: String,
    /// No build gives it a text: BuildKit refuses it.
    pub is_fault: bool,
}

impl Gap {
    fn fault(what: String) -> Gap {
        Gap { what, is_fault: true }
    }
}

impl Vars {
    /// Fills in the variables and takes quotes away.
    pub fn expand(&self, word: &str) -> Result<String, Gap> {
        self.until(&mut word.chars().peekable(), None, false)
    }

    /// `A=1 B="two words" C` → name and value, filled in; `None`: no `=`, or its value is not known here.
    pub fn assignments(&self, text: &str) -> Vec<(String, Option<String>)> {
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), self.expand(value).ok()),
            None => (word, None),
        };
        self.split(text).into_iter().map(pair).collect()
    }

    /// Splits at white space outside quotes; quotes and escapes stay in.
    pub fn split(&self, text: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                    continue;
                }
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if open == c => quote = None,
                _ => {}
            }
            word.push(c);
            if c == self.escape && quote != Some('\'') {
                word.extend(chars.next());
            }
        }
        words.extend(Some(word).filter(|word| !word.is_empty()));
        words
    }

    /// `raw`: escapes stay in, for a pattern.
    fn until(&self, chars: &mut Peekable<Chars<'_>>, end: Option<char>, raw: bool) -> Result<String, Gap> {
        let (mut out, mut double) = (String::new(), false);
        while let Some(c) = chars.next() {
            match c {
                _ if Some(c) == end && !double => return Ok(out),
                '"' => double = !double,
                '\'' if !double => out.extend(chars.by_ref().take_while(|c| *c != '\'')),
                '$' => out.push_str(&self.variable(chars)?),
                _ if c == self.escape => {
                    out.extend(Some(c).filter(|_| raw));
                    // Between double quotes it is itself before most others.
                    let is_itself = |next: &char| double && !['"', '$', self.escape].contains(next);
                    out.extend(if chars.peek().is_some_and(is_itself) { Some(c) } else { chars.next() });
                }
                _ => out.push(c),
            }
        }
        match end {
            Some(end) => Err(Gap::fault(format!("a `${{` without its `{end}`"))),
            None => Ok(out),
        }
    }

    /// What stands after a `$`.
    fn variable(&self, chars: &mut Peekable<Chars<'_>>) -> Result<String, Gap> {
        let braced = chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        match (braced, name.is_empty()) {
            (false, true) => return Ok("$".into()),
            (false, false) => return self.value(&name).map(Option::unwrap_or_default),
            (true, _) => {}
        }
        let colon = chars.next_if_eq(&':').is_some();
        let form = chars.next();
        match form {
            Some('}') if !colon => self.value(&name).map(Option::unwrap_or_default),
            Some(end @ ('#' | '%')) if !colon => self.shortened(&name, end, chars),
            Some('/') if !colon => self.replaced(&name, chars),
            _ => {
                let word = self.until(chars, Some('}'), false)?;
                let value = self.value(&name)?.filter(|value| !colon || !value.is_empty());
                match form {
                    Some('-') => Ok(value.unwrap_or(word)),
                    Some('+') => Ok(value.map(|_| word).unwrap_or_default()),
                    Some('?') => value.ok_or_else(|| Gap::fault(format!("`{name}`: {word}"))),
                    _ => Err(Gap::fault(format!("`${{{name}{}…}}`", form.unwrap_or_default()))),
                }
            }
        }
    }

    /// `${NAME#pattern}` and `${NAME%pattern}`, which take the shortest beginning or end away; doubled the longest.
    fn shortened(&self, name: &str, end: char, chars: &mut Peekable<Chars<'_>>) -> Result<String, Gap> {
        let word = self.until(chars, Some('}'), true)?;
        let (longest, pattern) = word.strip_prefix(end).map_or((false, word.as_str()), |pattern| (true, pattern));
        let value = self.value(name)?.unwrap_or_default();
        let without = if end == '#' { shell::without_prefix } else { shell::without_suffix };
        without(&value, pattern, longest).ok_or_else(|| Gap::fault(format!("`${{{name}{end}{word}}}`")))
    }

    /// `${NAME/pattern/text}`; with `//` every match.
    fn replaced(&self, name: &str, chars: &mut Peekable<Chars<'_>>) -> Result<String, Gap> {
        let all = chars.next_if_eq(&'/').is_some();
        let (pattern, text) = (self.until(chars, Some('/'), true)?, self.until(chars, Some('}'), true)?);
        let value = self.value(name)?.unwrap_or_default();
        let gap = || Gap { what: format!("`${{{name}/{pattern}/{text}}}`"), is_fault: false };
        shell::replaced(&value, &pattern, &text, all).ok_or_else(gap)
    }

    fn value(&self, name: &str) -> Result<Option<String>, Gap> {
        match self.known.get(name) {
            Some(Some(value)) => Ok(Some(value.clone())),
            None if !self.others_may_exist => Ok(None),
            None | Some(None) => Err(Gap { what: format!("`{name}`"), is_fault: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(others_may_exist: bool) -> Vars {
        let known = [("A", Some("1")), ("E", Some("")), ("LONG_2", Some("x y")), ("V", Some("v1_2_3")), ("NO", None)];
        let known = known.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        Vars { known: known.into(), others_may_exist, escape: '\\' }
    }

    #[test]
    fn words() {
        let table = [
            ("a$A-${A}b", "a1-1b"),
            ("${A:-z}${N:-z}${E:-z}${E-z}", "1zz"),
            ("${A:+z}${N:+z}${E+z}", "zz"),
            ("${N:-${N:-${A}}}", "1"),
            ("${N:-\"a}b\"}", "a}b"),
            (r#""q $A"'q $A'\$A"#, "q 1q $A$A"),
            ("$LONG_2", "x y"),
            ("$N", ""),
            ("100$", "100$"),
            ("$-x", "$-x"),
            (r#""a\b\\\"\$A"\b"#, r#"a\b\"$Ab"#),
            ("${V#v}-${V%_*}-${V%%_*}-${V##*_}", "1_2_3-v1_2-v1-3"),
            ("${V/_/.}-${V//_/.}-${V//\\//}", "v1.2_3-v1.2.3-v1_2_3"),
            ("${V#v$A}${N#x}${V%\"_3\"}", "_2_3v1_2"),
        ];
        for (word, expected) in table {
            assert_eq!(vars(false).expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn gaps() {
        let table = [
            ("$N", true, false, "`N`"),
            ("${N:-x}", true, false, "`N`"),
            ("$NO", false, false, "`NO`"),
            ("${NO:+x}", false, false, "`NO`"),
            ("${NO#x}", false, false, "`NO`"),
            ("${V//_/$$}", false, false, "`${V/_/$$}`"),
            ("${A:#x}", false, true, "`${A#…}`"),
            ("${A=x}", false, true, "`${A=…}`"),
            ("${A#\\x}", false, true, "`${A#\\x}`"),
            ("${A/x}", false, true, "a `${` without its `/`"),
            ("${A", false, true, "a `${` without its `}`"),
            ("${N:?say which}", false, true, "`N`: say which"),
        ];
        for (word, others, is_fault, what) in table {
            assert_eq!(vars(others).expand(word), Err(Gap { what: what.into(), is_fault }), "{word}");
        }
    }

    #[test]
    fn lists_of_assignments() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let expected = [some("X", "1"), some("Y", "two words"), ("Z".to_owned(), None), some("W", "a=b")];
        assert_eq!(vars(false).assignments(r#"X=$A  Y="two words" Z W=a=b"#), expected);
        assert_eq!(vars(false).split(r"a\ b 'c d'e"), [r"a\ b", "'c d'e"]);
    }
}
