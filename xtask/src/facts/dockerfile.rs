//! What a Dockerfile takes from outside: images and files of its context.

use std::collections::BTreeMap;

use camino::Utf8Path;
use parse_dockerfile::{Flag, Instruction, Source};
use sha2::{Digest as _, Sha256};

use super::Dockerfile;
use crate::glob;

/// Reads a Dockerfile with the build arguments that it will get.
///
/// A construct that cannot be understood (a variable without a value in a source, ONBUILD) makes the whole
/// context an input; it never makes less of it one.
///
/// # Errors
/// What the parser says; the caller names the file.
pub fn read(text: &str, args: &BTreeMap<String, String>) -> Result<Dockerfile, String> {
    let parsed = parse_dockerfile::parse(text).map_err(|error| error.to_string())?;
    let mut reader = Reader { args, values: BTreeMap::new(), stages: Vec::new(), images: Vec::new(), sources: Some(Vec::new()) };
    if let Some(syntax) = &parsed.parser_directives.syntax {
        reader.images.push(syntax.value.value.to_owned());
    }
    for instruction in &parsed.instructions {
        reader.instruction(instruction);
    }
    let Reader { mut images, sources, .. } = reader;
    images.sort();
    images.dedup();
    let sources = sources.map(|mut sources| {
        sources.sort();
        sources.dedup();
        sources
    });
    Ok(Dockerfile { sha256: super::hex(&Sha256::digest(text)), images, sources })
}

/// Whether a changed file (relative to the repository) goes into an image built from this context.
pub fn takes(context: &Utf8Path, dockerfile: Option<&Dockerfile>, file: &Utf8Path) -> bool {
    let inside = if context == "." { Ok(file) } else { file.strip_prefix(context) };
    let Ok(inside) = inside else { return false };
    match dockerfile.and_then(|dockerfile| dockerfile.sources.as_ref()) {
        None => true,
        Some(sources) => inside == ".dockerignore" || sources.iter().any(|source| covers(source, inside)),
    }
}

/// Whether a source of COPY takes a file: the file itself, a folder above it, or a pattern of either.
fn covers(source: &str, file: &Utf8Path) -> bool {
    let source = source.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
    let matches = |path: &Utf8Path| path == source || glob::matches_any(&[source], path.as_str());
    file.ancestors().filter(|path| !path.as_str().is_empty()).any(matches)
}

struct Reader<'a> {
    args: &'a BTreeMap<String, String>,
    /// ARG and ENV so far.
    values: BTreeMap<String, String>,
    stages: Vec<String>,
    images: Vec<String>,
    /// `None`: the whole context.
    sources: Option<Vec<String>>,
}

impl Reader<'_> {
    fn instruction(&mut self, instruction: &Instruction<'_>) {
        match instruction {
            Instruction::Arg(arg) => self.arg(&arg.arguments.value),
            Instruction::Env(_) => {}
            Instruction::From(from) => {
                self.image(&from.image.value);
                self.stages.push(from.as_.as_ref().map(|(_, name)| name.value.to_lowercase()).unwrap_or_default());
            }
            Instruction::Copy(copy) => self.copy(&copy.options, &copy.src),
            Instruction::Add(add) => self.copy(&add.options, &add.src),
            Instruction::Run(run) => {
                run.options.iter().filter(|flag| flag.name.value == "mount").for_each(|flag| self.mount(flag))
            }
            // Its triggers run in whatever is built on this image; they take nothing of this context, but nobody checks that.
            Instruction::Onbuild(_) => self.sources = None,
            _ => {}
        }
    }

    fn arg(&mut self, text: &str) {
        for word in shell_words::split(text).unwrap_or_default() {
            let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, default)| (name, Some(default)));
            let value = self.args.get(name).cloned().or_else(|| default.and_then(|default| self.fill(default)));
            if let Some(value) = value {
                self.values.insert(name.to_owned(), value);
            }
        }
    }

    /// An image that a stage is made from or that files are taken from, unless it is an earlier stage.
    fn image(&mut self, text: &str) {
        let name = self.fill(text).unwrap_or_else(|| text.to_owned());
        let is_stage = self.stages.contains(&name.to_lowercase()) || name.parse().is_ok_and(|at: usize| at < self.stages.len());
        if !is_stage && name != "scratch" {
            self.images.push(name);
        }
    }

    fn copy(&mut self, options: &[Flag<'_>], sources: &[Source<'_>]) {
        let from = options.iter().find(|flag| flag.name.value == "from").and_then(|flag| flag.value.as_ref());
        if let Some(from) = from {
            return self.image(&from.value);
        }
        for source in sources {
            let Source::Path(path) = source else { continue };
            let is_remote = ["http://", "https://", "git@", "git://"].iter().any(|scheme| path.value.starts_with(scheme));
            if !is_remote {
                self.source(&path.value);
            }
        }
    }

    fn mount(&mut self, flag: &Flag<'_>) {
        let text = flag.value.as_ref().map(|value| value.value.as_ref()).unwrap_or_default();
        let fields: BTreeMap<&str, &str> = text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
        let kind = fields.get("type").copied().unwrap_or("bind");
        match fields.get("from") {
            Some(from) => self.image(from),
            None if kind == "bind" => self.source(fields.get("source").or(fields.get("src")).copied().unwrap_or(".")),
            None => {}
        }
    }

    fn source(&mut self, text: &str) {
        let path = self.fill(text).filter(|path| !matches!(path.trim_start_matches(['.', '/']), "" | "*"));
        match (path, &mut self.sources) {
            (Some(path), Some(sources)) => sources.push(path),
            (None, sources) => *sources = None,
            (Some(_), None) => {}
        }
    }

    /// `$NAME`, `${NAME}`, `${NAME:-default}` filled in; `None` where a value is not known.
    fn fill(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let (name, default, after) = match rest.strip_prefix('{') {
                Some(braced) => {
                    let (inside, after) = braced.split_once('}')?;
                    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
                    (name, default, after)
                }
                None => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    (&rest[..end], None, &rest[end..])
                }
            };
            let value = self.values.get(name).filter(|value| !value.is_empty() || default.is_none());
            out.push_str(value.map(String::as_str).or(default)?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Vec<String>, Option<Vec<String>>) {
        let read = read(text, &BTreeMap::from([("TAG".into(), "3.11".into())])).unwrap();
        (read.images, read.sources)
    }

    #[test]
    fn images_and_sources() {
        for (text, images, sources) in [
            ("FROM python:3.11-slim\nCOPY a b/ /x/\n", vec!["python:3.11-slim"], Some(vec!["a", "b/"])),
            (
                "ARG TAG=1\nFROM python:${TAG}-slim AS Build\nFROM build\nCOPY --from=Build /x /x\n",
                vec!["python:3.11-slim"],
                Some(vec![]),
            ),
            ("ARG V\nFROM base:${V:-latest}\nCOPY . .\n", vec!["base:latest"], None),
            ("FROM scratch\nCOPY --from=docker.io/x/y:1 /a /b\nCOPY --from=0 /a /b\n", vec!["docker.io/x/y:1"], Some(vec![])),
            (
                "FROM a\nRUN --mount=type=bind,source=src,target=/src --mount=type=cache,target=/c make\n",
                vec!["a"],
                Some(vec!["src"]),
            ),
            ("FROM a\nRUN --mount=from=tools,target=/t true\n", vec!["a", "tools"], Some(vec![])),
            ("FROM a\nCOPY <<EOF /x\nhello\nEOF\nADD https://example.com/x /x\n", vec!["a"], Some(vec![])),
            ("FROM a\nCOPY $UNKNOWN/x /x\n", vec!["a"], None),
            ("# syntax=docker/dockerfile:1\nFROM a\n", vec!["a", "docker/dockerfile:1"], Some(vec![])),
            ("FROM a\nONBUILD COPY x /x\n", vec!["a"], None),
        ] {
            let strings = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(parts(text), (strings(images), sources.map(strings)), "{text}");
        }
    }

    #[test]
    fn which_files_go_in() {
        let some =
            |sources: &[&str]| Dockerfile { sources: Some(sources.iter().map(|&s| s.into()).collect()), ..Dockerfile::default() };
        for (context, sources, file, yes) in [
            (".", vec!["src", "requirements/*.txt"], "src/a/b.py", true),
            (".", vec!["src", "requirements/*.txt"], "requirements/base.txt", true),
            (".", vec!["./src/"], "README.md", false),
            ("services/web", vec!["app.py"], "services/web/app.py", true),
            ("services/web", vec!["app.py"], "services/api/app.py", false),
            (".", vec!["a"], ".dockerignore", true),
        ] {
            assert_eq!(takes(context.into(), Some(&some(&sources)), file.into()), yes, "{context} {sources:?} {file}");
        }
        assert!(takes(".".into(), None, "anything".into()), "unknown takes everything");
    }

    #[test]
    fn what_is_no_dockerfile_is_an_error() {
        assert!(read("FRUM x\n", &BTreeMap::new()).is_err());
    }
}
