//! Labels of an image, after the annotations of the OCI image specification.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/annotations.md>

use std::collections::BTreeMap;

use anyhow::Result;

use super::planner::Input;
use super::tags;
use crate::config::Build;

/// The label that carries the key of a build, and tells our images from foreign ones.
pub const KEY: &str = "dev.slipway.key";

/// The label that carries the hash of the files of this repository that an image is made of, see `published`.
pub const FILES: &str = "dev.slipway.files";

/// Every label is set, also to "": a base image's own version would be inherited otherwise.
pub fn labels(input: &Input<'_>, build: &Build, key: &str, files: Option<String>) -> Result<Vec<(String, String)>> {
    let facts = input.facts;
    let mut labels = BTreeMap::from([
        (KEY.to_owned(), key.to_owned()),
        (FILES.to_owned(), files.unwrap_or_default()),
        (oci("title"), build.id.clone()),
        (oci("version"), input.version.map(|version| version.text.clone()).unwrap_or_default()),
        (oci("revision"), facts.commit.clone().unwrap_or_default()),
        (oci("source"), facts.source.clone().unwrap_or_default()),
        (oci("created"), facts.commit_time.clone().unwrap_or_default()),
    ]);
    labels.extend(tags::fill_all(input, build, &build.labels)?);
    Ok(labels.into_iter().collect())
}

fn oci(name: &str) -> String {
    format!("org.opencontainers.image.{name}")
}
