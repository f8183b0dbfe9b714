//! Dockerfiles rendered from a template: axes, variables, and versions that can be compared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{DynObject, Object, Value};
use minijinja::{Environment, UndefinedBehavior};

use crate::config::{Build, Config};
use crate::error::Fault;
use crate::facts::{self, directives};

/// Steps of the template engine for one Dockerfile; the matrix's own takes about a hundred.
const FUEL: u64 = 1_000_000;
/// Bytes of a rendered Dockerfile.
const LARGEST: usize = 1 << 22;
/// Bytes that the process may grow by while templates are rendered, and how long that may take.
const MEMORY: u64 = 1 << 30;
const TIME: Duration = Duration::from_secs(120);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(20);
/// The template engine follows expressions by recursion; one of `LONGEST` bytes has to fit (see the test).
const STACK: usize = 1 << 29;
/// Bytes of a template.
const LONGEST: usize = 1 << 18;

/// Path → text of every generated Dockerfile, the header included.
///
/// # Errors
/// Usage faults, all templates at once: syntax errors and undefined names, with the template's line.
pub fn render_all(repo: &Utf8Path, config: &Config) -> Result<BTreeMap<Utf8PathBuf, String>> {
    if config.builds.iter().all(|build| build.template.is_none()) {
        return Ok(BTreeMap::new());
    }
    // Not of a scope: what takes too much is left behind, and ends with the process.
    let (done, rendered) = channel();
    let (repo, config) = (repo.to_owned(), config.clone());
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let _nobody_waits = done.send(render(&repo, &config));
    });
    let thread = thread.context("cannot start a thread")?;
    let (started, before) = (Instant::now(), facts::memory());
    loop {
        match rendered.recv_timeout(TICK) {
            Ok(rendered) => return rendered,
            Err(RecvTimeoutError::Disconnected) => {
                let panic = thread.join().err().unwrap_or_else(|| Box::new("a template was not rendered"));
                std::panic::resume_unwind(panic)
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let grown = facts::memory().saturating_sub(before);
        if grown > MEMORY || started.elapsed() > TIME {
            let what = if grown > MEMORY { "memory: more than 1 GB" } else { "time: more than two minutes" };
            let fault = Fault::usage(format!("cannot render the templates: they take too much {what}"));
            return Err(fault.hint("look for what is repeated, joined or replaced many times").into());
        }
    }
}

/// The text of one Dockerfile.
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.is_over |= self.bytes.len() + bytes.len() > LARGEST;
        if self.is_over {
            return Err(std::io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn render(repo: &Utf8Path, config: &Config) -> Result<BTreeMap<Utf8PathBuf, String>> {
    let mut environment = environment()?;
    let mut rendered = BTreeMap::new();
    let mut faults: Vec<String> = Vec::new();
    for build in &config.builds {
        let Some(template) = &build.template else { continue };
        if environment.get_template(template.as_str()).is_err() {
            let path = repo.join(template);
            let text = std::fs::read_to_string(&path).with_context(|| Fault::usage(format!("cannot read {template}")))?;
            if text.len() > LONGEST {
                return Err(Fault::usage(format!("{template} has {} bytes, a template may have {LONGEST}", text.len())).into());
            }
            if let Err(error) = environment.add_template_owned(template.to_string(), text) {
                return Err(Fault::usage(explain(template, &error)).into());
            }
        }
        let mut text = Limited::default();
        let result = environment.get_template(template.as_str());
        let result = result.and_then(|template| template.render_captured_to(values(build), &mut text).map(drop));
        let (text, is_over) = (String::from_utf8_lossy(&text.bytes), text.is_over);
        match result {
            Err(_) if is_over => {
                faults.push(format!("{template} for {}: the Dockerfile has more than {LARGEST} bytes", build.id))
            }
            Ok(()) => {
                drop(rendered.insert(build.dockerfile.clone(), directives::with_header(&text, &header(template))));
            }
            Err(error) => faults.push(format!("{} for {}", explain(template, &error), build.id)),
        }
    }
    if faults.is_empty() {
        return Ok(rendered);
    }
    let more = faults.len().saturating_sub(10);
    faults.truncate(10);
    let tail = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let hint =
        "a template sees the axes, `vars`, id, image, variant, and version(…); give a name a value under [image.NAME.vars]";
    Err(Fault::usage(format!("cannot render:\n  {}{tail}", faults.join("\n  "))).hint(hint).into())
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.add_function("version", |text: String| Value::from_object(Dotted::parse(&text)));
    Ok(environment)
}

fn values(build: &Build) -> Value {
    let mut values: BTreeMap<&str, &str> = build.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    values.extend(build.axes.iter().map(|(axis, value)| (axis.as_str(), value.as_str())));
    values.extend([("id", build.id.as_str()), ("image", &build.image), ("variant", &build.variant)]);
    Value::from_pairs(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
}

const HEADER: &str = "Generated by `cargo xtask gen-dockerfiles` from ";

/// The comment below the directives of a generated file; `gen-dockerfiles` finds orphans by it.
fn header(template: &Utf8Path) -> String {
    format!("{HEADER}{template}; do not edit.")
}

/// Whether a text was written by [`render_all`].
pub fn is_generated(text: &str) -> bool {
    directives::first_line(text).trim_start_matches(['#', '/', ' ']).starts_with(HEADER)
}

fn explain(template: &Utf8Path, error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{template}{line}: {}{detail}", error.kind())
}

/// A dotted version, ordered number by number.
#[derive(Debug)]
struct Dotted {
    text: String,
    parts: Vec<(u64, String)>,
}

impl Dotted {
    fn parse(text: &str) -> Dotted {
        let part = |part: &str| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            (digits.parse().unwrap_or(0), part[digits.len()..].to_owned())
        };
        Dotted { text: text.to_owned(), parts: text.split('.').map(part).collect() }
    }
}

impl Object for Dotted {
    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Dotted>().map(|other| self.parts.cmp(&other.parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_number_by_number() {
        let text = "{{ version('3.9') < version('3.12') }} {{ version('3.10') >= version('3.10') }} {{ version('3.7') }}";
        assert_eq!(environment().unwrap().render_str(text, ()).unwrap(), "True True 3.7");
    }

    #[test]
    fn an_endless_loop_ends() {
        let text = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
        let error = environment().unwrap().render_str(text, ()).unwrap_err();
        assert_eq!(error.kind(), minijinja::ErrorKind::OutOfFuel);
    }

    #[test]
    fn the_longest_expression_fits_the_stack() {
        let text = format!("{{{{ 1{} }}}}", "+1".repeat(LONGEST / 2 - 4));
        let render = move || environment().unwrap().render_str(&text, ()).is_ok();
        std::thread::Builder::new().stack_size(STACK).spawn(render).unwrap().join().unwrap();
    }

    /// What rendering this template says for an image.
    fn fault(template: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("D.j2"), template).unwrap();
        let mut config = crate::plan::testing::config("[image.a]\n");
        config.builds[0].template = Some("D.j2".into());
        render_all(Utf8Path::from_path(folder.path()).unwrap(), &config).unwrap_err().to_string()
    }

    #[test]
    fn a_dockerfile_has_a_limit() {
        let limit = format!("D.j2 for a: the Dockerfile has more than {LARGEST} bytes");
        for long in
            ["{{ 'x' * 90000000 }}", "{% for a in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "{{ '%09999999d'|format(1) }}"]
        {
            assert!(fault(long).contains(&limit), "{long}: {}", fault(long));
        }
    }

    #[test]
    fn a_template_takes_no_more_memory_than_it_may() {
        if facts::memory() == 0 {
            return; // nothing tells
        }
        let doubled = format!("{{% set s = 'x' * 1000000 %}}{}", "{% set s = s ~ s %}".repeat(20));
        assert!(fault(&doubled).contains("too much memory"), "{}", fault(&doubled));
    }

    #[test]
    fn a_generated_file_is_known_by_its_header() {
        let header = header(Utf8Path::new("docker/D.j2"));
        for text in ["FROM a\n", "# syntax=x\n# escape=`\nFROM a\n", "#!x\n// syntax=x\n", "\u{feff}# check=skip=all\r\nFROM a"] {
            assert!(is_generated(&directives::with_header(text, &header)), "{text:?}");
            assert!(!is_generated(text), "{text:?}");
        }
        assert!(!is_generated(&format!("FROM a\n# {header}\n")), "a comment further down");
    }

    #[test]
    fn an_undefined_name_is_an_error_with_its_line() {
        let mut environment = environment().unwrap();
        environment.add_template("docker/D.j2", "FROM x\nRUN {{ nope }}\n").unwrap();
        let error = environment.get_template("docker/D.j2").unwrap().render(()).unwrap_err();
        assert!(explain(Utf8Path::new("docker/D.j2"), &error).starts_with("docker/D.j2:2: undefined value"), "{error}");
    }
}
