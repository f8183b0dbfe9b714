//! A Dockerfile cut into instructions, by the rules of BuildKit's parser: logical lines, here-documents, flags.
//!
//! moby/buildkit, frontend/dockerfile/parser: `Parse`, `splitCommand`, `extractBuilderFlags`. The text is bytes there,
//! and flags are read byte by byte, so it stays bytes here for as long.

use serde::{Deserialize, Serialize};

use super::directives::{self, Directives};
use super::flags::Flags;
use super::heredoc;

/// Every keyword that BuildKit knows.
const KEYWORDS: [&str; 18] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];
/// Bytes of a line, its end included; BuildKit refuses a longer one.
const LONGEST_LINE: usize = 64 << 10;

pub struct Parsed {
    pub directives: Directives,
    pub instructions: Vec<Instruction>,
    /// The first thing that cannot be read.
    pub unread: Option<Unread>,
}

/// A part of a Dockerfile that this reader does not understand: BuildKit refuses it, or knows more than we do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    pub line: usize,
    pub why: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line that it begins in.
    pub line: usize,
    /// In lower case: `copy`.
    pub keyword: String,
    pub flags: Flags,
    /// All that follows the flags.
    pub text: String,
    /// The lines of its here-documents.
    pub here: String,
    /// What ONBUILD puts off.
    pub trigger: Option<Box<Instruction>>,
}

/// Reads all instructions, also those behind one that cannot be read.
pub fn parse(bytes: &[u8]) -> Parsed {
    let directives = directives::read(bytes);
    let mut parsed = Parsed { directives, instructions: Vec::new(), unread: None };
    if let Err(why) = fill(bytes, &mut parsed) {
        parsed.unread.get_or_insert(why);
    }
    parsed
}

/// # Errors
/// What keeps everything behind it from being read.
fn fill(bytes: &[u8], parsed: &mut Parsed) -> Result<(), Unread> {
    let escape = parsed.directives.escape.map_err(|why| Unread { line: 1, why: why.into() })?;
    let mut lines = Lines { rest: directives::without_bom(bytes), number: 0 };
    let mut logical = Vec::new();
    while let Some(first) = lines.next()? {
        if is_blank(first) || is_comment(first) {
            continue;
        }
        let line = lines.number;
        logical.clear();
        let mut continues = join(&mut logical, trim_start(first), escape);
        while continues && let Some(next) = lines.next()? {
            if !is_comment(next) && !is_blank(next) {
                continues = join(&mut logical, next, escape);
            }
        }
        let mut instruction = Instruction::new(&logical, line, escape);
        if instruction.may_have_heredocs() {
            for heredoc in heredoc::all(&text(&logical)) {
                skip(&mut lines, &heredoc, line, &mut instruction.here)?;
            }
        }
        if !KEYWORDS.contains(&instruction.keyword.as_str()) && parsed.unread.is_none() {
            let why = format!("unknown instruction `{}`", instruction.keyword.to_uppercase());
            parsed.unread = Some(Unread { line, why });
        }
        parsed.instructions.push(instruction);
    }
    Ok(())
}

/// The lines of a file without their ends.
struct Lines<'a> {
    rest: &'a [u8],
    /// Of the line that was given last, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, Unread> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.number += 1;
        if length > LONGEST_LINE {
            return Err(Unread { line: self.number, why: format!("a line of more than {LONGEST_LINE} bytes") });
        }
        let ends = line.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        Ok(Some(&line[..length - ends]))
    }
}

/// Adds a line to those before it; whether the next one belongs to it, too. An escape character at the end continues
/// the line, but for one that is escaped itself.
fn join(logical: &mut Vec<u8>, line: &[u8], escape: u8) -> bool {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &line[..line.len() - blanks] {
        [before @ .., last] if *last == escape && before.last() != Some(&escape) => {
            logical.extend_from_slice(before);
            true
        }
        _ => {
            logical.extend_from_slice(line);
            false
        }
    }
}

/// Takes the body of a here-document away, and adds it to `here`.
fn skip(lines: &mut Lines<'_>, heredoc: &heredoc::Heredoc, begin: usize, here: &mut String) -> Result<(), Unread> {
    while let Some(line) = lines.next()? {
        let tabs = line.iter().take_while(|byte| heredoc.chomp && **byte == b'\t').count();
        if &line[tabs..] == heredoc.name.as_bytes() {
            return Ok(());
        }
        here.push('\n');
        here.push_str(&text(line));
    }
    Err(Unread { line: begin, why: format!("the here-document `{}` does not end", heredoc.name) })
}

impl Instruction {
    fn new(logical: &[u8], line: usize, escape: u8) -> Instruction {
        let mut instruction = Instruction::without_trigger(logical, line, escape);
        if instruction.keyword == "onbuild" {
            let trigger = Instruction::without_trigger(rest(trim(logical)), line, escape);
            instruction.trigger = Some(Box::new(trigger));
        }
        instruction
    }

    fn without_trigger(logical: &[u8], line: usize, escape: u8) -> Instruction {
        let logical = trim(logical);
        let keyword = text(&logical[..keyword_end(logical)]).to_lowercase();
        let (flags, arguments) = Flags::cut(rest(logical), escape);
        Instruction { line, keyword, flags, text: text(arguments).trim().to_owned(), here: String::new(), trigger: None }
    }

    fn may_have_heredocs(&self) -> bool {
        let instruction = self.trigger.as_deref().unwrap_or(self);
        matches!(instruction.keyword.as_str(), "add" | "copy" | "run") && json(&instruction.text).is_none()
    }

    /// The arguments of FROM, COPY and ADD; the latter may be a list of JSON.
    pub fn arguments(&self) -> Vec<String> {
        let words = || self.text.split(is_separator).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let list = if self.keyword == "from" { None } else { json(&self.text) };
        list.unwrap_or_else(words)
    }
}

/// A JSON list of texts.
fn json(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// What separates a keyword from what follows, and arguments from each other.
pub fn is_separator(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn keyword_end(logical: &[u8]) -> usize {
    logical.iter().position(|byte| is_separator(char::from(*byte))).unwrap_or(logical.len())
}

fn rest(logical: &[u8]) -> &[u8] {
    let behind = &logical[keyword_end(logical)..];
    let blanks = behind.iter().take_while(|byte| is_separator(char::from(**byte))).count();
    &behind[blanks..]
}

fn is_comment(line: &[u8]) -> bool {
    trim_start(line).first() == Some(&b'#')
}

fn is_blank(line: &[u8]) -> bool {
    trim_start(line).is_empty()
}

/// Without white space at the beginning, of which Unicode has more than ASCII.
pub fn trim_start(bytes: &[u8]) -> &[u8] {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    &bytes[valid.len() - valid.trim_start().len()..]
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    let end = bytes.utf8_chunks().last().filter(|chunk| chunk.invalid().is_empty());
    let blanks = end.map_or(0, |chunk| chunk.valid().len() - chunk.valid().trim_end().len());
    &bytes[..bytes.len() - blanks]
}

/// As text, with U+FFFD for each byte that is no UTF-8: so BuildKit reads words.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
