//! What became of each build: as a table for people, as JSON, as Markdown for a job's summary.

use serde::{Deserialize, Serialize};

use super::caches::Caches;
use crate::registry::said::is_refused;
use crate::{report, visible};

/// The results of one run; written to target/slipway/builds.json and printed by `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of this format: 1.
    pub schema: u32,
    /// Of the whole run, once there is a builder.
    pub seconds: f64,
    /// In the order of the plan.
    pub builds: Vec<Outcome>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub id: String,
    /// Content key of the plan.
    pub key: String,
    pub result: Ending,
    /// Until the image was in the engine, or until it was given up.
    pub seconds: f64,
    pub steps: Steps,
    pub pulled_bytes: u64,
    /// Of the image in the engine.
    pub size: Option<u64>,
    /// Of the manifest, or of the index where there is one.
    pub digest: Option<String>,
    /// Of the configuration; null where bake wrote no metadata, because another target failed.
    pub config_digest: Option<String>,
    /// Local names.
    pub names: Vec<String>,
    /// The known error of the engine after which it was built once more.
    pub retried: Option<String>,
    #[serde(default)]
    pub caches: Caches,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// At least one step ran.
    Built,
    /// Nothing had to run.
    Cached,
    Failed,
    /// A parent failed.
    Blocked,
    /// Given up because another failed (`--fail-fast`).
    Stopped,
    /// Only printed.
    #[default]
    Skipped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    pub total: usize,
    pub cached: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: Option<String>,
    pub error: String,
    /// The last lines of the step's log.
    pub log: Vec<String>,
}

impl Ending {
    pub fn is_good(self) -> bool {
        matches!(self, Ending::Built | Ending::Cached | Ending::Skipped)
    }

    fn word(self) -> &'static str {
        match self {
            Ending::Built => "built",
            Ending::Cached => "cached",
            Ending::Failed => "FAILED",
            Ending::Blocked => "not built",
            Ending::Stopped => "stopped",
            Ending::Skipped => "-",
        }
    }
}

impl Results {
    pub fn failed(&self) -> Vec<&Outcome> {
        self.builds.iter().filter(|build| build.result == Ending::Failed).collect()
    }

    /// For the terminal.
    pub fn table(&self) -> String {
        report::table(&self.rows())
    }

    /// For a job's summary.
    pub fn markdown(&self) -> String {
        let mut rows = self.rows().into_iter();
        let line = |row: Vec<String>| {
            format!("| {} |\n", row.iter().map(|cell| visible::markdown(cell)).collect::<Vec<_>>().join(" | "))
        };
        let head = rows.next().unwrap_or_default();
        let rule = format!("|{}\n", "---|".repeat(head.len()));
        let total = format!("\n{} builds in {:.1} s\n\n", self.builds.len(), self.seconds);
        format!("{}{rule}{}{total}", line(head), rows.map(line).collect::<String>())
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let head = ["build", "result", "seconds", "steps cached", "pulled", "size", "digest", ""];
        let has_notes = self.builds.iter().any(|build| !build.note().is_empty());
        let mut rows: Vec<Vec<String>> =
            std::iter::once(head.map(str::to_owned).to_vec()).chain(self.builds.iter().map(Outcome::row)).collect();
        if !has_notes {
            rows.iter_mut().for_each(|row| drop(row.pop()));
        }
        rows
    }
}

impl Outcome {
    fn row(&self) -> Vec<String> {
        let steps = if self.steps.total == 0 { "-".into() } else { format!("{}/{}", self.steps.cached, self.steps.total) };
        let digest = self.digest.as_deref().map_or("-", |digest| digest.get(..19).unwrap_or(digest));
        vec![
            self.id.clone(),
            self.result.word().into(),
            format!("{:.1}", self.seconds),
            steps,
            if self.pulled_bytes == 0 { "-".into() } else { report::bytes(self.pulled_bytes) },
            self.size.map_or("-".into(), report::bytes),
            digest.into(),
            self.note(),
        ]
    }

    /// For the moment at which it is finished.
    pub fn line(&self) -> String {
        line(self.result, self.seconds, self.steps)
    }

    fn note(&self) -> String {
        let retried = self.retried.as_ref().map(|error| format!("built twice: {error}"));
        let failure = self.failure.as_ref().filter(|_| self.result != Ending::Failed).map(|failure| failure.error.clone());
        retried.into_iter().chain(failure).collect::<Vec<_>>().join("; ")
    }

    /// What a person needs to mend a failed build. `event`: as `--event` takes it.
    pub fn explain(&self, event: &str) -> String {
        let Some(failure) = &self.failure else { return String::new() };
        let step = failure.step.as_ref().map(|step| format!("\n  {}", visible::line(step))).unwrap_or_default();
        let log = report::quoted(&failure.log);
        let again = format!("cargo xtask ci-build --mode test --only id={} --event {event}", self.id);
        // The command of a step that failed is quoted, and may say anything.
        let refused = is_refused(&failure.error) && !failure.error.contains("did not complete successfully");
        let login = if refused { "\n  not logged in, or not as one who may: run `cargo xtask login`" } else { "" };
        format!("{}: {}{step}{log}{login}\n  alone: {again}", self.id, visible::line(&failure.error))
    }
}

/// `built in 1.2 s, 3 of 5 steps cached`
pub fn line(result: Ending, seconds: f64, steps: Steps) -> String {
    let of = if result == Ending::Built && steps.total > 0 {
        format!(", {} of {} steps cached", steps.cached, steps.total)
    } else {
        String::new()
    };
    format!("{} in {seconds:.1} s{of}", result.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let built = Outcome {
            id: "a".into(),
            result: Ending::Built,
            seconds: 1.25,
            steps: Steps { total: 5, cached: 2 },
            pulled_bytes: 1_500_000,
            size: Some(130_000_000),
            digest: Some("sha256:0123456789abcdef".into()),
            config_digest: None,
            retried: Some("x|y".into()),
            ..Outcome::default()
        };
        let failure = Failure { step: Some("[2/2] RUN false".into()), error: "exit code: 1".into(), log: vec!["no".into()] };
        let failed = Outcome { id: "b".into(), result: Ending::Failed, failure: Some(failure), ..Outcome::default() };
        Results { schema: 1, seconds: 2.0, builds: vec![built, failed] }
    }

    #[test]
    fn as_a_table() {
        let golden = "\
build  result  seconds  steps cached  pulled  size    digest
a      built   1.2      2/5           1.5 MB  130 MB  sha256:0123456789ab  built twice: x|y
b      FAILED  0.0      -             -       -       -";
        assert_eq!(results().table(), golden);
    }

    #[test]
    fn as_markdown() {
        let golden = "\
| build | result | seconds | steps cached | pulled | size | digest |  |
|---|---|---|---|---|---|---|---|
| a | built | 1.2 | 2/5 | 1.5 MB | 130 MB | sha256:0123456789ab | built twice: x\\|y |
| b | FAILED | 0.0 | - | - | - | - |  |

2 builds in 2.0 s

";
        assert_eq!(results().markdown(), golden);
    }

    #[test]
    fn a_failure_says_where_and_why() {
        let golden = "\
b: exit code: 1
  [2/2] RUN false
  | no
  alone: cargo xtask ci-build --mode test --only id=b --event pr:3";
        assert_eq!(results().builds[1].explain("pr:3"), golden);
        assert_eq!(results().failed().len(), 1);
    }

    #[test]
    fn a_base_that_may_not_be_read_says_how_to_log_in() {
        let said = |error: &str| {
            let failure = Failure { error: error.into(), ..Failure::default() };
            Outcome { id: "b".into(), result: Ending::Failed, failure: Some(failure), ..Outcome::default() }.explain("pr:3")
        };
        let base = "r/a:latest: failed to resolve source metadata for r/a:latest: unexpected status from HEAD request to https://r/v2/a/manifests/latest: 401 Unauthorized";
        assert!(said(base).contains("run `cargo xtask login`"), "{}", said(base));
        let step = r#"process "/bin/sh -c fetch || echo 401 Unauthorized" did not complete successfully: exit code: 1"#;
        assert!(!said(step).contains("login"), "{}", said(step));
    }
}
