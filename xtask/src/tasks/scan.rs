//! `scan`: look for known vulnerabilities in what was built, before it is tested and published.

use anyhow::Result;
use serde_json::json;

use crate::build::lock;
use crate::config::Severity;
use crate::context::Context;
use crate::error::{Code, Fault, exit_code, render};
use crate::plan::{Action, Build, Plan, Scan};
use crate::receipt::{self, Receipt, Scanned};
use crate::registry::Digest;
use crate::scan::database::{self, Ready};
use crate::scan::report::{Finding, Level};
use crate::scan::{self, Outcome};
use crate::{candidate, report};

/// Findings that are listed for a build; its report has all of them.
const LISTED: usize = 20;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only what was built before and is published again; the others were scanned when they were built.
    #[arg(long)]
    reused: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    // Only the registry tells what is reused. A plan that was handed over was asked before the others were built.
    let plan = if args.reused && !context.is_handed_a_plan() { context.resolved()? } else { context.plan()? };
    let builds: Vec<&Build> = plan.builds.iter().filter(|build| !args.reused || build.action == Action::Reuse).collect();
    if builds.is_empty() {
        report::note("nothing to scan");
        return Ok(());
    }
    let ready = database::ready(&context.runner, &context.env, context.root(&plan)?)?;
    scan_all(context, &plan, &builds, &ready)
}

/// The step of `ci`. The sandbox publishes to nobody, and often has no network: there a scan that cannot be is only said.
pub fn step(context: &Context) -> Result<()> {
    let plan = context.plan()?;
    let ready = match database::ready(&context.runner, &context.env, context.root(&plan)?) {
        Ok(ready) => ready,
        Err(error) if context.is_sandboxed() && exit_code(&error) == Code::NotReady => {
            report::error(&format!(
                "warning: NOTHING IS SCANNED: a run that is not on the sandbox stops here, with exit code 3: {}",
                render(&error).trim_start_matches("error: ")
            ));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    scan_all(context, &plan, &plan.builds.iter().collect::<Vec<_>>(), &ready)
}

fn scan_all(context: &Context, plan: &Plan, builds: &[&Build], ready: &Ready) -> Result<()> {
    let _lock = lock::take(&context.runner, &context.repo)?;
    let targets = scan::targets(&context.runner, context.jobs, plan, builds)?;
    let settings = plan.scan.clone().unwrap_or_default();
    let job = scan::Job {
        runner: &context.runner,
        env: &context.env,
        repo: &context.repo,
        root: context.root(plan)?,
        ready,
        scan: &settings,
        jobs: context.jobs,
    };
    let mut outcomes = Vec::new();
    let mut failed = Vec::new();
    for result in scan::run(&job, &targets)? {
        match result {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if exit_code(&error) == Code::Interrupted => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    add_to_receipts(context, plan, &settings, ready, &outcomes)?;
    print(context, &settings, ready, &outcomes)?;
    verdict(&settings, &outcomes, failed)
}

/// Adds to the receipts what was found.
fn add_to_receipts(context: &Context, plan: &Plan, settings: &Scan, ready: &Ready, outcomes: &[Outcome]) -> Result<()> {
    if outcomes.iter().all(|outcome| outcome.passed.is_none()) {
        return Ok(());
    }
    let mut receipts = receipt::read(&context.repo, plan);
    for build in &plan.builds {
        let scanned = |outcome: &Outcome| {
            Some(Scanned {
                platform: outcome.platform.clone(),
                counts: outcome.counts.clone(),
                fail_on: settings.fail_on,
                passed: outcome.passed?,
                database: ready.database.clone(),
            })
        };
        let mine: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.id == build.id).collect();
        let Some(first) = mine.first() else { continue };
        let mut receipt = receipts.remove(&build.id).unwrap_or_else(|| Receipt::new(plan, build));
        let digest = first.image.split_once('@').and_then(|(_, digest)| Digest::parse(digest).ok());
        receipt.digest = receipt.digest.or(digest).or_else(|| candidate::reused(build));
        receipt.scans = mine.into_iter().filter_map(scanned).collect();
        if receipt.digest.is_some() {
            receipt.write(&context.repo, plan, build)?;
        }
    }
    Ok(())
}

fn print(context: &Context, settings: &Scan, ready: &Ready, outcomes: &[Outcome]) -> Result<()> {
    if context.json {
        let json = json!({ "schema": 1, "fail_on": settings.fail_on, "database": ready.database, "scans": outcomes });
        report::data(&json)?;
        return Ok(());
    }
    let done: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.passed.is_some()).collect();
    if done.is_empty() {
        return Ok(());
    }
    report::result(&table(&done));
    for outcome in done.iter().filter(|outcome| !outcome.failing.is_empty()) {
        report::result(&format!("\n{} for {}, {} and above:", outcome.id, outcome.platform, settings.fail_on.name()));
        report::result(&findings(outcome));
    }
    Ok(())
}

fn table(outcomes: &[&Outcome]) -> String {
    let head = ["build", "platform", "result"].map(str::to_owned).into_iter();
    let head = head.chain(Level::ALL.map(|level| level.to_string())).chain(["worst".into()]).collect();
    let row = |outcome: &&Outcome| {
        let result = if outcome.passed == Some(true) { "passed" } else { "FAILED" };
        let counts = Level::ALL.map(|level| outcome.counts.get(&level).copied().unwrap_or(0).to_string());
        let worst = |finding: &Finding| format!("{} in {} {}", finding.id, finding.package, finding.installed);
        let worst = outcome.worst.as_ref().map_or_else(|| "-".to_owned(), worst);
        [outcome.id.clone(), outcome.platform.clone(), result.into()].into_iter().chain(counts).chain([worst]).collect()
    };
    report::table(&std::iter::once(head).chain(outcomes.iter().map(row)).collect::<Vec<_>>())
}

/// What fails a build, worst first.
fn findings(outcome: &Outcome) -> String {
    let row = |finding: &Finding| {
        let fixed = finding.fixed.as_ref().map_or_else(|| "not fixed yet".to_owned(), |version| format!("fixed in {version}"));
        vec![format!("  {}", finding.id), finding.severity.to_string(), finding.package.clone(), finding.installed.clone(), fixed]
    };
    let rows: Vec<Vec<String>> = outcome.failing.iter().take(LISTED).map(row).collect();
    let more = outcome.failing.len().saturating_sub(LISTED);
    let more = if more > 0 { format!("\n  and {more} more, see {}", outcome.report) } else { String::new() };
    format!("{}{more}", report::table(&rows))
}

fn verdict(settings: &Scan, outcomes: &[Outcome], failed: Vec<anyhow::Error>) -> Result<()> {
    let mut failed = failed.into_iter();
    if let Some(last) = failed.next_back() {
        failed.for_each(|error| report::error(&format!("\n{}", render(&error))));
        return Err(last);
    }
    let mut found: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.passed == Some(false)).map(|outcome| outcome.id.as_str()).collect();
    found.dedup();
    if found.is_empty() {
        return Ok(());
    }
    let above = if settings.fail_on == Severity::Critical { "" } else { " or higher" };
    let message = format!("cannot publish {}: findings that are {}{above}", found.join(", "), settings.fail_on.name());
    let hint =
        "take the fixed versions; a finding that does no harm here goes by its id into the file that `[scan] ignore` names";
    Err(Fault::new(Code::Findings, message).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::report::Counts;

    fn outcome(failing: usize) -> Outcome {
        let finding = |n: usize| Finding {
            severity: Level::High,
            id: format!("CVE-{n}"),
            package: "openssl".into(),
            installed: "1.0".into(),
            fixed: (n > 0).then(|| "1.1".into()),
        };
        Outcome {
            id: "a".into(),
            platform: "linux/amd64".into(),
            image: "acme/a:local".into(),
            passed: Some(failing == 0),
            counts: Counts::from([(Level::High, failing)]),
            worst: (failing > 0).then(|| finding(0)),
            failing: (0..failing).map(finding).collect(),
            report: "target/slipway/scan/a.linux-amd64.json".into(),
            seconds: 1.0,
        }
    }

    #[test]
    fn what_is_printed() {
        let golden = "build  platform     result  critical  high  medium  low  unknown  worst\n\
                      a      linux/amd64  passed  0         0     0       0    0        -\n\
                      a      linux/amd64  FAILED  0         2     0       0    0        CVE-0 in openssl 1.0";
        assert_eq!(table(&[&outcome(0), &outcome(2)]), golden);
        let golden = "  CVE-0  high  openssl  1.0  not fixed yet\n  CVE-1  high  openssl  1.0  fixed in 1.1";
        assert_eq!(findings(&outcome(2)), golden);
        let many = findings(&outcome(LISTED + 5));
        assert_eq!(many.lines().count(), LISTED + 1);
        assert!(many.ends_with("and 5 more, see target/slipway/scan/a.linux-amd64.json"), "{many}");
    }

    #[test]
    fn a_scan_that_failed_is_worse_than_a_finding() {
        let high = Scan { fail_on: Severity::High, ignore: None };
        assert!(verdict(&high, &[outcome(0)], Vec::new()).is_ok());
        let error = verdict(&high, &[outcome(1), outcome(1)], Vec::new()).unwrap_err();
        assert_eq!(exit_code(&error), Code::Findings);
        assert_eq!(error.to_string(), "cannot publish a: findings that are high or higher");
        let error = verdict(&high, &[outcome(1)], vec![Fault::failed("killed").into()]).unwrap_err();
        assert_eq!(exit_code(&error), Code::Failed);
    }
}
