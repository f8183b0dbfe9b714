//! What a report of trivy says: findings, how many of each severity, and which of them fail a build.
//!
//! <https://trivy.dev/docs/latest/configuration/reporting/#json>

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::Severity;

/// Of a finding; `Unknown` where nobody has rated it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Unknown,
    Low,
    Medium,
    High,
    Critical,
}

impl Level {
    /// Worst first.
    pub const ALL: [Level; 5] = [Level::Critical, Level::High, Level::Medium, Level::Low, Level::Unknown];

    /// As trivy spells it. A level that this program does not know is one that nobody has rated.
    fn parse(text: &str) -> Level {
        Level::ALL.into_iter().find(|level| level.to_string().eq_ignore_ascii_case(text)).unwrap_or(Level::Unknown)
    }

    /// Whether `[scan] fail-on` is this or less.
    pub fn fails(self, fail_on: Severity) -> bool {
        let least = match fail_on {
            Severity::Never => return false,
            Severity::Low => Level::Low,
            Severity::Medium => Level::Medium,
            Severity::High => Level::High,
            Severity::Critical => Level::Critical,
        };
        self >= least
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Unknown => "unknown",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Level,
    /// `CVE-2026-1234`
    pub id: String,
    pub package: String,
    pub installed: String,
    /// `None`: there is no fixed version yet.
    pub fixed: Option<String>,
}

/// Severity → number of findings; those without are left out.
pub type Counts = BTreeMap<Level, usize>;

/// Everything that was found, worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub findings: Vec<Finding>,
}

impl Found {
    pub fn counts(&self) -> Counts {
        self.findings.iter().fold(Counts::new(), |mut counts, finding| {
            *counts.entry(finding.severity).or_default() += 1;
            counts
        })
    }

    /// At or above `fail_on`.
    pub fn failing(&self, fail_on: Severity) -> Vec<Finding> {
        self.findings.iter().filter(|finding| finding.severity.fails(fail_on)).cloned().collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    /// Only there to tell a report from any other JSON.
    #[serde(rename = "SchemaVersion")]
    _schema: u32,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    results: Option<Vec<Target>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default)]
    image_config: ImageConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageConfig {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    #[serde(default)]
    vulnerabilities: Option<Vec<Vulnerability>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    pkg_name: String,
    #[serde(default)]
    installed_version: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    severity: String,
}

/// Reads a report of `platform`; only what is needed of it is kept, however large it is.
///
/// # Errors
/// It is no report, or one of another platform.
pub fn read(report: impl Read, platform: &str) -> Result<Found> {
    let report: Report = serde_json::from_reader(report).context("it is no report of trivy")?;
    let ImageConfig { architecture, os } = report.metadata.image_config;
    // Only the engine's own platform can be read from it by name; that must never pass for another one.
    if !architecture.is_empty() && platform.split('/').take(2).ne([os.as_str(), architecture.as_str()]) {
        bail!("it is of {os}/{architecture}");
    }
    let finding = |found: Vulnerability| Finding {
        severity: Level::parse(&found.severity),
        id: found.id,
        package: found.pkg_name,
        installed: found.installed_version,
        fixed: found.fixed_version.filter(|version| !version.is_empty()),
    };
    let targets = report.results.into_iter().flatten();
    let mut findings: Vec<Finding> = targets.flat_map(|target| target.vulnerabilities.unwrap_or_default()).map(finding).collect();
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| (&a.package, &a.id).cmp(&(&b.package, &b.id))));
    Ok(Found { findings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(severities: &[&str]) -> String {
        let finding = |severity: &&str| json!({ "VulnerabilityID": "CVE-1", "PkgName": "p", "InstalledVersion": "1", "FixedVersion": "", "Severity": severity });
        json!({
            "SchemaVersion": 2,
            "Metadata": { "ImageConfig": { "architecture": "amd64", "os": "linux" } },
            "Results": [{ "Target": "a", "Class": "lang-pkgs" }, { "Vulnerabilities": severities.iter().map(finding).collect::<Vec<_>>() }],
        })
        .to_string()
    }

    #[test]
    fn what_fails_at_which_severity() {
        let found = read(report(&["LOW", "CRITICAL", "HIGH", "UNKNOWN", "HIGH", "novel"]).as_bytes(), "linux/amd64").unwrap();
        let counts = Counts::from([(Level::Critical, 1), (Level::High, 2), (Level::Low, 1), (Level::Unknown, 2)]);
        assert_eq!(found.counts(), counts);
        for (fail_on, failing) in
            [(Severity::Never, 0), (Severity::Low, 4), (Severity::Medium, 3), (Severity::High, 3), (Severity::Critical, 1)]
        {
            assert_eq!(found.failing(fail_on).len(), failing, "{fail_on:?}");
        }
        assert_eq!((found.findings[0].severity, &found.findings[0].fixed), (Level::Critical, &None), "worst first");
    }

    #[test]
    fn nothing_found_is_a_report_too() {
        for text in
            [r#"{"SchemaVersion": 2}"#, r#"{"SchemaVersion": 2, "Results": null}"#, r#"{"SchemaVersion": 2, "Results": []}"#]
        {
            assert_eq!(read(text.as_bytes(), "linux/amd64").unwrap(), Found::default(), "{text}");
        }
    }

    #[test]
    fn what_is_no_report_or_of_another_platform_is_no_pass() {
        for text in ["", "hello", "{}", "[]", "null", r#"{"SchemaVersion": 2, "Results": 1}"#, &report(&["LOW"])[..40]] {
            assert!(read(text.as_bytes(), "linux/amd64").is_err(), "{text}");
        }
        let error = read(report(&[]).as_bytes(), "linux/arm64").unwrap_err();
        assert_eq!(error.to_string(), "it is of linux/amd64");
        let arm = report(&[]).replace("amd64", "arm");
        assert!(read(arm.as_bytes(), "linux/arm/v7").is_ok() && read(arm.as_bytes(), "linux/arm64").is_err());
    }
}
