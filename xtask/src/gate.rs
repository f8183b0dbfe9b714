//! The gate: what is published is what was tested, for all builds of a plan or for none.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::candidate;
use crate::error::Fault;
use crate::plan::labels::{self, KEY, REVISION};
use crate::plan::{Action, Build, How, Plan};
use crate::publish::already;
use crate::receipt::Receipt;
use crate::registry::{Digest, Registry, each};

/// A build whose candidate is the image that passed its tests.
#[derive(Clone, Debug)]
pub struct Verified<'a> {
    pub build: &'a Build,
    pub digest: Digest,
    /// Repository in which it lies.
    pub source: String,
}

/// What the test stage wrote down, as far as it is here.
#[derive(Default)]
pub struct Receipts {
    pub found: BTreeMap<String, Receipt>,
    /// The plan was handed over, from where the test stage ran: what that built has a receipt, which was handed over too.
    pub demanded: bool,
}

/// The builds of a plan that are published.
pub fn published(plan: &Plan) -> Vec<&Build> {
    plan.builds.iter().filter(|build| build.push.how != How::None && build.test.candidate.is_some()).collect()
}

/// Reads candidates, their marks and their labels, and compares them with the plan and with the receipts.
///
/// # Errors
/// Refused, with every difference of every build.
pub fn verify<'a>(plan: &'a Plan, registry: &dyn Registry, receipts: &Receipts) -> Result<Vec<Verified<'a>>> {
    let builds = published(plan);
    let found = each(&builds, |build| one(plan, registry, build, receipts))?;
    let (mut verified, mut faults) = (Vec::new(), Vec::new());
    for (build, found) in builds.iter().zip(found) {
        match found {
            Ok(digest) => verified.push(Verified { build, digest, source: candidate::repository(build) }),
            Err(lines) => faults.extend(lines.into_iter().map(|line| format!("{}: {line}", build.id))),
        }
    }
    refuse(faults, builds.len())?;
    Ok(verified)
}

/// # Errors
/// Refused unless there are no `faults`.
pub fn refuse(faults: Vec<String>, of: usize) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!("nothing is published, of {of} builds these are not what was tested:\n  {}", faults.join("\n  "));
    let hint = "run `cargo xtask ci-build --mode test` and `cargo xtask docker-test` for the same event or plan, then this again";
    Err(Fault::refused(message).hint(hint).into())
}

/// The digest of one build that may be published, or what is wrong with it.
fn one(plan: &Plan, registry: &dyn Registry, build: &Build, receipts: &Receipts) -> Result<Result<Digest, Vec<String>>> {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    // No job of this run had to build it: then it has no candidate, and the plan names the image.
    let candidate = registry.digest(&name(&build.test.candidate))?.or_else(|| candidate::reused(build));
    let Some(candidate) = candidate else {
        // A clean-up may have taken the candidate of what was published long ago.
        let published = already::image(plan, registry, build)?;
        return Ok(published.ok_or_else(|| vec![format!("its candidate {} is missing", name(&build.test.candidate))]));
    };
    let mut faults = Vec::new();
    if !candidate::is_tested(registry, build, &candidate)? {
        let now = registry.digest(&name(&build.test.mark))?;
        faults.push(match now.filter(|tested| *tested != candidate) {
            Some(tested) => format!("digest: tested {tested}, now {candidate}"),
            None => format!("its candidate {candidate} is untested, there is no {}", name(&build.test.mark)),
        });
    }
    let receipt = receipts.found.get(&build.id).filter(|receipt| receipt.digest.as_ref() == Some(&candidate));
    let is_demanded = receipts.demanded && build.action == Action::Build;
    // A rebuilt image was compared with its receipt field by field; its digest is another one.
    if is_demanded && build.push.how == How::Promote {
        faults.extend(by_receipt(receipts.found.get(&build.id), &candidate));
    }
    let is_of_this_run = is_demanded || build.push.how == How::Rebuild || receipt.is_some_and(|receipt| !receipt.reused);
    faults.extend(by_labels(registry, build, &candidate, is_of_this_run)?);
    Ok(if faults.is_empty() { Ok(candidate) } else { Err(faults) })
}

/// What is wrong with the receipt of an image that another job of this run built.
fn by_receipt(receipt: Option<&Receipt>, candidate: &Digest) -> Vec<String> {
    let Some(receipt) = receipt else { return vec!["there is no receipt of its test in target/slipway/receipts".into()] };
    match &receipt.digest {
        Some(digest) if digest != candidate => return vec![format!("digest: in the receipt {digest}, now {candidate}")],
        None => return vec!["its receipt does not say what was built".into()],
        Some(_) => {}
    }
    let failed = receipt.tests.iter().filter(|test| !test.passed);
    failed.map(|test| format!("in the receipt the test failed: {}", test.name)).collect()
}

/// What the labels of an image say that the plan does not.
fn by_labels(registry: &dyn Registry, build: &Build, candidate: &Digest, is_of_this_run: bool) -> Result<Vec<String>> {
    let images = registry.images(&candidate::by_digest(build, candidate))?.unwrap_or_default();
    if images.is_empty() {
        return Ok(vec![format!("its candidate {candidate} is no image that can be read")]);
    }
    let mut faults = Vec::new();
    for image in images {
        let label = |name: &str| image.labels.get(name).cloned().unwrap_or_default();
        if !labels::fits(build, &image.labels) {
            faults.push(format!("{}: the key of the image is \"{}\", of the plan {}", image.platform, label(KEY), build.key));
        }
        let revision = labels::expected(build, REVISION).filter(|_| is_of_this_run).unwrap_or_default();
        if !revision.is_empty() && label(REVISION) != revision {
            faults.push(format!("{}: the image is of commit \"{}\", the plan of {revision}", image.platform, label(REVISION)));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::receipt::Tested;
    use crate::registry::memory::{Memory, d};

    fn publishing(id: &str) -> Build {
        let mut build = build(id);
        build.repository = format!("r/{id}");
        build.push.how = How::Promote;
        build.push.tags = vec![format!("r/{id}:v1")];
        build.test.candidate = Some(format!("r/{id}:candidate"));
        build.test.mark = Some(format!("r/{id}:tested"));
        build.labels = vec![(REVISION.into(), "c1".into())];
        build
    }

    /// An image of the key of these builds and of this commit, with these tags.
    fn image(memory: &Memory, n: u32, revision: &str, tags: &[&str]) {
        memory.add(&d(n), &[(KEY, &"0".repeat(64)), (REVISION, revision)], tags);
    }

    /// The mark of one image.
    fn of(mark: &str, n: u32) -> String {
        crate::marks::of_image(mark, &d(n))
    }

    fn lines(result: Result<Vec<Verified<'_>>>) -> Vec<String> {
        let error = result.unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
        error.to_string().lines().skip(1).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn every_difference_is_named_and_nothing_passes() {
        let plan =
            plan(vec![publishing("a"), publishing("b"), publishing("c"), publishing("d"), publishing("e"), build("local")]);
        let memory = Memory::default();
        image(&memory, 1, "c1", &["r/a:candidate", &of("r/a:tested", 1)]);
        image(&memory, 2, "c1", &["r/b:candidate"]);
        image(&memory, 9, "c1", &["r/b:tested"]);
        image(&memory, 3, "c1", &["r/c:candidate"]);
        memory.add(&d(5), &[(KEY, "other")], &["r/e:candidate", &of("r/e:tested", 5)]);
        let lines = lines(verify(&plan, &memory.view(), &Receipts::default()));
        assert_eq!(lines.len(), 4, "{lines:#?}");
        for (line, part) in lines.iter().zip([
            &format!("b: digest: tested {}, now {}", d(9), d(2)) as &str,
            "c: its candidate sha256:",
            "d: its candidate r/d:candidate is missing",
            "e: : the key of the image is \"other\", of the plan 000",
        ]) {
            assert!(line.starts_with(part), "{line}");
        }
    }

    #[test]
    fn a_reused_image_passes_while_its_mark_is_on_it() {
        let mut reused = publishing("a");
        (reused.reused, reused.action) = (Some(format!("r/a@{}", d(1))), Action::Reuse);
        let plan = plan(vec![reused]);
        let memory = Memory::default();
        let verify = || verify(&plan, &memory.view(), &Receipts { demanded: true, ..Receipts::default() });
        // It is of an earlier commit.
        image(&memory, 1, "c0", &[]);
        assert!(verify().is_err());
        memory.set(&of("r/a:tested", 2), &d(2));
        assert!(verify().is_err());
        memory.set(&of("r/a:tested", 1), &d(1));
        memory.set("r/a:tested", &d(2));
        assert_eq!(verify().unwrap()[0].digest, d(1), "another image of the key passed later");
        memory.set("r/a:candidate", &d(3));
        assert!(verify().is_err(), "somebody overwrote the candidate");
    }

    #[test]
    fn what_was_tested_passes() {
        let plan = plan(vec![publishing("a"), build("local")]);
        let memory = Memory::default();
        image(&memory, 1, "c1", &["r/a:candidate", &of("r/a:tested", 1)]);
        let verified = verify(&plan, &memory.view(), &Receipts::default()).unwrap();
        assert_eq!(verified.iter().map(|one| (one.build.id.as_str(), one.digest.clone())).collect::<Vec<_>>(), [("a", d(1))]);
        // A clean-up takes the candidate of what is published.
        memory.tags.lock().unwrap().remove("r/a:candidate");
        assert!(verify(&plan, &memory.view(), &Receipts::default()).is_err());
        memory.set("r/a:v1", &d(1));
        assert_eq!(verify(&plan, &memory.view(), &Receipts::default()).unwrap()[0].digest, d(1));
    }

    #[test]
    fn receipts_decide_only_where_they_were_handed_over() {
        let plan = plan(vec![publishing("a")]);
        let memory = Memory::default();
        image(&memory, 1, "c1", &["r/a:candidate", &of("r/a:tested", 1)]);
        let receipt = |digest: Option<u32>, passed: bool| {
            let tests = vec![Tested { name: "pytest".into(), passed, seconds: 1.0 }];
            Some(Receipt { digest: digest.map(d), tests, ..Receipt::new(&plan, &plan.builds[0]) })
        };
        // (receipt, what is wrong with it where one is demanded)
        let table = [
            (None, Some("there is no receipt")),
            (receipt(Some(1), true), None),
            (receipt(Some(1), false), Some("in the receipt the test failed: pytest")),
            (receipt(Some(2), true), Some("digest: in the receipt sha256:")),
            (receipt(None, true), Some("its receipt does not say")),
        ];
        for (receipt, fault) in table {
            let found: BTreeMap<String, Receipt> = receipt.into_iter().map(|receipt| ("a".to_owned(), receipt)).collect();
            let here = Receipts { found: found.clone(), demanded: false };
            assert_eq!(verify(&plan, &memory.view(), &here).unwrap().len(), 1, "{fault:?}");
            let handed = Receipts { found, demanded: true };
            match fault {
                None => assert_eq!(verify(&plan, &memory.view(), &handed).unwrap().len(), 1),
                Some(fault) => {
                    let lines = lines(verify(&plan, &memory.view(), &handed));
                    assert!(lines.len() == 1 && lines[0].contains(fault), "{lines:?}");
                }
            }
        }
        // What this run built is of its commit.
        image(&memory, 1, "c0", &[]);
        assert!(verify(&plan, &memory.view(), &Receipts::default()).is_ok(), "it may be taken over");
        let found = BTreeMap::from([("a".to_owned(), receipt(Some(1), true).unwrap())]);
        let lines = lines(verify(&plan, &memory.view(), &Receipts { found, demanded: true }));
        assert!(lines[0].contains("the image is of commit \"c0\", the plan of c1"), "{lines:?}");
    }
}
