//! Words of a Dockerfile: quotes, escapes and `${NAME:-default}`.
//!
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>; moby/buildkit, frontend/dockerfile/shell/lex.go.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::shell;

/// Bytes of a word that is filled in: variables that name each other would make it as long as they like.
const LONGEST: usize = 64 << 10;
/// How deep `${A:-${B:-…}}` may go.
const DEEPEST: usize = 50;

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
        let chars = word.strip_prefix('\u{feff}').unwrap_or(word).chars().peekable();
        Lexer { chars, vars: Some(self), escape: self.escape, quotes: false, depth: 0, words: Words::default() }
            .until(None, false)
    }

    /// `A=1 B="two words" C` → name and value, filled in; `None`: no `=`, or its value is not known here.
    ///
    /// # Errors
    /// A name that is not known here: it may be any.
    pub fn assignments(&self, text: &str) -> Result<Vec<(String, Option<String>)>, Gap> {
        let mut pairs = Vec::new();
        for word in self.split(text) {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            pairs.push((self.expand(name)?, value.and_then(|value| self.expand(value).ok())));
        }
        Ok(pairs)
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
            // An escape character at the end is none of the text.
            let escaped = if c == self.escape && quote != Some('\'') { chars.next() } else { None };
            if c != self.escape || quote == Some('\'') || escaped.is_some() {
                word.push(c);
            }
            word.extend(escaped);
        }
        words.extend(Some(word).filter(|word| !word.is_empty()));
        words
    }

    fn value(&self, name: &str) -> Result<Option<String>, Gap> {
        // No image sets `$@` or `$1`.
        let is_special = name.chars().all(|c| c != '_' && !c.is_alphabetic());
        match self.known.get(name) {
            Some(Some(value)) => Ok(Some(value.clone())),
            None if !self.others_may_exist || is_special => Ok(None),
            None | Some(None) => Err(Gap { what: format!("`{name}`"), is_fault: false }),
        }
    }
}

/// The words of a line as a shell cuts them, with variables as they stand. `raw`: with their quotes and escapes.
///
/// # Errors
/// A quote or a brace that does not end, a form of `${…}` that BuildKit does not know.
pub fn of_shell(line: &str, raw: bool) -> Result<Vec<String>, Gap> {
    let chars = line.strip_prefix('\u{feff}').unwrap_or(line).chars().peekable();
    let mut lexer = Lexer { chars, vars: None, escape: '\\', quotes: raw, depth: 0, words: Words::default() };
    lexer.until(None, raw)?;
    lexer.words.end();
    Ok(lexer.words.all)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    /// `None`: variables stay as they are.
    vars: Option<&'a Vars>,
    escape: char,
    /// Quotes stay in.
    quotes: bool,
    depth: usize,
    words: Words,
}

/// The words that white space separates.
#[derive(Default)]
struct Words {
    all: Vec<String>,
    last: String,
}

impl Words {
    fn push(&mut self, c: char, is_quoted: bool) {
        match c {
            c if is_quoted || !c.is_whitespace() => self.last.push(c),
            _ => self.end(),
        }
    }

    fn end(&mut self) {
        self.all.extend(Some(std::mem::take(&mut self.last)).filter(|word| !word.is_empty()));
    }
}

impl Lexer<'_> {
    /// Up to `end`, or all of it. `raw`: escapes stay in, for a pattern.
    fn until(&mut self, end: Option<char>, raw: bool) -> Result<String, Gap> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            if Some(c) == end {
                return Ok(out);
            }
            let (part, is_quoted) = match c {
                '$' => (self.variable()?, false),
                '\'' => (self.single()?, true),
                '"' => (self.double(raw)?, true),
                '<' if self.chars.next_if_eq(&'<').is_some() => {
                    let blanks = std::iter::from_fn(|| self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')));
                    (format!("<<{}", blanks.collect::<String>()), true)
                }
                _ if c == self.escape => {
                    let kept = Some(c).filter(|_| raw);
                    (kept.into_iter().chain(self.chars.next()).collect(), true)
                }
                _ => {
                    self.words.push(c, false);
                    out.push(c);
                    continue;
                }
            };
            part.chars().for_each(|c| self.words.push(c, is_quoted));
            out.push_str(&part);
            if out.len() > LONGEST && self.vars.is_some() {
                return Err(Gap { what: format!("a text of more than {LONGEST} bytes"), is_fault: false });
            }
        }
        match end {
            Some(end) => Err(Gap::fault(format!("a `${{` without its `{end}`"))),
            None => Ok(out),
        }
    }

    fn single(&mut self) -> Result<String, Gap> {
        let mut out = String::from(if self.quotes { "'" } else { "" });
        loop {
            match self.chars.next() {
                None => return Err(Gap::fault("a `'` without its end".into())),
                Some('\'') => break,
                Some(c) => out.push(c),
            }
        }
        out.extend(Some('\'').filter(|_| self.quotes));
        Ok(out)
    }

    fn double(&mut self, raw: bool) -> Result<String, Gap> {
        let mut out = String::from(if self.quotes { "\"" } else { "" });
        loop {
            match self.chars.next() {
                None => return Err(Gap::fault("a `\"` without its end".into())),
                Some('"') => break,
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => {
                    out.extend(Some(c).filter(|_| raw));
                    // It is itself before most others.
                    let escaped = self.chars.next_if(|next| ['"', '$', self.escape].contains(next));
                    out.push(escaped.unwrap_or(c));
                }
                Some(c) => out.push(c),
            }
        }
        out.extend(Some('"').filter(|_| self.quotes));
        Ok(out)
    }

    /// What stands after a `$`.
    fn variable(&mut self) -> Result<String, Gap> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return match self.vars {
                _ if name.is_empty() => Ok("$".into()),
                None => Ok(format!("${name}")),
                Some(vars) => Ok(vars.value(&name)?.unwrap_or_default()),
            };
        }
        if self.chars.peek().is_none_or(|c| matches!(c, '{' | '}' | ':')) {
            return Err(Gap::fault("a `${` without a name".into()));
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Gap { what: format!("`${{` within {DEEPEST} others"), is_fault: false });
        }
        let name = self.name();
        let colon = self.chars.next_if_eq(&':').is_some();
        let form = self.chars.next();
        let text = match form {
            Some('}') if !colon => self.plain(&name),
            Some(end @ ('#' | '%')) if !colon => self.shortened(&name, end),
            Some('/') if !colon => self.replaced(&name),
            Some(form) if colon || matches!(form, '+' | '-' | '?') => self.chosen(&name, colon, form),
            Some(form) => Err(Gap::fault(format!("`${{{name}{form}…}}`"))),
            None => Err(Gap::fault("a `${` without its `}`".into())),
        }?;
        self.depth -= 1;
        Ok(text)
    }

    /// Digits, one of the shell's own, or letters and digits.
    fn name(&mut self) -> String {
        let is_digit = |c: &char| c.is_numeric();
        let mut name = String::new();
        if self.chars.peek().is_some_and(is_digit) {
            name.extend(std::iter::from_fn(|| self.chars.next_if(is_digit)));
        } else if let Some(special) = self.chars.next_if(|c| "@*#?-$!".contains(*c)) {
            name.push(special);
        } else {
            name.extend(std::iter::from_fn(|| self.chars.next_if(|c| c.is_alphanumeric() || *c == '_')));
        }
        name
    }

    fn plain(&self, name: &str) -> Result<String, Gap> {
        match self.vars {
            None => Ok(format!("${{{name}}}")),
            Some(vars) => Ok(vars.value(name)?.unwrap_or_default()),
        }
    }

    /// What stands up to the `end` of a form. The word around it loses its beginning, in BuildKit, too.
    fn inner(&mut self, end: char, raw: bool) -> Result<String, Gap> {
        self.words.last.clear();
        let all = std::mem::take(&mut self.words.all);
        let inner = self.until(Some(end), raw);
        self.words = Words { all, last: String::new() };
        inner
    }

    /// `${NAME:-word}` and its like.
    fn chosen(&mut self, name: &str, colon: bool, form: char) -> Result<String, Gap> {
        if colon && matches!(form, '#' | '%') {
            return Err(Gap::fault(format!("`${{{name}{form}…}}`")));
        }
        let word = self.inner('}', false)?;
        let Some(vars) = self.vars else { return Ok(format!("${{{name}{}{form}{word}}}", if colon { ":" } else { "" })) };
        let value = vars.value(name)?.filter(|value| !colon || !value.is_empty());
        match form {
            '-' => Ok(value.unwrap_or(word)),
            '+' => Ok(value.map(|_| word).unwrap_or_default()),
            '?' => value.ok_or_else(|| Gap::fault(format!("`{name}`: {word}"))),
            _ => Err(Gap::fault(format!("`${{{name}{form}…}}`"))),
        }
    }

    /// `${NAME#pattern}` and `${NAME%pattern}`, which take the shortest beginning or end away; doubled the longest.
    fn shortened(&mut self, name: &str, end: char) -> Result<String, Gap> {
        let word = self.inner('}', true)?;
        let (longest, pattern) = word.strip_prefix(end).map_or((false, word.as_str()), |pattern| (true, pattern));
        let Some(vars) = self.vars else { return Ok(format!("${{{name}{end}{word}}}")) };
        let value = vars.value(name)?.unwrap_or_default();
        let without = if end == '#' { shell::without_prefix } else { shell::without_suffix };
        without(&value, pattern, longest).ok_or_else(|| Gap::fault(format!("`${{{name}{end}{word}}}`")))
    }

    /// `${NAME/pattern/text}`; with `//` every match.
    fn replaced(&mut self, name: &str) -> Result<String, Gap> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, text) = (self.inner('/', true)?, self.inner('}', true)?);
        let Some(vars) = self.vars else { return Ok(format!("${{{name}/{pattern}/{text}}}")) };
        let value = vars.value(name)?.unwrap_or_default();
        let gap = || Gap { what: format!("`${{{name}/{pattern}/{text}}}`"), is_fault: false };
        shell::replaced(&value, &pattern, &text, all).ok_or_else(gap)
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
            ("$-x-$@$1b$#${V//_/$$}", "x-bv123"),
            ("$é${é:-z}$NO1", "z"),
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
            ("${V//_/\\$}", false, false, "`${V/_/\\$}`"),
            ("${A:#x}", false, true, "`${A#…}`"),
            ("${A=x}", false, true, "`${A=…}`"),
            ("${A#\\x}", false, true, "`${A#\\x}`"),
            ("${A/x}", false, true, "a `${` without its `/`"),
            ("${A", false, true, "a `${` without its `}`"),
            ("${A:-x", false, true, "a `${` without its `}`"),
            ("${}", false, true, "a `${` without a name"),
            ("'a", false, true, "a `'` without its end"),
            ("\"a", false, true, "a `\"` without its end"),
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
        assert_eq!(vars(false).assignments(r#"X=$A  Y="two words" Z W=a=b"#).as_deref(), Ok(&expected[..]));
        assert_eq!(vars(false).assignments("${A}X=1 \"Y\"=2"), Ok(vec![some("1X", "1"), some("Y", "2")]));
        assert!(vars(true).assignments("A=1 $N=1").is_err());
        assert_eq!(vars(false).split(r"a\ b 'c d'e"), [r"a\ b", "'c d'e"]);
    }
}
