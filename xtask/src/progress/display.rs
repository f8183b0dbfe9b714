//! Shows running work: live rows on a terminal, one line a change elsewhere, folded logs in GitHub Actions.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::state::Steps;
use crate::{report, visible};

/// A step that is over sooner is not worth a line: BuildKit announces cached ones too.
const WORTH_A_LINE: Duration = Duration::from_millis(400);

/// Shared by everything that runs at once. All of it goes to stderr.
pub struct Display {
    mode: Mode,
    /// Width of the longest name.
    width: usize,
    /// What runs, by name; elsewhere than on a terminal.
    running: Mutex<BTreeMap<String, Line>>,
}

struct Line {
    what: String,
    since: Instant,
    shown: bool,
}

enum Mode {
    /// A row for what runs now; what is finished becomes a line above.
    Live(MultiProgress, Mutex<BTreeMap<String, ProgressBar>>),
    Lines,
    /// Lines, and the log of what is finished in a group that GitHub folds.
    Groups,
}

impl Display {
    /// `github`: in GitHub Actions. `plain`: lines even on a terminal, because others write there too.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, github: bool, plain: bool) -> Display {
        let mode = if github {
            Mode::Groups
        } else if plain || report::is_quiet() || !std::io::stderr().is_terminal() {
            Mode::Lines
        } else {
            Mode::Live(MultiProgress::new(), Mutex::default())
        };
        Display { mode, width: names.into_iter().map(str::len).max().unwrap_or(0), running: Mutex::default() }
    }

    /// `name` now does `what`, and is so far.
    pub fn running(&self, name: &str, what: &str, steps: Steps, pulled: u64) {
        if let Mode::Live(..) = &self.mode {
            let pulled = if pulled == 0 { String::new() } else { format!(" {} pulled", report::bytes(pulled)) };
            let far = if steps.total == 0 { String::new() } else { format!("{}/{}", steps.done, steps.total) };
            return self.row(name, |row| {
                row.set_prefix(visible::line(&format!("{name:width$}  {far}{pulled}", width = self.width)));
                row.set_message(visible::line(what));
            });
        }
        let Ok(mut running) = self.running.lock() else { return };
        let line =
            running.entry(name.to_owned()).or_insert_with(|| Line { what: String::new(), since: Instant::now(), shown: true });
        if line.what != what {
            *line = Line { what: what.to_owned(), since: Instant::now(), shown: false };
        }
    }

    /// Called now and then while things run: shows what has been running for a moment.
    pub fn tick(&self) {
        let Ok(mut running) = self.running.lock() else { return };
        for (name, line) in running.iter_mut().filter(|(_, line)| !line.shown && line.since.elapsed() >= WORTH_A_LINE) {
            line.shown = true;
            self.line(name, &line.what);
        }
    }

    /// `name` is finished with this result; `log` is shown where it can be folded.
    pub fn finished(&self, name: &str, result: &str, log: &[String]) {
        if let Ok(mut running) = self.running.lock() {
            running.remove(name);
        }
        match &self.mode {
            Mode::Live(bars, rows) => {
                if let Some(row) = rows.lock().ok().and_then(|mut rows| rows.remove(name)) {
                    row.finish_and_clear();
                    bars.remove(&row);
                }
                bars.suspend(|| self.line(name, result));
            }
            Mode::Lines => self.line(name, result),
            Mode::Groups if log.is_empty() => self.line(name, result),
            Mode::Groups => report::group(&format!("{name:width$}  {result}", width = self.width), log),
        }
    }

    /// Whether [`Display::finished`] shows the log.
    pub fn folds_logs(&self) -> bool {
        matches!(self.mode, Mode::Groups)
    }

    /// A line that belongs to nothing in particular.
    pub fn note(&self, text: &str) {
        match &self.mode {
            Mode::Live(bars, _) => bars.suspend(|| report::note(text)),
            Mode::Lines | Mode::Groups => report::note(text),
        }
    }

    /// Takes all live rows away.
    pub fn clear(&self) {
        if let Mode::Live(bars, rows) = &self.mode {
            if let Ok(mut rows) = rows.lock() {
                rows.clear();
            }
            // A terminal that went away needs no clearing.
            let _gone = bars.clear();
        }
    }

    fn line(&self, name: &str, text: &str) {
        report::note(&format!("{name:width$}  {text}", width = self.width));
    }

    fn row(&self, name: &str, change: impl Fn(&ProgressBar)) {
        let Mode::Live(bars, rows) = &self.mode else { return };
        let Ok(mut rows) = rows.lock() else { return };
        let row = rows.entry(name.to_owned()).or_insert_with(|| {
            let row = bars.add(ProgressBar::new_spinner());
            // The template is a constant; were it wrong, indicatif's own would do.
            row.set_style(
                ProgressStyle::with_template("{spinner} {prefix}  {wide_msg} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            row.set_prefix(visible::line(&format!("{name:width$}", width = self.width)));
            row.enable_steady_tick(Duration::from_millis(120));
            row
        });
        change(row);
    }
}
