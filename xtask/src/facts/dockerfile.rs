//! What a Dockerfile takes from outside: base images, files of the context, things it downloads.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use parse_dockerfile::{Flag, Instruction, Source, Stage};
use sha2::{Digest as _, Sha256};

use crate::facts::content::Content;
use crate::facts::words::{Gap, Vars};
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
    let stages = parsed.stages().collect::<Vec<_>>();
    let mut taken = Taken::default();
    let directive = parsed.parser_directives.syntax.as_ref().map(|syntax| syntax.value.value);
    let syntax = match args.get("BUILDKIT_SYNTAX") {
        Some(given) => taken.frontend(given.as_deref()),
        None => directive.and_then(|directive| taken.frontend(Some(directive))),
    };
    let default = ["linux/amd64".to_owned()];
    let platforms = if platforms.is_empty() { &default } else { platforms };
    let global_args = || parsed.global_args().map(|arg| &*arg.arguments.value);
    let nodes = predefined::nodes(global_args().chain(stages.iter().map(|stage| &*stage.from.image.value)), platforms);
    let stage = target.or_else(|| stages.last()?.from.as_.as_ref().map(|(_, name)| &*name.value));
    for (platform, node) in platforms.iter().flat_map(|platform| nodes.iter().map(move |node| (platform, node))) {
        let known = predefined::args(platform, node, stage, args);
        let mut global = Vars { known, others_may_exist: false, escape };
        global_args().for_each(|text| declare(&mut global, text, args, &BTreeMap::new()));
        walk(&stages, target, args, &global, &mut taken)?;
    }
    Ok(Dockerfile {
        sha256: hex(&Sha256::digest(text)),
        images: taken.images.into_iter().collect(),
        sources: if taken.everything { None } else { Some(taken.sources.into_iter().collect()) },
        remotes: taken.remotes.into_iter().collect(),
        whole: taken.whole,
        always: taken.always,
        parents: taken.parents,
        onbuild: taken.onbuild,
        syntax,
    })
}

fn is_dockerfile(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let rest = image.strip_prefix("docker/dockerfile").map(|rest| rest.strip_prefix("-upstream").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
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
    let sources = dockerfile.and_then(|dockerfile| dockerfile.sources.as_ref());
    let sources = sources.filter(|_| content.is_none_or(|content| content.whole.is_none()));
    sources.is_none_or(|patterns| sources::take(patterns, inside.as_str()))
}

#[derive(Default)]
struct Taken {
    images: BTreeSet<String>,
    sources: BTreeSet<String>,
    remotes: BTreeSet<String>,
    /// Something takes the whole context, or it cannot be known what it takes; then `whole` says why.
    everything: bool,
    whole: Option<String>,
    always: Option<String>,
    parents: bool,
    onbuild: bool,
}

impl Taken {
    /// The image that reads the Dockerfile, by `# syntax=` or `BUILDKIT_SYNTAX`; behind it may stand arguments. `text` is
    /// `None` where it is not known yet.
    fn frontend(&mut self, text: Option<&str>) -> Option<String> {
        let Some(text) = text else {
            self.never_the_same("BUILDKIT_SYNTAX is not known before the build".into());
            return None;
        };
        // That one is BuildKit's own.
        let image = text.split_whitespace().next().filter(|image| *image != "dockerfile.v0")?;
        // Another language may take anything.
        if !is_dockerfile(image) {
            self.all(format!("# syntax={image} is not known"));
        }
        self.images.insert(image.to_owned());
        Some(image.to_owned())
    }

    /// Neither the files that it takes nor the images are all known.
    fn never_the_same(&mut self, why: String) {
        self.always.get_or_insert(why.clone());
        self.all(why);
    }

    fn source(&mut self, word: Result<String, Gap>) {
        match word.map(|source| sources::clean(&source)) {
            Ok(Some(source)) => _ = self.sources.insert(source),
            Ok(None) => self.everything = true,
            Err(gap) => self.all(format!("{} is not known before the build", gap.what)),
        }
    }

    fn all(&mut self, why: String) {
        self.everything = true;
        self.whole.get_or_insert(why);
    }

    /// A source of ADD. Its content is that of another time unless the Dockerfile says which it has to be.
    fn add(&mut self, word: Result<String, Gap>, fixed: bool) {
        match &word {
            Ok(source) if is_remote(source) => {
                if !fixed && !names_commit(source) {
                    self.always.get_or_insert(format!("ADD {source} has no checksum"));
                }
                self.remotes.insert(source.clone());
            }
            Ok(_) => self.source(word),
            Err(gap) => {
                self.always.get_or_insert(format!("ADD may download what {} says", gap.what));
                self.source(word);
            }
        }
    }
}

/// `https://…`, `git@host:path`
fn is_remote(source: &str) -> bool {
    let scp = source.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
    source.contains("://") || scp.is_some_and(|(user, host)| !user.contains('/') && !host.contains('/'))
}

/// `….git#COMMIT`, `….git#COMMIT:folder`: full, because a short one may become another's beginning.
fn names_commit(source: &str) -> bool {
    let commit = source.rsplit_once('#').map(|(_, fragment)| fragment.split(':').next().unwrap_or(fragment));
    let address = source.split('#').next().unwrap_or_default().to_ascii_lowercase();
    let is_git = address.ends_with(".git") || !address.starts_with("http");
    is_git && commit.is_some_and(|commit| [40, 64].contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Follows the stages that the target needs, parents first, because variables are inherited.
fn walk(stages: &[Stage<'_, '_>], target: Option<&str>, args: &Args, global: &Vars, taken: &mut Taken) -> Result<(), String> {
    let mut bases = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        bases.push(base(&stages[..index], &stage.from.image.value, global)?);
    }
    let mut needed = BTreeSet::new();
    let mut todo = vec![target_index(stages, target)?];
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
        todo.extend(stages[index].instructions.iter().flat_map(froms).filter_map(|from| stage_index(stages, &from)));
    }
    let mut scopes: BTreeMap<usize, Vars> = BTreeMap::new();
    for index in needed {
        let inherited = if let Base::Stage(above) = &bases[index] { scopes.get(above) } else { None };
        let others_may_exist = !matches!(&bases[index], Base::Image(image) if image == "scratch");
        let own = || Vars { known: BTreeMap::new(), others_may_exist, escape: global.escape };
        let mut vars = inherited.cloned().unwrap_or_else(own);
        for instruction in stages[index].instructions {
            step(instruction, stages, args, global, &mut vars, taken)?;
        }
        scopes.insert(index, vars);
    }
    Ok(())
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

fn step(
    instruction: &Instruction<'_>,
    stages: &[Stage<'_, '_>],
    args: &Args,
    global: &Vars,
    vars: &mut Vars,
    taken: &mut Taken,
) -> Result<(), String> {
    for from in froms(instruction) {
        if from.contains('$') {
            return Err(format!("--from={from}: BuildKit fills in no variables here (name it by `FROM {from} AS …` above)"));
        }
        if stage_index(stages, &from).is_none() && from != "scratch" {
            taken.images.insert(from);
        }
    }
    match instruction {
        Instruction::Arg(arg) => declare(vars, &arg.arguments.value, args, &global.known),
        Instruction::Env(env) => assign(vars, &env.arguments.value),
        Instruction::Copy(copy) if flag(&copy.options, "from").is_none() => {
            taken.parents |= copy.options.iter().any(|flag| flag.name.value.eq_ignore_ascii_case("parents"));
            paths(&copy.src).for_each(|path| taken.source(vars.expand(path)));
        }
        Instruction::Add(add) => {
            let sum = flag(&add.options, "checksum").map(|sum| vars.expand(sum).unwrap_or_default());
            let fixed = sum.is_some_and(|sum| !sum.is_empty());
            paths(&add.src).for_each(|path| taken.add(vars.expand(path), fixed));
        }
        Instruction::Run(run) => {
            let binds = run.options.iter().filter_map(mount).filter(|mount| mount.is_bind() && mount.get("from").is_none());
            for bind in binds {
                taken.source(vars.expand(bind.source().unwrap_or(".")));
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
fn froms(instruction: &Instruction<'_>) -> Vec<String> {
    match instruction {
        Instruction::Copy(copy) => flag(&copy.options, "from").map(str::to_owned).into_iter().collect(),
        Instruction::Run(run) => {
            run.options.iter().filter_map(mount).filter_map(|mount| mount.get("from").map(str::to_owned)).collect()
        }
        Instruction::Onbuild(onbuild) => froms(&onbuild.instruction),
        _ => Vec::new(),
    }
}

fn flag<'a>(options: &'a [Flag<'_>], name: &str) -> Option<&'a str> {
    let flag = options.iter().find(|flag| flag.name.value.eq_ignore_ascii_case(name))?;
    flag.value.as_ref().map(|value| value.value.as_ref())
}

fn paths<'a>(sources: &'a [Source<'_>]) -> impl Iterator<Item = &'a str> {
    sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path.value.as_ref()),
        _ => None,
    })
}

/// `--mount=type=bind,source=a,target=/b`
struct Mount<'a>(Vec<(&'a str, &'a str)>);

fn mount<'a>(flag: &'a Flag<'_>) -> Option<Mount<'a>> {
    let value = flag.value.as_ref().filter(|_| flag.name.value.eq_ignore_ascii_case("mount"))?;
    let field = |field: &'a str| field.trim_matches('"').split_once('=').unwrap_or((field, ""));
    Some(Mount(value.value.split(',').map(field).collect()))
}

impl<'a> Mount<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        // The last one counts, and `from=` is as good as none.
        let found = self.0.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        found.filter(|value| name != "from" || !value.is_empty())
    }

    /// `source` and `src` are one field.
    fn source(&self) -> Option<&'a str> {
        let is_source = |key: &str| ["source", "src"].iter().any(|name| key.eq_ignore_ascii_case(name));
        self.0.iter().rev().find(|(key, _)| is_source(key)).map(|(_, value)| *value)
    }

    fn is_bind(&self) -> bool {
        // Whatever is not surely another one.
        let others = ["cache", "tmpfs", "secret", "ssh"];
        self.get("type").is_none_or(|kind| !others.iter().any(|other| kind.eq_ignore_ascii_case(other)))
    }
}

fn stage_named(stages: &[Stage<'_, '_>], name: &str) -> Option<usize> {
    stages.iter().rposition(|stage| stage.from.as_.as_ref().is_some_and(|(_, own)| own.value.eq_ignore_ascii_case(name)))
}

fn stage_index(stages: &[Stage<'_, '_>], name: &str) -> Option<usize> {
    stage_named(stages, name).or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

fn target_index(stages: &[Stage<'_, '_>], target: Option<&str>) -> Result<usize, String> {
    let Some(target) = target else { return Ok(stages.len().saturating_sub(1)) };
    stage_index(stages, target).ok_or_else(|| {
        let names = stages.iter().filter_map(|stage| stage.from.as_.as_ref()).map(|(_, name)| name.value.as_ref());
        format!("no stage is called `{target}` (stages: {})", names.collect::<Vec<_>>().join(", "))
    })
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
