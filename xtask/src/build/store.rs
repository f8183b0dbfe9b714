//! What the last runs of this checkout left: sizes and digests by build. A guess for the next run, never a truth.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::outcome::{Ending, Outcome};
use crate::error::Fault;
use crate::plan::{Build, Plan};
use crate::{files, report};

/// Below this nothing is started: a full disk breaks more than a build.
const FLOOR: u64 = 500_000_000;

/// target/slipway/sizes.json
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Where the engine keeps its images; empty while nobody has asked.
    pub engine_root: Utf8PathBuf,
    pub images: BTreeMap<String, Image>,
    /// What each build took when a step of it last ran here.
    pub seconds: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub key: String,
    pub digest: String,
    pub size: u64,
}

impl Store {
    /// An unreadable file is as good as none.
    pub fn read(folder: &Utf8Path) -> Store {
        let text = std::fs::read_to_string(folder.join("sizes.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Takes over how long builds took.
    pub fn remember(&mut self, outcomes: &[Outcome]) {
        let built = outcomes.iter().filter(|outcome| outcome.result == Ending::Built);
        self.seconds.extend(built.map(|outcome| (outcome.id.clone(), outcome.seconds)));
    }

    pub fn write(&self, folder: &Utf8Path) -> Result<()> {
        files::write(&folder.join("sizes.json"), &serde_json::to_string_pretty(self)?)
    }

    /// The size of an image that was looked at before.
    pub fn size(&self, id: &str, digest: &str) -> Option<u64> {
        self.images.get(id).filter(|image| image.digest == digest).map(|image| image.size)
    }

    /// Compares the free space with what this run may need, by the sizes of last time.
    ///
    /// # Errors
    /// "Not ready" when the disk is nearly full, or could not even take the largest image; else a warning at most.
    pub fn check_disk(&self, plan: &Plan) -> Result<()> {
        // On macOS, or with a remote engine, that folder is not here: nothing is known then.
        let Ok(stat) = rustix::fs::statvfs(self.engine_root.as_std_path()) else { return Ok(()) };
        let free = stat.f_bavail * stat.f_frsize;
        let (sum, largest) = self.needs(plan.builds.iter());
        let place = &self.engine_root;
        if free < FLOOR + largest {
            let least = report::bytes(FLOOR + largest);
            let fault =
                Fault::not_ready(format!("cannot build: {} free at {place}, at least {least} are needed", report::bytes(free)));
            return Err(fault.hint("see `docker system df`; `docker image prune` and `docker buildx prune` free space").into());
        }
        if free < FLOOR + sum {
            report::note(&format!(
                "warning: {} free at {place}; the images took {} last time",
                report::bytes(free),
                report::bytes(sum)
            ));
        }
        Ok(())
    }

    /// (sum, largest) of what will be built anew. The sum counts shared layers once for each image.
    fn needs<'a>(&self, builds: impl Iterator<Item = &'a Build>) -> (u64, u64) {
        let known = builds.filter_map(|build| Some((build, self.images.get(&build.id)?)));
        let anew = known.filter(|(build, image)| build.test.fresh || build.key != image.key);
        anew.fold((0, 0), |(sum, largest), (_, image)| (sum + image.size, largest.max(image.size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn store() -> Store {
        let image = |size| Image { key: "0".repeat(64), digest: "sha256:a".into(), size };
        Store {
            engine_root: "/".into(),
            seconds: BTreeMap::new(),
            images: [("a".into(), image(10)), ("b".into(), image(20))].into(),
        }
    }

    #[test]
    fn only_what_changed_needs_space() {
        let mut changed = build("a");
        changed.key = "11".into();
        assert_eq!(store().needs([changed, build("b"), build("new")].iter()), (10, 10));
        assert_eq!(store().size("b", "sha256:a"), Some(20));
        assert_eq!(store().size("b", "sha256:other"), None);
    }

    #[test]
    fn a_disk_that_cannot_take_it_is_not_ready() {
        let mut store = store();
        store.images.insert("a".into(), Image { key: "old".into(), digest: String::new(), size: u64::MAX / 4 });
        let error = store.check_disk(&plan(vec![build("a")])).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
        store.engine_root = "/no/such/folder".into();
        store.check_disk(&plan(vec![build("a")])).unwrap();
    }

    #[test]
    fn survives_a_round_trip_and_garbage() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        store().write(folder).unwrap();
        assert_eq!(Store::read(folder), store());
        files::write(&folder.join("sizes.json"), "{").unwrap();
        assert_eq!(Store::read(folder), Store::default());
    }
}
