//! What a Dockerfile takes from outside: base images, files of the context, things it downloads.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use parse_dockerfile::{Flag, Instruction, Keyword, Source, Stage};
use sha2::{Digest as _, Sha256};

use crate::facts::content::Content;
use crate::facts::flags::Flags;
use crate::facts::taken::Taken;
use crate::facts::words::Vars;
use crate::facts::{Dockerfile, heredoc, hex, predefined, sources};

/// Name → value of each build argument; `None`: it is given, but its value is not known yet.
pub type Args = BTreeMap<String, Option<String>>;

/// Reads a Dockerfile as BuildKit would build it: with these build arguments, the stages that `target`
/// (default: the last) needs, for each of the platforms.
///
/// # Errors
/// One line: the text is no Dockerfile, the target is none of its stages, or FROM is one that BuildKit refuses.
pub fn read(text: &str, args: &Args, target: Option<&str>, platforms: &[String]) -> Result<Dockerfile, String> {
    let escape = escape_of(text);
    let plain = heredoc::strip(text, escape);
    let parsed = parse_dockerfile::parse(&plain).map_err(|error| error.to_string())?;
    let file = File { text: &plain, escape, stages: parsed.stages().collect(), args, target };
    let mut taken = Taken::default();
    let directive = parsed.parser_directives.syntax.as_ref().map(|syntax| syntax.value.value);
    let syntax = match args.get("BUILDKIT_SYNTAX") {
        Some(given) => taken.frontend(given.as_deref()),
        None => directive.and_then(|directive| taken.frontend(Some(directive))),
    };
    let default = ["linux/amd64".to_owned()];
    let platforms = if platforms.is_empty() { &default } else { platforms };
    let global_args = || parsed.global_args().map(|arg| &*arg.arguments.value);
    let nodes = predefined::nodes(global_args().chain(file.stages.iter().map(|stage| &*stage.from.image.value)), platforms);
    let stage = target.or_else(|| file.stages.last()?.from.as_.as_ref().map(|(_, name)| &*name.value));
    for (platform, node) in platforms.iter().flat_map(|platform| nodes.iter().map(move |node| (platform, node))) {
        let known = predefined::args(platform, node, stage, args);
        let mut global = Vars { known, others_may_exist: false, escape };
        global_args().for_each(|text| declare(&mut global, text, args, &BTreeMap::new()));
        file.walk(&global, &mut taken)?;
    }
    let sources = Some(taken.sources).filter(|_| !taken.everything);
    let excludes = sources.iter().flatten().filter(|(_, excludes)| !excludes.is_empty());
    Ok(Dockerfile {
        sha256: hex(&Sha256::digest(text)),
        images: taken.images.into_iter().collect(),
        excludes: excludes.map(|(source, excludes)| (source.clone(), excludes.clone())).collect(),
        sources: sources.map(|sources| sources.into_keys().collect()),
        remotes: taken.remotes.into_iter().collect(),
        whole: taken.whole,
        always: taken.always,
        parents: taken.parents,
        onbuild: taken.onbuild,
        syntax,
    })
}

/// Whether a file (relative to the repository) is one that the image is made of; without a Dockerfile, any of the context.
pub fn takes(context: &Utf8Path, dockerfile: Option<&Dockerfile>, content: Option<&Content>, file: &Utf8Path) -> bool {
    let inside = if context == "." { Ok(file) } else { file.strip_prefix(context) };
    let Ok(inside) = inside else { return false };
    // It says what COPY leaves out.
    if inside == ".dockerignore" {
        return true;
    }
    if content.is_some_and(|content| content.ignore.ignores(inside.as_str())) {
        return false;
    }
    let dockerfile = dockerfile.filter(|_| content.is_none_or(|content| content.whole.is_none()));
    let Some((dockerfile, patterns)) = dockerfile.and_then(|read| Some((read, read.sources.as_ref()?))) else { return true };
    patterns.iter().any(|pattern| sources::takes(pattern, dockerfile.excludes.get(pattern), inside.as_str()))
}

/// A Dockerfile that was parsed, and what it is built with.
struct File<'a, 't> {
    text: &'a str,
    escape: char,
    stages: Vec<Stage<'a, 't>>,
    args: &'a Args,
    target: Option<&'a str>,
}

impl File<'_, '_> {
    /// Follows the stages that the target needs, parents first, because variables are inherited.
    fn walk(&self, global: &Vars, taken: &mut Taken) -> Result<(), String> {
        let stages = &self.stages;
        let mut bases = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            bases.push(base(&stages[..index], &stage.from.image.value, global)?);
        }
        let mut needed = BTreeSet::new();
        let mut todo = vec![self.target()?];
        while let Some(index) = todo.pop() {
            if !needed.insert(index) {
                continue;
            }
            match &bases[index] {
                Base::Stage(above) => todo.push(*above),
                Base::Image(image) => taken.images.extend(Some(image).filter(|image| *image != "scratch").cloned()),
                Base::Unknown(why) => {
                    // It may be any of them, or an image.
                    todo.extend(0..index);
                    taken.never_the_same(why.clone());
                }
            }
            todo.extend(
                stages[index].instructions.iter().flat_map(|step| self.froms(step)).filter_map(|from| stage_index(stages, &from)),
            );
        }
        let mut scopes: BTreeMap<usize, Vars> = BTreeMap::new();
        for index in needed {
            let inherited = if let Base::Stage(above) = &bases[index] { scopes.get(above) } else { None };
            let others_may_exist = !matches!(&bases[index], Base::Image(image) if image == "scratch");
            let own = || Vars { known: BTreeMap::new(), others_may_exist, escape: global.escape };
            let mut vars = inherited.cloned().unwrap_or_else(own);
            for instruction in stages[index].instructions {
                self.step(instruction, global, &mut vars, taken)?;
            }
            scopes.insert(index, vars);
        }
        Ok(())
    }

    /// What one instruction takes, and what it does to the variables behind it.
    fn step(&self, instruction: &Instruction<'_>, global: &Vars, vars: &mut Vars, taken: &mut Taken) -> Result<(), String> {
        let froms = self.froms(instruction);
        for from in &froms {
            if from.contains('$') {
                return Err(format!("--from={from}: BuildKit fills in no variables here (name it by `FROM {from} AS …` above)"));
            }
            if stage_index(&self.stages, from).is_none() && from != "scratch" {
                taken.images.insert(from.clone());
            }
        }
        match instruction {
            Instruction::Arg(arg) => declare(vars, &arg.arguments.value, self.args, &global.known),
            Instruction::Env(env) => assign(vars, &env.arguments.value),
            Instruction::Copy(copy) if froms.is_empty() => {
                let flags = self.flags(&copy.options, &copy.copy);
                taken.parents |= flags.get("parents").is_some();
                taken.flags(&flags);
                let excludes = flags.excludes();
                paths(&copy.src).for_each(|path| taken.source_without(vars.expand(path), &excludes));
            }
            Instruction::Add(add) => {
                let flags = self.flags(&add.options, &add.add);
                let sum = flags.get("checksum").map(|sum| vars.expand(sum).unwrap_or_default());
                let fixed = sum.is_some_and(|sum| !sum.is_empty());
                taken.flags(&flags);
                let excludes = flags.excludes();
                paths(&add.src).for_each(|path| taken.add(vars.expand(path), fixed, &excludes));
            }
            Instruction::Run(run) => {
                for mount in self.flags(&run.options, &run.run).mounts() {
                    match mount {
                        Some(mount) if !mount.is_bind() || mount.get("from").is_some() => {}
                        Some(bind) => taken.source(vars.expand(bind.source().unwrap_or("."))),
                        None => taken.all("a --mount has quotes that cannot be read".into()),
                    }
                }
            }
            // What it takes depends on who builds on this stage.
            Instruction::Onbuild(_) => {
                taken.onbuild = true;
                taken.all("ONBUILD steps take what they need later".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Stages or images that an instruction copies or mounts from, as written.
    fn froms(&self, instruction: &Instruction<'_>) -> Vec<String> {
        match instruction {
            Instruction::Copy(copy) => {
                let flags = self.flags(&copy.options, &copy.copy);
                flags.get("from").filter(|from| !from.is_empty()).map(str::to_owned).into_iter().collect()
            }
            Instruction::Run(run) => {
                let flags = self.flags(&run.options, &run.run);
                flags.mounts().flatten().filter_map(|mount| mount.get("from").map(str::to_owned)).collect()
            }
            Instruction::Onbuild(onbuild) => self.froms(&onbuild.instruction),
            _ => Vec::new(),
        }
    }

    fn flags<'b>(&self, parsed: &'b [Flag<'_>], keyword: &Keyword) -> Flags<'b> {
        Flags::new(parsed, &self.text[keyword.span.end..], self.escape)
    }

    /// The stage that is built.
    fn target(&self) -> Result<usize, String> {
        let stages = &self.stages;
        let Some(target) = self.target else { return Ok(stages.len().saturating_sub(1)) };
        stage_index(stages, target).ok_or_else(|| {
            let names = stages.iter().filter_map(|stage| stage.from.as_.as_ref()).map(|(_, name)| name.value.as_ref());
            format!("no stage is called `{target}` (stages: {})", names.collect::<Vec<_>>().join(", "))
        })
    }
}

/// What a stage is built on.
enum Base {
    Stage(usize),
    Image(String),
    /// Why that is not known here.
    Unknown(String),
}

/// The base that FROM names, below the stages that it may mean: only one above can be built on, so that
/// `FROM base AS base` is an image.
fn base(above: &[Stage<'_, '_>], written: &str, global: &Vars) -> Result<Base, String> {
    match global.expand(written) {
        Ok(image) if image.is_empty() => {
            Err(format!("FROM {written}: no value for it (give it a default with ARG, or set it in args)"))
        }
        Ok(image) => Ok(stage_named(above, &image).map_or(Base::Image(image), Base::Stage)),
        Err(gap) if gap.is_fault => Err(format!("FROM {written}: {} cannot be filled in", gap.what)),
        Err(gap) => Ok(Base::Unknown(format!("FROM {written}: {} is not known before the build", gap.what))),
    }
}

fn paths<'a>(sources: &'a [Source<'_>]) -> impl Iterator<Item = &'a str> {
    sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path.value.as_ref()),
        _ => None,
    })
}

fn stage_named(stages: &[Stage<'_, '_>], name: &str) -> Option<usize> {
    stages.iter().rposition(|stage| stage.from.as_.as_ref().is_some_and(|(_, own)| own.value.eq_ignore_ascii_case(name)))
}

fn stage_index(stages: &[Stage<'_, '_>], name: &str) -> Option<usize> {
    stage_named(stages, name).or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

/// ARG: a build argument, else its default, else the value that the global scope has; else it changes nothing.
fn declare(vars: &mut Vars, text: &str, args: &Args, global: &BTreeMap<String, Option<String>>) {
    for word in vars.split(text) {
        let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let value = match (args.get(name), default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => vars.expand(default).ok(),
            // Which node builds is not known here; with the target's platform a tool's stage would look the same.
            (None, None) if predefined::NODE.contains(&name) => None,
            (None, None) => match global.get(name) {
                Some(value) => value.clone(),
                None => continue,
            },
        };
        vars.known.insert(name.to_owned(), value);
    }
}

/// ENV: `A=1 B=2`, or `A all the rest`; all read the values from before the instruction.
fn assign(vars: &mut Vars, text: &str) {
    let pairs = match text.split_once(char::is_whitespace) {
        Some((name, rest)) if !name.contains('=') => vec![(name.to_owned(), vars.expand(rest.trim()).ok())],
        _ => vars.assignments(text),
    };
    vars.known.extend(pairs);
}

/// `# escape=` among the first comments; needed before the text can be parsed.
fn escape_of(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim_start_matches('\u{feff}').trim_start().strip_prefix('#'));
    let mut pairs = directives.map_while(|line| line.split_once('='));
    let backtick = pairs.any(|(name, value)| name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`");
    if backtick { '`' } else { '\\' }
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
