//! Labels of an image, after the annotations of the OCI image specification.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/annotations.md>

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::planner::Input;
use super::tags;
use crate::config::Build;

/// The label that carries the key of a build, and tells our images from foreign ones.
pub const KEY: &str = "dev.slipway.key";

/// The label that carries the hash of the files of this repository that an image is made of, see `published`.
const FILES: &str = "dev.slipway.files";

/// The label that carries the bases of an image with their digests, see `fresh`.
const BASES: &str = "dev.slipway.bases";

/// The label that carries what the parents of an image were made of, see `published`.
const PARENTS: &str = "dev.slipway.parents";

/// The commit.
pub const REVISION: &str = "org.opencontainers.image.revision";

/// The web address of the repository.
pub const SOURCE: &str = "org.opencontainers.image.source";

/// When the commit was made, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";

/// Whether an image carries our key label, and comes from these sources as far as both say where they are; `source`: "",
/// not known.
pub fn is_ours(labels: &BTreeMap<String, String>, source: &str) -> bool {
    let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    let theirs = label(SOURCE);
    !label(KEY).is_empty() && (source.is_empty() || theirs.is_empty() || theirs == source)
}

/// What an image says in its labels of what it was made of; "": it does not say.
///
/// What the label of parents says where it was not known what they are made of.
pub const UNKNOWN: &str = "?";

/// Labels are no inputs of a key. But for the commit, these are made of inputs alone: equal keys have equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOf {
    /// Hash of the files of the repository.
    pub files: String,
    /// `NAME@DIGEST`, or `NAME` where the digest was not known, of each image it starts from; parents are none of them.
    /// `scratch`: it starts from nothing.
    pub bases: String,
    /// `ID=HASH` of each parent, see [`MadeOf::hash`]; [`UNKNOWN`] where that was not known of all of them.
    pub parents: String,
    /// The commit. It alone tells nothing of what is in the image.
    pub revision: String,
}

impl MadeOf {
    /// From the labels of an image. What is not ours may have inherited them from one that is.
    pub fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> MadeOf {
        let is_ours = label(KEY).is_some_and(|key| !key.is_empty());
        let text = |name| label(name).filter(|_| is_ours).unwrap_or_default().to_owned();
        MadeOf { files: text(FILES), bases: text(BASES), parents: text(PARENTS), revision: text(REVISION) }
    }

    /// What tells an image from others that its children may have been built on. `None`: its labels do not say enough.
    ///
    /// No digest, and no key: a child that is built in the same run has its labels before its parent has a digest, and
    /// the key of a parent is another one where its own parent is published. This is the same however it was built.
    pub fn hash(&self) -> Option<String> {
        let is_unknown = self.files.is_empty() || self.parents == UNKNOWN || (self.bases.is_empty() && self.parents.is_empty());
        (!is_unknown).then(|| crate::facts::digest(&[&self.files, &self.bases, &self.parents]))
    }
}

/// Every label is set, also to "": a base image's own version would be inherited otherwise.
pub fn labels(input: &Input<'_>, build: &Build, key: &str, made_of: MadeOf) -> Result<Vec<(String, String)>> {
    let facts = input.facts;
    let mut labels = BTreeMap::from([
        (KEY.to_owned(), key.to_owned()),
        (FILES.to_owned(), made_of.files),
        (BASES.to_owned(), made_of.bases),
        (PARENTS.to_owned(), made_of.parents),
        (oci("title"), build.id.clone()),
        (oci("version"), input.version.map(|version| version.text.clone()).unwrap_or_default()),
        (REVISION.to_owned(), made_of.revision),
        (SOURCE.to_owned(), facts.source.clone().unwrap_or_default()),
        (CREATED.to_owned(), facts.commit_time.clone().unwrap_or_default()),
    ]);
    labels.extend(tags::fill_all(input, build, &build.labels)?);
    // By this one our images are known, whatever is configured.
    labels.insert(KEY.to_owned(), key.to_owned());
    Ok(labels.into_iter().collect())
}

/// Whether an image says that it is of a build: by its key, or by everything else that it was made of. An image whose
/// parent was built with it has another key than the plan that finds this parent published, and the same in all other
/// labels, see [`MadeOf`]. Where the key promises nothing, neither do the others: a download changes none of them.
pub fn fits(build: &super::Build, image: &BTreeMap<String, String>) -> bool {
    let theirs = |name: &str| image.get(name).map(String::as_str).unwrap_or_default();
    let ours = |name: &str| expected(build, name).unwrap_or_default();
    if theirs(KEY) == build.key {
        return true;
    }
    let same = [oci("title"), oci("version"), FILES.into(), BASES.into(), PARENTS.into()];
    let is_known = build.is_settled_by_its_key() && !ours(FILES).is_empty() && !["", UNKNOWN].contains(&ours(PARENTS));
    is_known && !theirs(KEY).is_empty() && same.iter().all(|name| theirs(name) == ours(name))
}

/// What a label of a build says in the plan.
pub fn expected<'a>(build: &'a super::Build, name: &str) -> Option<&'a str> {
    build.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
}

fn oci(name: &str) -> String {
    format!("org.opencontainers.image.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::build;

    #[test]
    fn an_image_of_another_key_fits_where_a_key_promises_something() {
        let mut build = build("app");
        let of = |key: &str| {
            let labels = [(KEY, key), (FILES, "f"), (BASES, "scratch"), (PARENTS, "base=1")];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            [labels, vec![(oci("title"), "app".to_owned()), (oci("version"), "v1".to_owned())]].concat()
        };
        (build.key, build.labels) = ("1".into(), of("1"));
        build.inputs = vec![("dockerfile".into(), "d".into())];
        let image = |key: &str| -> BTreeMap<String, String> { of(key).into_iter().collect() };
        assert!(fits(&build, &image("1")) && fits(&build, &image("2")));
        build.inputs.push(("always".into(), "base: ADD of an address without a checksum".into()));
        assert!(fits(&build, &image("1")) && !fits(&build, &image("2")));
        let mut other = image("2");
        other.insert(FILES.into(), "other".into());
        build.inputs.pop();
        assert!(!fits(&build, &other));
    }
}
