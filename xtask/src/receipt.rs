//! Receipts: what was built, from what, and which tests it passed.
//!
//! They travel between machines as artifacts. The registry's marks decide. Where a plan is handed over, the receipts of
//! what its run built are handed over with it and have to agree; elsewhere they only explain.

pub mod record;

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::config::Severity;
use crate::event::Event;
use crate::files;
use crate::plan::{Build, Plan};
use crate::registry::{Digest, Image};
use crate::report;
use crate::scan::database::Database;
use crate::scan::report::Counts;

/// More bytes than a receipt has, with all that a scan finds.
const LARGEST: u64 = 64 << 20;

/// `target/slipway/receipts/{id}.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this format: 1.
    pub schema: u32,
    pub id: String,
    pub event: Event,
    pub version: Option<String>,
    pub commit: Option<String>,
    /// The key of the plan.
    pub key: String,
    /// What the key is made of, by name.
    #[serde(default)]
    pub inputs: Vec<(String, String)>,
    /// Null in events that publish nothing.
    pub candidate: Option<String>,
    /// Of the manifest, or of the index where there is one.
    pub digest: Option<Digest>,
    /// Of the configuration, where the builder told it.
    #[serde(default)]
    pub config_digest: Option<Digest>,
    /// One a platform: diff ids, labels, configuration.
    pub images: Vec<Image>,
    /// Steps of the build, and how many came from a cache.
    pub steps: usize,
    pub cached: usize,
    /// It was not built in this run, but taken over as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Empty: none were run.
    pub tests: Vec<Tested>,
    /// One a platform; empty: it was not scanned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scans: Vec<Scanned>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    pub name: String,
    pub passed: bool,
    pub seconds: f64,
}

/// What a scan said on that day; a later one may say something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scanned {
    pub platform: String,
    pub counts: Counts,
    pub fail_on: Severity,
    pub passed: bool,
    pub database: Option<Database>,
}

impl Receipt {
    /// Before any test ran.
    pub fn new(plan: &Plan, build: &Build) -> Receipt {
        Receipt {
            schema: 1,
            id: build.id.clone(),
            event: plan.event.clone(),
            version: plan.version.clone(),
            commit: plan.commit.clone(),
            key: build.key.clone(),
            inputs: build.inputs.clone(),
            candidate: build.test.candidate.clone(),
            digest: None,
            config_digest: None,
            images: Vec::new(),
            steps: 0,
            cached: 0,
            reused: false,
            tests: Vec::new(),
            scans: Vec::new(),
        }
    }

    /// Whether it tells of this very build of this run, not of an earlier one.
    pub fn is_of(&self, build: &Build) -> bool {
        self.schema == 1 && self.key == build.key && self.candidate == build.test.candidate
    }

    /// Writes the receipt, and its digest alone as `digest-{variant}.txt`.
    pub fn write(&self, repo: &Utf8Path, plan: &Plan, build: &Build) -> Result<()> {
        let folder = folder(repo);
        let text = serde_json::to_string_pretty(self)?;
        files::write(&folder.join(format!("{}.json", self.id)), &format!("{text}\n"))?;
        let Some(digest) = &self.digest else { return Ok(()) };
        files::write(&folder.join(format!("digest-{}.txt", short_name(plan, build))), &format!("{digest}\n"))
    }
}

/// The variant of a build; its id where it has none, or where the id of another build is or ends with the same.
///
/// Builds that this plan skips count too: their receipts may come from another job and lie beside these.
fn short_name<'a>(plan: &Plan, build: &'a Build) -> &'a str {
    let variant = build.variant.as_str();
    let ends = |id: &str| id.strip_suffix(variant).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    let ids = plan.builds.iter().map(|build| &build.id).chain(plan.skipped.iter().map(|skipped| &skipped.id));
    let is_shared = variant.is_empty() || ids.into_iter().any(|id| *id != build.id && ends(id));
    if is_shared { &build.id } else { variant }
}

/// Where receipts lie.
pub fn folder(repo: &Utf8Path) -> Utf8PathBuf {
    repo.join("target/slipway/receipts")
}

/// The receipts of this plan's builds, by id; those of other runs are left out.
///
pub fn read(repo: &Utf8Path, plan: &Plan) -> BTreeMap<String, Receipt> {
    let mut receipts = latest(repo, plan);
    receipts.retain(|id, receipt| plan.builds.iter().any(|build| build.id == *id && receipt.is_of(build)));
    receipts
}

/// The last receipt of each of this plan's builds, of whatever run. One that cannot be read or understood counts as
/// missing: the disk may have been full, or it is somebody else's.
pub fn latest(repo: &Utf8Path, plan: &Plan) -> BTreeMap<String, Receipt> {
    let mut receipts = BTreeMap::new();
    for build in &plan.builds {
        let path = folder(repo).join(format!("{}.json", build.id));
        match load(&path) {
            Ok(Some(receipt)) if receipt.id == build.id => drop(receipts.insert(build.id.clone(), receipt)),
            Ok(Some(receipt)) => report::note(&format!("warning: the receipt {path} is of {}: it is left out", receipt.id)),
            Ok(None) => {}
            Err(error) => report::note(&format!("warning: cannot read the receipt {path}, it is left out: {error:#}")),
        }
    }
    receipts
}

fn load(path: &Utf8Path) -> Result<Option<Receipt>> {
    match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        file => {
            let mut text = String::new();
            file?.take(LARGEST).read_to_string(&mut text)?;
            Ok(Some(serde_json::from_str(&text)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::d;

    fn text_of(receipt: &Receipt) -> String {
        serde_json::to_string(receipt).unwrap()
    }

    #[test]
    fn a_receipt_is_found_again_and_one_of_another_run_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        let mut one = build("python-cpu-py3.11");
        one.variant = "cpu-py3.11".into();
        let plan = plan(vec![one.clone()]);
        let receipt = Receipt { digest: Some(d(1)), ..Receipt::new(&plan, &one) };
        receipt.write(repo, &plan, &one).unwrap();
        assert_eq!(read(repo, &plan)["python-cpu-py3.11"], receipt);
        let old = serde_json::to_value(&receipt).unwrap();
        assert!(old.get("scans").is_none() && serde_json::from_value::<Receipt>(old).is_ok(), "one without a scan");
        let text = std::fs::read_to_string(super::folder(repo).join("digest-cpu-py3.11.txt")).unwrap();
        assert_eq!(text, format!("{}\n", d(1)));
        let mut other = plan.clone();
        other.builds[0].key = "1".repeat(64);
        assert!(read(repo, &other).is_empty());
        // Whatever else lies there is as good as nothing.
        let path = super::folder(repo).join("python-cpu-py3.11.json");
        let foreign = text_of(&Receipt { id: "python-cpu-py3.12".into(), ..receipt.clone() });
        let later = text_of(&Receipt { schema: 2, ..receipt.clone() });
        let whole = text_of(&receipt);
        for text in ["", "{", "[]", &whole[..whole.len() / 2], &foreign, &later] {
            std::fs::write(&path, text).unwrap();
            assert!(read(repo, &plan).is_empty(), "{text}");
        }
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(read(repo, &plan).is_empty());
        receipt.write(repo, &plan, &one).unwrap();
        assert_eq!(read(repo, &plan).len(), 1);
    }

    #[test]
    fn digests_of_two_builds_are_two_files() {
        let one = |image: &str, variant: &str| Build {
            variant: variant.into(),
            ..build(&if variant.is_empty() { image.to_owned() } else { format!("{image}-{variant}") })
        };
        let builds = ["py3.11", "py3.12"].map(|variant| one("app", variant));
        let mut plan = plan(vec![builds[0].clone(), builds[1].clone(), one("web", "py3.12"), one("lone", "")]);
        let names = |plan: &Plan| plan.builds.iter().map(|build| short_name(plan, build).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&plan), ["py3.11", "app-py3.12", "web-py3.12", "lone"]);
        // A job of a workflow has its part of the plan, and the same names.
        let skipped = |id: &str| crate::plan::Skipped { id: id.into(), reasons: Vec::new() };
        plan.builds.retain(|build| build.image == "app-py3.12");
        plan.skipped = ["app-py3.11", "web-py3.12", "lone"].map(skipped).to_vec();
        assert_eq!(names(&plan), ["app-py3.12"]);
        plan.skipped = vec![skipped("py3.12")];
        assert_eq!(names(&plan), ["app-py3.12"], "an image of that name");
    }
}
