//! `.dockerignore`: which files of a context a build never sees.
//!
//! By the rules of <https://docs.docker.com/build/concepts/context/#dockerignore-files> and BuildKit's order of matching.
//! What cannot be read leaves files in: too many make a build too often, too few would make it too seldom.

use serde::{Deserialize, Serialize};

/// The patterns of one file, in order; the last that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    /// Cleaned, without its `!`.
    pattern: String,
    /// `!`: takes files back.
    exception: bool,
    how: How,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Exact,
    /// `docs/**`, `doc**`
    Prefix(String),
    /// `**/node_modules`, `**.pyc`
    Suffix(String),
    /// In each of several ways.
    Tokens(Vec<Vec<Token>>),
    /// Not understood: nothing is left out because of it.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `**/`, or `**` before more, at the beginning of a name: any number of folders.
    Deep,
    /// `**` at the end: anything.
    All,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Bytes of a `.dockerignore`.
pub const LONGEST: u64 = 256 << 10;
/// Patterns of a `.dockerignore`; each file of a context is held against each of them.
const MOST: usize = 10_000;
/// Characters of its patterns that have wildcards.
const WIDEST: usize = 32 << 10;

impl From<Vec<String>> for Ignore {
    fn from(lines: Vec<String>) -> Ignore {
        Ignore { rules: lines.iter().map(|line| Rule::new(line)).collect() }
    }
}

impl From<Ignore> for Vec<String> {
    fn from(ignore: Ignore) -> Vec<String> {
        ignore.rules.iter().map(|rule| format!("{}{}", if rule.exception { "!" } else { "" }, rule.pattern)).collect()
    }
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Ignore {
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let lines = lines.filter(|line| !line.is_empty()).map(|line| match line.strip_prefix('!') {
            Some(rest) => format!("!{}", clean(rest.trim())),
            None => clean(line),
        });
        lines.collect::<Vec<_>>().into()
    }

    /// Why matching could take minutes.
    pub fn excess(&self) -> Option<String> {
        let wide = self.rules.iter().filter(|rule| matches!(rule.how, How::Tokens(_)));
        let width: usize = wide.map(|rule| rule.pattern.len()).sum();
        match self.rules.len() {
            count if count > MOST => Some(format!("has {count} patterns, and may have {MOST}")),
            _ if width > WIDEST => Some(format!("has {width} bytes of patterns with wildcards, and may have {WIDEST}")),
            _ => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path is left out. `parent` is what this gave for the folder around it (empty at the root), because
    /// what matches a folder matches everything in it.
    pub fn step(&self, parent: &[bool], path: &str) -> (bool, Vec<bool>) {
        let (mut left_out, mut all) = (false, Vec::with_capacity(self.rules.len()));
        for (at, rule) in self.rules.iter().enumerate() {
            // A rule that would change nothing is not asked, and not inherited either: BuildKit does it so.
            let inherited = parent.get(at).copied().unwrap_or_default();
            let matches = inherited || (rule.exception == left_out && rule.matches(path));
            if matches {
                left_out = !rule.exception;
            }
            all.push(matches);
        }
        (left_out, all)
    }

    /// Whether a path from the root of the context is left out.
    pub fn ignores(&self, path: &str) -> bool {
        let (mut state, mut left_out) = (Vec::new(), false);
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            (left_out, state) = self.step(&state, &path[..end]);
        }
        left_out
    }

    /// Whether something in a folder that is left out may be taken back by an exception.
    pub fn may_return(&self, folder: &str) -> bool {
        self.rules.iter().any(|rule| rule.exception && rule.may_match_in(folder))
    }
}

impl Rule {
    fn new(line: &str) -> Rule {
        let (pattern, exception) = line.strip_prefix('!').map_or((line, false), |pattern| (pattern, true));
        Rule { pattern: pattern.to_owned(), exception, how: How::of(pattern) }
    }

    fn matches(&self, path: &str) -> bool {
        match &self.how {
            How::Exact => path == self.pattern,
            How::Prefix(prefix) => path.starts_with(prefix.as_str()),
            // `**/foo` is foo at the root, too.
            How::Suffix(suffix) => path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path),
            How::Tokens(ways) => ways.iter().any(|tokens| fits(tokens, path) && run(tokens, &path.chars().collect::<Vec<_>>())),
            How::Unknown => self.exception,
        }
    }

    fn may_match_in(&self, folder: &str) -> bool {
        let mut parts = self.pattern.split('/');
        for name in folder.split('/') {
            match parts.next() {
                None => return false,
                // From here on it may reach any depth.
                Some(part) if part.contains("**") || part.contains(['[', '\\']) => return true,
                Some(part) if !Rule::new(part).matches(name) => return self.how == How::Unknown,
                Some(_) => {}
            }
        }
        parts.next().is_some() || self.how == How::Unknown
    }
}

impl How {
    fn of(pattern: &str) -> How {
        let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
        // Bytes that are no UTF-8 could be any.
        if pattern.is_empty() || pattern == "/" || pattern.contains(char::REPLACEMENT_CHARACTER) {
            return How::Unknown;
        }
        if !special(pattern) {
            return How::Exact;
        }
        if let Some(suffix) = pattern.strip_prefix("**").filter(|suffix| !special(suffix)) {
            return How::Suffix(suffix.to_owned());
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|prefix| !special(prefix)) {
            return How::Prefix(prefix.to_owned());
        }
        tokens(pattern).and_then(ways).map_or(How::Unknown, How::Tokens)
    }
}

/// `None`: something that BuildKit refuses, or reads in a way that nobody can mean.
fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() { Token::Deep } else { Token::All }
            }
            '*' => Token::Star,
            '?' => Token::Any,
            // Letters and digits after a backslash are classes of Go's regular expressions.
            '\\' => Token::Char(chars.next().filter(|c| c.is_ascii_punctuation())?),
            '[' => set(&mut chars)?,
            '^' => return None,
            other => Token::Char(other),
        });
    }
    Some(tokens)
}

/// `a**/b` is `ab`, or `a` and `/b` with anything between them. `None`: too many ways, or a set between stars that may be
/// a slash.
fn ways(tokens: Vec<Token>) -> Option<Vec<Vec<Token>>> {
    const MOST: usize = 16;
    let stars = tokens.iter().filter(|token| **token == Token::Star).count();
    if stars > 1 && tokens.iter().any(|token| matches!(token, Token::Set { .. }) && token.is('/')) {
        return None;
    }
    let mut ways: Vec<Vec<Token>> = vec![Vec::with_capacity(tokens.len())];
    let mut before = Token::Char('/');
    for token in tokens {
        if token == Token::Deep && before != Token::Char('/') {
            let through = |way: &Vec<Token>| [way.as_slice(), &[Token::All, Token::Char('/')]].concat();
            ways.extend(ways.iter().map(through).collect::<Vec<_>>());
        } else {
            ways.iter_mut().for_each(|way| way.push(token.clone()));
        }
        if ways.len() > MOST {
            return None;
        }
        before = token;
    }
    Some(ways)
}

/// `a-z_]` after the `[`.
fn set(chars: &mut impl Iterator<Item = char>) -> Option<Token> {
    let (mut negated, mut ranges, mut first) = (false, Vec::new(), true);
    let mut range_from: Option<char> = None;
    loop {
        let c = match chars.next()? {
            '^' if std::mem::take(&mut first) => {
                negated = true;
                continue;
            }
            ']' if !ranges.is_empty() && range_from.is_none() => return Some(Token::Set { negated, ranges }),
            '[' | ']' | '*' | '?' => return None,
            '\\' => chars.next().filter(|c| c.is_ascii_punctuation())?,
            '-' if range_from.is_none() && !ranges.is_empty() => {
                range_from = ranges.pop().filter(|(from, to)| from == to).map(|(from, _)| from);
                range_from?;
                continue;
            }
            c => c,
        };
        first = false;
        let from = range_from.take().unwrap_or(c);
        if from > c {
            return None;
        }
        ranges.push((from, c));
    }
}

/// Whether the plain beginning and end are there: most paths stop here.
fn fits(tokens: &[Token], path: &str) -> bool {
    let plain = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
    tokens.iter().map_while(plain).zip(path.chars().map(Some).chain(std::iter::repeat(None))).all(|(a, b)| Some(a) == b)
        && tokens
            .iter()
            .rev()
            .map_while(plain)
            .zip(path.chars().rev().map(Some).chain(std::iter::repeat(None)))
            .all(|(a, b)| Some(a) == b)
}

/// Only the last star and the last of those that take slashes may have to take more: what matched before them matched as
/// early as it can, and they can take the rest.
fn run(tokens: &[Token], path: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    // The place behind such a token, and how far it has taken the path.
    let mut star: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize)> = None;
    loop {
        match tokens.get(at) {
            None if from == path.len() => return true,
            Some(Token::Star) => {
                at += 1;
                star = Some((at, from));
                continue;
            }
            Some(Token::Deep | Token::All) => {
                at += 1;
                (deep, star) = (Some((at, from)), None);
                continue;
            }
            Some(token) if path.get(from).is_some_and(|c| token.is(*c)) => {
                (at, from) = (at + 1, from + 1);
                continue;
            }
            _ => {}
        }
        if let Some((behind, taken)) = star
            && path.get(taken).is_some_and(|c| *c != '/')
        {
            (at, from) = (behind, taken + 1);
            star = Some((at, from));
        } else if let Some((behind, taken)) = deep
            && let Some(more) = more(&tokens[behind - 1], path, taken)
        {
            (at, from) = (behind, more);
            (deep, star) = (Some((at, from)), None);
        } else {
            return false;
        }
    }
}

/// How far `**/` or `**` takes a path when it takes the least more; no line end.
fn more(token: &Token, path: &[char], taken: usize) -> Option<usize> {
    let left = &path[taken..];
    let length = if *token == Token::All { 1 } else { left.iter().position(|c| *c == '/')? + 1 };
    (length <= left.len() && !left[..length].contains(&'\n')).then_some(taken + length)
}

impl Token {
    fn is(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::Any => c != '/',
            Token::Set { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
            Token::Star | Token::Deep | Token::All => false,
        }
    }
}

/// Without `.`, `..`, double, leading and trailing slashes; what is above the context stays above it.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (parts.is_empty(), rooted) {
        (false, _) => parts.join("/"),
        (true, true) => "/".into(),
        (true, false) if pattern.is_empty() => String::new(),
        (true, false) => ".".into(),
    }
}

#[cfg(test)]
#[path = "ignore_tests.rs"]
mod tests;
