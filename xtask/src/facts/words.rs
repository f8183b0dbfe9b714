//! Words of a Dockerfile: quotes, escapes and `${NAME:-default}`.
//!
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// The variables that a word may name.
#[derive(Clone, Debug)]
pub struct Vars {
    pub known: BTreeMap<String, String>,
    /// Inside a stage a name that is not known may be set by the base image; before it, it is empty.
    pub others_may_exist: bool,
    /// `\`, or what `# escape=` says.
    pub escape: char,
}

/// Why a word has no text here: the variable or the form that stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap(pub String);

impl Vars {
    /// Fills in the variables and takes quotes away.
    pub fn expand(&self, word: &str) -> Result<String, Gap> {
        self.until(&mut word.chars().peekable(), None)
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

    fn until(&self, chars: &mut Peekable<Chars<'_>>, end: Option<char>) -> Result<String, Gap> {
        let (mut out, mut double) = (String::new(), false);
        while let Some(c) = chars.next() {
            match c {
                _ if Some(c) == end && !double => return Ok(out),
                '"' => double = !double,
                '\'' if !double => out.extend(chars.by_ref().take_while(|c| *c != '\'')),
                '$' => out.push_str(&self.variable(chars)?),
                _ if c == self.escape => out.extend(chars.next()),
                _ => out.push(c),
            }
        }
        if end.is_some() { Err(Gap("a `${` without its `}`".into())) } else { Ok(out) }
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
        if form == Some('}') && !colon {
            return self.value(&name).map(Option::unwrap_or_default);
        }
        let word = self.until(chars, Some('}'))?;
        let value = self.value(&name)?.filter(|value| !colon || !value.is_empty());
        match form {
            Some('-') => Ok(value.unwrap_or(word)),
            Some('+') => Ok(value.map(|_| word).unwrap_or_default()),
            Some('?') => value.ok_or_else(|| Gap(format!("`{name}`: {word}"))),
            _ => Err(Gap(format!("`${{{name}{}…}}`", form.unwrap_or_default()))),
        }
    }

    fn value(&self, name: &str) -> Result<Option<String>, Gap> {
        match self.known.get(name) {
            None if self.others_may_exist => Err(Gap(format!("`{name}`"))),
            value => Ok(value.cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(others_may_exist: bool) -> Vars {
        let known = [("A", "1"), ("E", ""), ("LONG_2", "x y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
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
        ];
        for (word, expected) in table {
            assert_eq!(vars(false).expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn gaps() {
        let table =
            [("$N", true, "`N`"), ("${N:-x}", true, "`N`"), ("${A#x}", false, "`${A#…}`"), ("${A", false, "a `${` without")];
        for (word, others, expected) in table {
            let gap = vars(others).expand(word).expect_err(word);
            assert!(gap.0.starts_with(expected), "{word}: {gap:?}");
        }
        assert_eq!(vars(false).expand("${N:?say which}"), Err(Gap("`N`: say which".into())));
    }

    #[test]
    fn lists_of_assignments() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let expected = [some("X", "1"), some("Y", "two words"), ("Z".to_owned(), None), some("W", "a=b")];
        assert_eq!(vars(false).assignments(r#"X=$A  Y="two words" Z W=a=b"#), expected);
        assert_eq!(vars(false).split(r"a\ b 'c d'e"), [r"a\ b", "'c d'e"]);
    }
}
