//! Where output goes: results to stdout, progress and notes to stderr; tables as text. All of it is shown by `visible`.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::Fault;
use crate::visible;

static QUIET: AtomicBool = AtomicBool::new(false);
static LOST: AtomicBool = AtomicBool::new(false);
static ACTIONS: AtomicBool = AtomicBool::new(false);

/// Silences notes (`--quiet`); results and errors are still printed.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// We run in GitHub Actions, where some lines are commands.
pub fn set_actions(actions: bool) {
    ACTIONS.store(actions, Ordering::Relaxed);
}

pub fn is_actions() -> bool {
    ACTIONS.load(Ordering::Relaxed)
}

/// Shown text as it is printed here.
fn printed(shown: String) -> String {
    if is_actions() { visible::inert(&shown) } else { shown }
}

/// Lines of result on stdout. A reader that went away (`| head`) is not an error; a full disk is one, see [`written`].
pub fn result(text: &str) {
    let (text, mut stdout) = (printed(visible::text(text)), io::stdout().lock());
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// A result as JSON, for `--json`; see [`json`].
///
/// # Errors
/// Those of [`json`].
pub fn data(value: &impl Serialize) -> anyhow::Result<()> {
    result(&json(value)?);
    Ok(())
}

/// Indented JSON. By way of a [`Value`], whose text is written by code of `serde_json`, which is optimized in the profile
/// that `cargo xtask` is built in; what is generic would be compiled here, and take half of the time of a large plan.
///
/// # Errors
/// A map whose keys are no text.
///
/// [`Value`]: serde_json::Value
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(visible::json(&format!("{:#}", serde_json::to_value(value)?)))
}

/// # Errors
/// A result could not be written to stdout.
pub fn written((): ()) -> anyhow::Result<()> {
    if LOST.load(Ordering::Relaxed) { Err(Fault::failed("cannot write the result to stdout").into()) } else { Ok(()) }
}

/// One line of progress on stderr.
pub fn note(text: &str) {
    progress(&printed(visible::line(text)));
}

/// Lines of progress on stderr.
pub fn lines(text: &str) {
    progress(&printed(visible::text(text)));
}

/// A log below its title on stderr, which GitHub Actions folds.
pub fn group(title: &str, log: &[String]) {
    let log: String = log.iter().map(|line| printed(format!("| {}\n", visible::line(line)))).collect();
    progress(&format!("::group::{}\n{log}::endgroup::", visible::command_data(&printed(visible::line(title)))));
}

fn progress(printed: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        let _closed = writeln!(io::stderr().lock(), "{printed}");
    }
}

/// An error on stderr; also with `--quiet`.
pub fn error(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "{}", printed(visible::text(text)));
}

/// A failed test or check with the end of its log, below an empty line.
pub fn failure(title: &str, log: &[String]) {
    error(&format!("\n{}{}", visible::line(title), quoted(log)));
}

/// Each line of a log below what it belongs to.
pub fn quoted(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {}", visible::line(line))).collect()
}

/// `1.2 MB`, in steps of a thousand.
pub fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 { format!("{value:.0} {}", units[unit]) } else { format!("{value:.1} {}", units[unit]) }
}

/// Rows as text, columns padded to their widest cell (in characters), two spaces between.
pub fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible::line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        for (count, text) in [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (123_456_789, "123 MB"), (999_999_999, "1.0 GB")] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["build".into(), "result".into()], vec!["python-cpu".into(), "ok".into()]];
        assert_eq!(table(&rows), "build       result\npython-cpu  ok");
    }
}
