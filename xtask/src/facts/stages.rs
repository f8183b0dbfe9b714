//! The stages of a Dockerfile that a build needs, and what their steps take.
//!
//! moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go.

use std::collections::{BTreeMap, BTreeSet};

use super::dockerfile::Args;
use super::installs::Installs;
use super::parser::{Instruction, Parsed, Unread, is_separator};
use super::taken::Taken;
use super::words::Vars;
use super::{heredoc, predefined};

/// Variables of all stages together; each stage has a copy of those of its base.
const MOST_VARIABLES: usize = 1_000_000;

/// A Dockerfile by its stages, and what it is built with.
pub struct File<'a> {
    pub escape: char,
    /// The ARG instructions before the first stage.
    pub globals: Vec<&'a Instruction>,
    pub stages: Vec<Stage<'a>>,
    pub args: &'a Args,
    pub target: Option<&'a str>,
}

pub struct Stage<'a> {
    /// What FROM names, as it is written.
    pub base: &'a str,
    pub name: Option<&'a str>,
    steps: Vec<&'a Instruction>,
}

/// What a stage is built on.
enum Base {
    Stage(usize),
    Image(String),
    /// Why that is not known here.
    Unknown(String),
}

/// The stage or image that a step copies or mounts from.
struct From {
    name: String,
    stage: Option<usize>,
}

impl<'a> File<'a> {
    /// Sorts the instructions into stages. `unread` gets the first that is in no place of its own.
    pub fn new(parsed: &'a Parsed, unread: &mut Option<Unread>, args: &'a Args, target: Option<&'a str>) -> File<'a> {
        let escape = char::from(parsed.directives.escape.unwrap_or(b'\\'));
        let mut file = File { escape, globals: Vec::new(), stages: Vec::new(), args, target };
        for instruction in &parsed.instructions {
            let is_read = match (instruction.keyword.as_str(), file.stages.last_mut()) {
                ("from", _) => file.add_stage(instruction).is_some(),
                (_, Some(stage)) => {
                    stage.steps.push(instruction);
                    true
                }
                ("arg", None) => {
                    file.globals.push(instruction);
                    true
                }
                _ => false,
            };
            if !is_read {
                let why = format!("{} is not as it should be", instruction.keyword.to_uppercase());
                unread.get_or_insert(Unread { line: instruction.line, why });
            }
        }
        file
    }

    /// `FROM base`, `FROM base AS name`; `None`: it is neither.
    fn add_stage(&mut self, from: &'a Instruction) -> Option<()> {
        let mut words = from.text.split(is_separator).filter(|word| !word.is_empty());
        let (base, is_named, name) = (words.next()?, words.next(), words.next());
        let is_right = is_named.is_none_or(|word| word.eq_ignore_ascii_case("as") && name.is_some()) && words.next().is_none();
        self.stages.push(Stage { base, name, steps: Vec::new() });
        is_right.then_some(())
    }

    /// What the build takes on a node, for a platform.
    ///
    /// # Errors
    /// One line: the target is none of the stages, or FROM is one that BuildKit refuses.
    pub fn walk(&self, platform: &str, node: &str, taken: &mut Taken) -> Result<(), String> {
        let stage = self.target.or_else(|| self.stages.last()?.name);
        let known = predefined::args(platform, node, stage, self.args);
        let mut global = Vars { known, others_may_exist: false, escape: self.escape };
        for arg in &self.globals {
            self.declare(&mut global, &arg.text, &BTreeMap::new());
        }
        let mut bases = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            bases.push(base(&self.stages[..index], stage.base, &global)?);
        }
        let needed = self.needed(&bases, taken)?;
        // Parents first, because variables are inherited.
        let (mut scopes, mut variables): (BTreeMap<usize, Vars>, usize) = (BTreeMap::new(), 0);
        for index in needed {
            let above = if let Base::Stage(above) = &bases[index] { Some(*above) } else { None };
            let others_may_exist = !matches!(&bases[index], Base::Image(image) if image == "scratch");
            let own = || Vars { known: BTreeMap::new(), others_may_exist, escape: self.escape };
            let mut vars = above.and_then(|above| scopes.get(&above)).cloned().unwrap_or_else(own);
            taken.installs.workdir("/");
            for instruction in &self.stages[index].steps {
                self.step(instruction, &global, &mut vars, taken)?;
            }
            variables += vars.known.len();
            if variables > MOST_VARIABLES {
                taken.never_the_same(format!("its stages have more than {MOST_VARIABLES} variables"));
                break;
            }
            scopes.insert(index, vars);
        }
        Ok(())
    }

    /// The stages that the target needs.
    fn needed(&self, bases: &[Base], taken: &mut Taken) -> Result<BTreeSet<usize>, String> {
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
            let froms = self.stages[index].steps.iter().flat_map(|step| self.froms(step));
            todo.extend(froms.filter_map(|from| from.stage));
        }
        Ok(needed)
    }

    /// What one instruction takes, and what it does to the variables behind it.
    fn step(&self, instruction: &Instruction, global: &Vars, vars: &mut Vars, taken: &mut Taken) -> Result<(), String> {
        let froms = self.froms(instruction);
        for From { name, stage } in &froms {
            if name.contains('$') {
                return Err(format!("--from={name}: BuildKit fills in no variables here (name it by `FROM {name} AS …` above)"));
            }
            if stage.is_none() && name != "scratch" {
                taken.images.insert(name.clone());
            }
        }
        let flags = &instruction.flags;
        match instruction.keyword.as_str() {
            "arg" => self.declare(vars, &instruction.text, &global.known),
            "env" => assign(vars, &instruction.text),
            "copy" if froms.is_empty() => {
                taken.parents |= flags.get("parents").is_some();
                let sources = sources(instruction);
                let excludes = Taken::excludes(flags, sources.len());
                sources.iter().for_each(|path| taken.source_without(vars.expand(path), &excludes));
                places(instruction, vars, &mut taken.installs);
            }
            "add" => {
                let sum = flags.get("checksum").map(|sum| vars.expand(sum).unwrap_or_default());
                let fixed = sum.is_some_and(|sum| !sum.is_empty());
                let sources = sources(instruction);
                let excludes = Taken::excludes(flags, sources.len());
                sources.iter().for_each(|path| taken.add(vars.expand(path), fixed, &excludes));
                places(instruction, vars, &mut taken.installs);
            }
            "workdir" => vars.expand(&instruction.text).iter().for_each(|path| taken.installs.workdir(path)),
            "run" => {
                for mount in flags.mounts() {
                    match mount {
                        Some(mount) if !mount.is_bind() || mount.get("from").is_some() => {}
                        Some(bind) => {
                            let source = vars.expand(bind.source().unwrap_or("."));
                            if let (Ok(source), Some(target)) = (&source, bind.target()) {
                                taken.installs.place(source, target);
                            }
                            taken.source(source);
                        }
                        None => taken.all("a --mount has quotes that cannot be read".into()),
                    }
                }
                taken.installs.run(&format!("{}{}", instruction.text, instruction.here), vars);
            }
            "onbuild" => {
                let trigger = instruction.trigger.as_deref();
                if trigger.is_none_or(|trigger| ["add", "arg", "copy", "env", "run"].contains(&trigger.keyword.as_str())) {
                    // What it takes depends on who builds on this stage.
                    taken.onbuild = true;
                    taken.all("ONBUILD steps take what they need later".into());
                }
                if let Some(add) = trigger.filter(|trigger| trigger.keyword == "add") {
                    self.step(add, global, &mut vars.clone(), taken)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The stages or images that an instruction copies or mounts from.
    fn froms(&self, instruction: &Instruction) -> Vec<From> {
        match instruction.keyword.as_str() {
            "copy" => {
                let name = instruction.flags.get("from").filter(|name| !name.is_empty());
                let from = |name: &str| From { name: name.to_owned(), stage: stage_index(&self.stages, name) };
                name.map(from).into_iter().collect()
            }
            "run" => {
                let from = |name: &str| From { name: name.to_owned(), stage: stage_named(&self.stages, name) };
                instruction.flags.mounts().flatten().filter_map(|mount| mount.get("from").map(from)).collect()
            }
            "onbuild" => instruction.trigger.as_deref().map(|trigger| self.froms(trigger)).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The stage that is built.
    fn target(&self) -> Result<usize, String> {
        let Some(target) = self.target else {
            return self.stages.len().checked_sub(1).ok_or_else(|| "expected at least one FROM instruction".into());
        };
        stage_index(&self.stages, target).ok_or_else(|| {
            let names: Vec<&str> = self.stages.iter().filter_map(|stage| stage.name).collect();
            format!("no stage is called `{target}` (stages: {})", names.join(", "))
        })
    }

    /// ARG: a build argument, else its default, else the value that the global scope has; else it changes nothing.
    fn declare(&self, vars: &mut Vars, text: &str, global: &Args) {
        for word in vars.split(text) {
            let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let value = match (self.args.get(name), default) {
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
}

/// The base that FROM names, below the stages that it may mean: only one above can be built on, so that
/// `FROM base AS base` is an image.
fn base(above: &[Stage<'_>], written: &str, global: &Vars) -> Result<Base, String> {
    match global.expand(written) {
        Ok(image) if image.is_empty() => {
            Err(format!("FROM {written}: no value for it (give it a default with ARG, or set it in args)"))
        }
        Ok(image) => Ok(stage_named(above, &image).map_or(Base::Image(image), Base::Stage)),
        Err(gap) if gap.is_fault => Err(format!("FROM {written}: {} cannot be filled in", gap.what)),
        Err(gap) => Ok(Base::Unknown(format!("FROM {written}: {} is not known before the build", gap.what))),
    }
}

/// What COPY and ADD take, without the destination and here-documents.
fn sources(instruction: &Instruction) -> Vec<String> {
    let mut words = instruction.arguments();
    words.pop();
    words.retain(|word| heredoc::one(word).is_none());
    words
}

/// Where COPY and ADD put what they take, as far as that is known.
fn places(instruction: &Instruction, vars: &Vars, installs: &mut Installs) {
    let Some(place) = instruction.arguments().pop().and_then(|word| vars.expand(&word).ok()) else { return };
    for source in sources(instruction).iter().filter_map(|source| vars.expand(source).ok()) {
        installs.place(&source, &place);
    }
}

/// Of several stages of one name the last counts.
fn stage_named(stages: &[Stage<'_>], name: &str) -> Option<usize> {
    stages.iter().rposition(|stage| stage.name.is_some_and(|own| own.eq_ignore_ascii_case(name)))
}

fn stage_index(stages: &[Stage<'_>], name: &str) -> Option<usize> {
    stage_named(stages, name).or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

/// ENV: `A=1 B=2`, or `A all the rest`; all read the values from before the instruction.
fn assign(vars: &mut Vars, text: &str) {
    let is_old = !vars.split(text).first().is_some_and(|word| word.contains('='));
    let pairs = match text.split_once(is_separator) {
        Some((name, rest)) if is_old => {
            vars.expand(name).map(|name| vec![(name, vars.expand(rest.trim_start_matches(is_separator)).ok())])
        }
        _ => vars.assignments(text),
    };
    match pairs {
        Ok(pairs) => vars.known.extend(pairs),
        // It may have set any of them.
        Err(_) => *vars = Vars { known: BTreeMap::new(), others_may_exist: true, escape: vars.escape },
    }
}
