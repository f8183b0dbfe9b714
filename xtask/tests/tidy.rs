//! The rules of this code base, as tests: every fault at once, `file:line: what (how to fix)`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files that git tracks or would track, relative to the repository, with their text; what is not UTF-8 is left out.
fn files(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).unwrap();
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    names.lines().filter(|name| wanted(name)).filter_map(read).collect()
}

fn sources() -> Vec<(String, String)> {
    let sources = files(|name| name.starts_with("xtask/src/") && name.ends_with(".rs"));
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// Files that are compiled for tests only.
fn is_test(name: &str) -> bool {
    let test =
        |part: &str| ["tests", "testing", "golden", "lab"].contains(&part.trim_end_matches(".rs")) || part.ends_with("_tests.rs");
    name.split('/').skip(2).any(test)
}

/// The part of a file that is not its inline tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Lines of `files` outside `home` that contain one of `words`.
fn only_in(home: &[&str], words: &[&str], fix: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let elsewhere = |name: &str| !is_test(name) && !home.iter().any(|home| name.starts_with(&format!("xtask/src/{home}")));
    for (name, text) in sources().iter().filter(|(name, _)| elsewhere(name)) {
        for (at, line) in code(text) {
            faults.extend(words.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{at}: {word} ({fix})")));
        }
    }
    faults
}

#[test]
fn every_file_says_what_it_is_for() {
    let tests = files(|name| name.starts_with("xtask/tests/") && name.ends_with(".rs"));
    let missing = sources().into_iter().chain(tests).filter(|(_, text)| !text.starts_with("//! "));
    assert_none(missing.map(|(name, _)| format!("{name}:1: no `//!` line (say what the file is for)")).collect());
}

#[test]
fn files_are_short() {
    let long = files(|name| name.ends_with(".rs")).into_iter().filter(|(_, text)| text.lines().count() > 400);
    assert_none(
        long.map(|(name, text)| format!("{name}:{}: over 400 lines (the model is wrong, not the cap)", text.lines().count()))
            .collect(),
    );
}

#[test]
fn one_file_starts_processes() {
    assert_none(only_in(&["exec"], &["Command::new", "xshell::", "duct::"], "make a Cmd and hand it to exec::Runner"));
}

#[test]
fn one_door_for_clock_and_environment() {
    let words = ["SystemTime::now", "env::var", "env::vars"];
    assert_none(only_in(&["facts"], &words, "let facts read it and hand it over"));
}

#[test]
fn everything_that_is_printed_is_shown_first() {
    let words = ["println!", "eprint!", " print!", "dbg!", "io::stdout", "io::stderr()", "stderr().lock", "stdout().lock"];
    let is_terminal = |fault: &String| fault.starts_with("xtask/src/progress/display.rs") && fault.contains("io::stderr()");
    let faults = only_in(&["report.rs"], &words, "print by way of report, which shows foreign text");
    assert_none(faults.into_iter().filter(|fault| !is_terminal(fault)).collect());
    // The rows on a terminal are indicatif's.
    let rows = only_in(&[], &["set_message(", "set_prefix("], "show it with visible::line");
    let shown = |fault: &String| {
        let mut place = fault.split(':');
        let (name, at) = (place.next().unwrap(), place.next().unwrap().parse::<usize>().unwrap());
        std::fs::read_to_string(root().join(name)).unwrap().lines().nth(at - 1).unwrap().contains("(visible::line(")
    };
    assert_none(rows.into_iter().filter(|fault| !shown(fault)).collect());
}

#[test]
fn only_main_exits() {
    assert_none(only_in(&["main.rs"], &["process::exit", "process::ExitCode", "ExitCode::"], "return an error"));
}

#[test]
fn one_file_spells_docker() {
    let words = ["probe(\"docker\"", "change(\"docker\"", "cleanup(\"docker\""];
    assert_none(only_in(&["docker"], &words, "add a function to docker.rs"));
}

#[test]
fn one_file_spells_git() {
    let words = ["probe(\"git\"", "change(\"git\"", "cleanup(\"git\""];
    assert_none(only_in(&["git.rs"], &words, "ask through git.rs, which switches off what a repository can execute"));
}

#[test]
fn one_file_writes() {
    // The sandbox writes to the kernel and to its own cache folder, `exec` the log of its daemons, and the summary of a
    // job is a file of the runner.
    let words = ["fs::write(", "File::create", ".create(true)", ".persist("];
    assert_none(only_in(
        &["files.rs", "sandbox/", "exec.rs", "tasks/ci_build.rs"],
        &words,
        "write through files.rs, which follows no link",
    ));
}

#[test]
fn the_planner_is_pure() {
    let words =
        ["crate::exec", "crate::docker", "crate::engine", "crate::tasks", "crate::report", "std::fs", "std::net", "Runner"];
    let mut faults = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("xtask/src/plan/") && !is_test(name)) {
        for (at, line) in code(text) {
            faults.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{name}:{at}: {word} (the planner reads data only)")),
            );
        }
    }
    assert_none(faults);
}

#[test]
fn dry_run_is_known_in_three_places() {
    let words = ["dry_run"];
    // The sandbox writes files of its own.
    let home = ["exec", "generated.rs", "cli.rs", "context.rs", "sandbox/", "tasks/sandbox.rs"];
    assert_none(only_in(&home, &words, "exec.rs and generated.rs decide; use their modes"));
}

#[test]
fn every_command_that_is_named_exists() {
    let help = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    let known: BTreeSet<&str> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(known.contains("plan"), "cannot read the commands from --help:\n{help}");
    let mut faults = Vec::new();
    for (name, text) in
        files(|name| [".md", ".yml", ".rs", ".toml", ".j2"].iter().any(|end| name.ends_with(end)) && name != "CHANGELOG.md")
    {
        for (at, line) in text.lines().enumerate() {
            for rest in line.split("cargo xtask ").skip(1) {
                let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                let is_command = word.chars().next().is_some_and(|first| first.is_ascii_lowercase());
                if is_command && !known.contains(word.as_str()) {
                    faults.push(format!("{name}:{}: `cargo xtask {word}` does not exist (there are {known:?})", at + 1));
                }
            }
        }
    }
    assert_none(faults);
}

#[test]
fn every_task_is_in_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let tasks = files(|name| name.starts_with("xtask/src/tasks/") && !name.ends_with("mod.rs"));
    let missing = tasks.iter().filter_map(|(name, _)| {
        let task = name.trim_start_matches("xtask/src/tasks/").trim_end_matches(".rs").split('/').next()?.replace('_', "-");
        (!readme.contains(&format!("`{task}"))).then(|| format!("README.md: no `{task}` (add it to the table of tasks)"))
    });
    assert_none(missing.collect());
}
