//! The vulnerability database: brought once for all scans; the one of last time where its registry cannot be reached.

use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::trivy;
use crate::config::Env;
use crate::error::Fault;
use crate::exec::Runner;
use crate::{facts, report};

const INSTALL: &str = "install Trivy, https://trivy.dev/docs/latest/getting-started/installation/";
const BRING: &str = "let this machine reach the registry of the database, or set TRIVY_DB_REPOSITORY to a mirror, or TRIVY_CACHE_DIR to a folder that has one";

/// What was scanned with; part of reports and receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Of its format.
    pub version: u32,
    /// RFC 3339 in UTC: when it was made.
    pub updated: String,
}

/// A trivy that answers, and what it scans with.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// `None` only where bringing it was only printed.
    pub database: Option<Database>,
    pub is_printed: bool,
    /// The database of Java archives that is there is current.
    pub has_java: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    #[serde(rename = "Version")]
    _version: String,
    #[serde(rename = "VulnerabilityDB")]
    database: Option<Metadata>,
    #[serde(rename = "JavaDB")]
    java: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    version: u32,
    updated_at: String,
    next_update: String,
}

/// Finds trivy and brings its database up to date.
///
/// # Errors
/// Not ready: there is no trivy that answers, or no database and none to be had.
pub fn ready(runner: &Runner, env: &Env, dir: &Utf8Path) -> Result<Ready> {
    let before = look(runner)?;
    let kept = env.get("TRIVY_SKIP_DB_UPDATE").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let mut lost = None;
    if !kept {
        let cmd = trivy::download(dir);
        let exit = runner.output(&cmd)?;
        if exit.skipped {
            return Ok(Ready { is_printed: true, ..before });
        }
        lost = (!exit.ok())
            .then(|| if exit.code.is_some_and(|_| !exit.timed_out) { trivy::cause(&exit.stderr) } else { exit.reason(&cmd) });
    }
    let now = look(runner)?;
    let age = |database: &Database| age(&database.updated, &facts::now());
    match (&now.database, lost) {
        (None, lost) => {
            let why = lost.map_or_else(|| "there is none".to_owned(), |lost| format!("it cannot be brought: {lost}"));
            Err(Fault::not_ready(format!("cannot scan without the vulnerability database: {why}")).hint(BRING).into())
        }
        (Some(old), Some(lost)) => {
            let age = age(old);
            report::error(&format!(
                "warning: the vulnerability database cannot be brought up to date: {lost}\nwarning: scanning with the one that is there, made {age}"
            ));
            Ok(now)
        }
        (Some(database), None) => {
            report::note(&format!("vulnerability database made {}", age(database)));
            Ok(now)
        }
    }
}

/// What trivy is there, without changing anything.
///
/// # Errors
/// Not ready: none, or none that answers.
pub fn look(runner: &Runner) -> Result<Ready> {
    if runner.which("trivy").is_none() {
        return Err(Fault::not_ready("cannot scan: there is no trivy").hint(INSTALL).into());
    }
    let cmd = trivy::version();
    let exit = runner.output(&cmd)?;
    if !exit.ok() {
        let fault = Fault::not_ready(format!("cannot scan: trivy does not answer: {}", exit.reason(&cmd)));
        return Err(fault.hint("run `trivy version`, and install it again").into());
    }
    let unclear = || Fault::not_ready("cannot scan: cannot understand what `trivy version` says").hint(INSTALL);
    let said: Said = serde_json::from_str(&exit.stdout).with_context(unclear)?;
    let is_current = |java: &Metadata| since(&java.next_update, &facts::now()).is_some_and(|late| late.is_zero());
    Ok(Ready {
        database: said.database.map(|database| Database { version: database.version, updated: database.updated_at }),
        is_printed: false,
        has_java: said.java.as_ref().is_some_and(is_current),
    })
}

/// From `then` to `now`, zero where that is still to come; both are RFC 3339 in UTC.
fn since(then: &str, now: &str) -> Option<Duration> {
    let (then, now) = (humantime::parse_rfc3339(then).ok()?, humantime::parse_rfc3339(now).ok()?);
    Some(now.duration_since(then).unwrap_or_default())
}

/// "5 hours ago", "12 days ago"
pub fn age(then: &str, now: &str) -> String {
    let Some(age) = since(then, now) else { return format!("at {then}") };
    let (n, unit) = match age.as_secs() / 3600 {
        0 => return "less than an hour ago".into(),
        hours @ 1..48 => (hours, "hour"),
        hours => (hours / 24, "day"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let now = "2026-01-10T12:00:00Z";
        for (then, text) in [
            ("2026-01-10T11:59:00.123456789Z", "less than an hour ago"),
            ("2026-01-11T11:59:00Z", "less than an hour ago"),
            ("2026-01-10T11:00:00Z", "1 hour ago"),
            ("2026-01-09T12:00:00Z", "24 hours ago"),
            ("2026-01-01T12:00:00Z", "9 days ago"),
            ("yesterday", "at yesterday"),
        ] {
            assert_eq!(age(then, now), text, "{then}");
        }
    }
}
