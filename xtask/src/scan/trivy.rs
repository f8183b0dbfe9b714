//! Every flag of `trivy …`, spelled here and nowhere else; what it says when it fails.
//!
//! <https://trivy.dev/docs/latest/references/configuration/cli/trivy_image/>

use std::time::Duration;

use camino::Utf8Path;

use crate::cmd::Cmd;

/// How long it may take to say its version.
const ANSWER: Duration = Duration::from_secs(20);
/// The database is some 80 MB, and its registry is a busy one.
const DOWNLOAD: Duration = Duration::from_secs(10 * 60);
/// trivy's own limit is behind ours, so that it is always ours that ends it.
const LATER: u64 = 60;
/// An error is a chain of causes; more than this of it helps nobody.
const WORDS: usize = 600;

/// Where an image is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `REPOSITORY@DIGEST`
    Registry(String),
    /// A name in the engine.
    Engine(String),
    /// What `docker save` wrote.
    Archive(String),
}

/// One image for one platform.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    pub source: Source,
    pub platform: &'a str,
    pub report: &'a Utf8Path,
    pub ignore: Option<&'a Utf8Path>,
    /// `None`: the one that trivy itself would take.
    pub cache: Option<&'a Utf8Path>,
    pub skip_java: bool,
    pub limit: Duration,
    /// A `trivy.yaml` of the repository is used.
    pub dir: &'a Utf8Path,
    /// For people: "tiny-a".
    pub id: &'a str,
}

/// Its version and that of its databases, as JSON.
pub fn version() -> Cmd {
    Cmd::probe("trivy", "find trivy").args(["version", "--format", "json"]).timeout(ANSWER)
}

/// Brings the vulnerability database, unless the one that is there is current.
pub fn download(dir: &Utf8Path) -> Cmd {
    let cmd = Cmd::change("trivy", "bring the vulnerability database up to date");
    cmd.args(["image", "--download-db-only", "--no-progress"]).dir(dir).timeout(DOWNLOAD)
}

/// Writes a report with every finding; which of them matter is decided here, so its exit code says only whether it worked.
pub fn scan(scan: &Scan<'_>) -> Cmd {
    let mut cmd = Cmd::change("trivy", format!("scan {} for {}", scan.id, scan.platform));
    // A run that is told by a setting to leave severities out, or to fail by itself, would not be ours any more.
    cmd = cmd.args(["image", "--scanners", "vuln", "--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL", "--exit-code", "0"]);
    cmd = cmd.args(["--format", "json", "--output", scan.report.as_str()]);
    // In memory: results of an earlier scan are never used, and its cache of those lets in one process at a time.
    cmd = cmd.args(["--skip-db-update", "--cache-backend", "memory", "--no-progress"]);
    if scan.skip_java {
        cmd = cmd.arg("--skip-java-db-update");
    }
    if let Some(ignore) = scan.ignore {
        cmd = cmd.args(["--ignorefile", ignore.as_str()]);
    }
    if let Some(cache) = scan.cache {
        cmd = cmd.args(["--cache-dir", cache.as_str()]);
    }
    cmd = cmd
        .args(["--timeout".to_owned(), format!("{}s", scan.limit.as_secs().saturating_add(LATER)), "--platform".into()])
        .arg(scan.platform);
    cmd = match &scan.source {
        Source::Registry(reference) if is_plain(reference) => {
            cmd.env("TRIVY_INSECURE", "true").args(["--image-src", "remote", reference])
        }
        Source::Registry(reference) => cmd.args(["--image-src", "remote", reference]),
        Source::Engine(name) => cmd.args(["--image-src", "docker", name]),
        Source::Archive(path) => cmd.args(["--input", path]),
    };
    cmd.env("TRIVY_SKIP_VERSION_CHECK", "true").dir(scan.dir).timeout(scan.limit)
}

/// Whether a registry speaks plain HTTP: those on this machine do.
fn is_plain(reference: &str) -> bool {
    let host = reference.split('/').next().unwrap_or_default();
    ["localhost:", "127.", "[::1]:"].iter().any(|start| host.starts_with(start))
}

/// Whether it gave up because another process has its database.
///
/// <https://trivy.dev/docs/latest/references/troubleshooting/#database-and-cache-lock-errors>
pub fn is_locked_out(stderr: &str) -> bool {
    stderr.contains("may be in use by another process")
}

/// The cause, from what it wrote to stderr: the chain of its `FATAL` line, else its last line.
pub fn cause(stderr: &str) -> String {
    let fatal = stderr.find("\tFATAL\t").map(|at| &stderr[at + "\tFATAL\t".len()..]);
    let text = fatal.unwrap_or_else(|| stderr.trim_end().lines().last().unwrap_or_default());
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("Fatal error ").unwrap_or(&text);
    if text.chars().count() > WORDS { text.chars().take(WORDS).chain(['…']).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(source: Source) -> Scan<'static> {
        Scan {
            source,
            platform: "linux/amd64",
            report: "/r/a.json".into(),
            ignore: None,
            cache: None,
            skip_java: false,
            limit: Duration::from_secs(60),
            dir: "/repo".into(),
            id: "a",
        }
    }

    #[test]
    fn commands_as_text() {
        let digest = format!("localhost:5000/acme/a@sha256:{}", "0".repeat(64));
        let remote = format!("ghcr.io/acme/a@sha256:{}", "0".repeat(64));
        let all = "trivy image --scanners vuln --severity UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL --exit-code 0 --format json --output /r/a.json --skip-db-update --cache-backend memory --no-progress";
        let end = "--timeout 120s --platform linux/amd64";
        let quiet = "TRIVY_SKIP_VERSION_CHECK=true";
        let archive = Scan {
            ignore: Some("/repo/.trivyignore".into()),
            cache: Some("/c".into()),
            skip_java: true,
            ..one(Source::Archive("/tmp/a.tar".into()))
        };
        for (cmd, golden) in [
            (version(), "trivy version --format json".to_owned()),
            (download("/repo".into()), "cd /repo && trivy image --download-db-only --no-progress".to_owned()),
            (
                scan(&one(Source::Registry(digest.clone()))),
                format!("cd /repo && TRIVY_INSECURE=true {quiet} {all} {end} --image-src remote {digest}"),
            ),
            (
                scan(&one(Source::Registry(remote.clone()))),
                format!("cd /repo && {quiet} {all} {end} --image-src remote {remote}"),
            ),
            (
                scan(&one(Source::Engine("acme/a:local".into()))),
                format!("cd /repo && {quiet} {all} {end} --image-src docker acme/a:local"),
            ),
            (
                scan(&archive),
                format!(
                    "cd /repo && {quiet} {all} --skip-java-db-update --ignorefile /repo/.trivyignore --cache-dir /c {end} --input /tmp/a.tar"
                ),
            ),
        ] {
            assert_eq!(cmd.to_string(), golden);
        }
    }

    #[test]
    fn the_cause_is_the_fatal_line() {
        for (stderr, cause_is) in [
            (
                "2026-01-01T00:00:00Z\tINFO\t[vuln] scanning\n2026-01-01T00:00:00Z\tFATAL\tFatal error\trun error: 2 errors occurred:\n\t* a\n\t* b\n\n",
                "run error: 2 errors occurred: * a * b",
            ),
            ("one\ntwo\n", "two"),
            ("", ""),
        ] {
            assert_eq!(cause(stderr), cause_is);
        }
        assert_eq!(cause(&"x".repeat(10_000)).chars().count(), WORDS + 1);
    }
}
