//! The gate: what is published is what was tested, for all builds of a plan or for none.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::candidate;
use crate::error::Fault;
use crate::plan::{Build, How, Plan};
use crate::receipt::Receipt;
use crate::registry::{Digest, Registry, digests};

/// A build whose candidate is the image that passed its tests.
#[derive(Clone, Debug)]
pub struct Verified<'a> {
    pub build: &'a Build,
    pub digest: Digest,
}

/// The builds of a plan that are published.
pub fn published(plan: &Plan) -> Vec<&Build> {
    plan.builds.iter().filter(|build| build.push.how != How::None && build.test.candidate.is_some()).collect()
}

/// Reads candidates and marks, and compares them with each other and with the receipts that are there.
///
/// # Errors
/// Refused, with every difference of every build.
pub fn verify<'a>(plan: &'a Plan, registry: &dyn Registry, receipts: &BTreeMap<String, Receipt>) -> Result<Vec<Verified<'a>>> {
    let builds = published(plan);
    let names = |name: fn(&Build) -> &Option<String>| -> Vec<String> {
        builds.iter().map(|build| name(build).clone().unwrap_or_default()).collect()
    };
    let (candidates, marks) = (names(|build| &build.test.candidate), names(|build| &build.test.mark));
    let found = digests(registry, &candidates)?;
    let tested = digests(registry, &marks)?;
    let mut verified = Vec::new();
    let mut faults = Vec::new();
    for (at, build) in builds.iter().enumerate() {
        // No job of this run had to build it: then it has no candidate, and the plan names the image.
        let candidate = found[at].clone().or_else(|| candidate::reused(build));
        match one(build, candidate.as_ref(), tested[at].as_ref(), receipts.get(&build.id)) {
            Ok(digest) => verified.push(Verified { build, digest }),
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
fn one(
    build: &Build,
    candidate: Option<&Digest>,
    tested: Option<&Digest>,
    receipt: Option<&Receipt>,
) -> Result<Digest, Vec<String>> {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let Some(candidate) = candidate else {
        return Err(vec![format!("its candidate {} is missing", name(&build.test.candidate))]);
    };
    let mut faults = Vec::new();
    match tested {
        None => faults.push(format!("its candidate {candidate} is untested, there is no {}", name(&build.test.mark))),
        Some(tested) if tested != candidate => faults.push(format!("digest: tested {tested}, now {candidate}")),
        Some(_) => {}
    }
    // A rebuilt image was compared with its receipt field by field; its digest is another one.
    if let Some(receipt) = receipt.filter(|_| build.push.how == How::Promote) {
        if let Some(digest) = receipt.digest.as_ref().filter(|digest| *digest != candidate) {
            faults.push(format!("digest: in the receipt {digest}, now {candidate}"));
        }
        let failed = receipt.tests.iter().filter(|test| !test.passed);
        faults.extend(failed.map(|test| format!("in the receipt the test failed: {}", test.name)));
    }
    if faults.is_empty() { Ok(candidate.clone()) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::receipt::Tested;
    use crate::registry::memory::{Memory, d};

    fn publishing(id: &str) -> Build {
        let mut build = build(id);
        build.push.how = How::Promote;
        build.test.candidate = Some(format!("r/{id}:candidate"));
        build.test.mark = Some(format!("r/{id}:tested"));
        build
    }

    #[test]
    fn all_that_is_wrong_is_said_and_nothing_passes() {
        let plan =
            plan(vec![publishing("a"), publishing("b"), publishing("c"), publishing("d"), publishing("e"), build("local")]);
        let memory = Memory::default();
        for (tag, digest) in [("a:candidate", 1), ("a:tested", 1), ("b:candidate", 2), ("b:tested", 9), ("c:candidate", 3)] {
            memory.set(&format!("r/{tag}"), &d(digest));
        }
        memory.set("r/e:candidate", &d(5));
        memory.set("r/e:tested", &d(5));
        let failed = Tested { name: "pytest".into(), passed: false, seconds: 1.0 };
        let receipt = Receipt { digest: Some(d(6)), tests: vec![failed], ..Receipt::new(&plan, &plan.builds[4]) };
        let error = verify(&plan, &memory.view(), &BTreeMap::from([("e".into(), receipt)])).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
        let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 6, "{lines:#?}");
        for (line, part) in lines[1..].iter().zip([
            &format!("b: digest: tested {}, now {}", d(9), d(2)) as &str,
            "c: its candidate sha256:",
            "d: its candidate r/d:candidate is missing",
            "e: digest: in the receipt",
            "e: in the receipt the test failed: pytest",
        ]) {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_reused_image_passes_while_its_mark_is_on_it() {
        let mut reused = publishing("a");
        reused.reused = Some(format!("r/a@{}", d(1)));
        let plan = plan(vec![reused]);
        let memory = Memory::default();
        assert!(verify(&plan, &memory.view(), &BTreeMap::new()).is_err());
        memory.set("r/a:tested", &d(2));
        assert!(verify(&plan, &memory.view(), &BTreeMap::new()).is_err());
        memory.set("r/a:tested", &d(1));
        assert_eq!(verify(&plan, &memory.view(), &BTreeMap::new()).unwrap()[0].digest, d(1));
        memory.set("r/a:candidate", &d(3));
        assert!(verify(&plan, &memory.view(), &BTreeMap::new()).is_err(), "somebody overwrote the candidate");
    }

    #[test]
    fn what_was_tested_passes() {
        let plan = plan(vec![publishing("a"), build("local")]);
        let memory = Memory::default();
        memory.set("r/a:candidate", &d(1));
        memory.set("r/a:tested", &d(1));
        let verified = verify(&plan, &memory.view(), &BTreeMap::new()).unwrap();
        assert_eq!(verified.iter().map(|one| (one.build.id.as_str(), one.digest.clone())).collect::<Vec<_>>(), [("a", d(1))]);
    }
}
