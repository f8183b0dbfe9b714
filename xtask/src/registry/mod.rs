//! What we ask of a registry and write into it. There is no compare-and-swap: callers read before and after a write.

pub mod crane;
mod image;
mod live;
#[cfg(test)]
pub mod memory;
mod packages;
pub mod said;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::Fault;
use crate::parallel;
pub use image::{Image, difference, normal};
pub use live::{Live, Peek, Peeked};

/// Requests in flight at once; more make most registries answer 429.
pub const AT_ONCE: usize = 4;

/// `sha256:` and 64 hexadecimal digits: the name of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// # Errors
    /// The text is not `sha256:` and 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Digest> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Digest(text.to_owned()));
        }
        Err(Fault::failed(format!("\"{text}\" is not a digest")).into())
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(format!("sha256:{}", crate::facts::hex(&Sha256::digest(bytes))))
    }

    /// Nothing has it: what deletes it tries whether anything can be deleted.
    pub fn nobodys() -> Digest {
        Digest(format!("sha256:{}", "0".repeat(64)))
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// `sha256:` and the first 12 digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..19]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Digest, String> {
        Digest::parse(&text).map_err(|error| error.to_string())
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    Done,
    /// Only printed: the runner does not change anything.
    Printed,
    /// The registry has no such operation.
    Unsupported,
}

/// A registry. References are `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
pub trait Registry: Sync {
    /// What a reference points at; `None`: there is no such tag or repository.
    ///
    /// # Errors
    /// Not logged in, denied, unreachable: an answer we do not have is never taken for "absent".
    fn digest(&self, reference: &str) -> Result<Option<Digest>>;

    /// The same, by the bytes of the manifest that the registry hands out, whatever it says that their digest is.
    fn content(&self, reference: &str) -> Result<Option<Digest>>;

    /// Every tag of a repository; none if the repository does not exist.
    fn tags(&self, repository: &str) -> Result<Vec<String>>;

    /// Every manifest that has a wanted tag; where the registry lists manifests, all of them.
    fn list(&self, repository: &str, wanted: Wanted<'_>) -> Result<Vec<Listed>>;

    /// The images behind a reference, one a platform; `None`: there is no such reference.
    fn images(&self, reference: &str) -> Result<Option<Vec<Image>>>;

    /// What a reference hangs together with; `None`: there is no such reference.
    fn node(&self, reference: &str) -> Result<Option<Node>>;

    /// The image, or that of the first platform; `None`: it is no image, or not there.
    fn first_image(&self, reference: &str) -> Result<Option<Image>>;

    /// Points `REPOSITORY:TAG` at an image that is already there; another repository's blobs are mounted, not copied.
    fn tag(&self, repository: &str, digest: &Digest, reference: &str) -> Result<Wrote>;

    /// Takes a tag away, and nothing else.
    fn untag(&self, reference: &str) -> Result<Wrote>;

    /// Writes an index that names what another one does, and is not the same; `None` where it is only printed.
    fn twin(&self, repository: &str, index: &Digest, reference: &str) -> Result<Option<Digest>>;

    /// Deletes a manifest with every tag that it has.
    fn delete(&self, repository: &str, digest: &Digest) -> Result<Wrote>;
}

/// A manifest in the list of its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub digest: Digest,
    pub tags: Vec<String>,
    /// When it or its tags last changed, RFC 3339, where the registry tells.
    pub at: Option<String>,
}

/// A manifest among others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// What an index names: images and their attestations.
    pub children: Vec<Digest>,
    /// What it is a signature or an attestation of.
    pub subject: Option<Digest>,
}

/// Which tags of a repository are asked for.
pub type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// The list of a repository by its tags, each with what `digest` says of it.
///
/// # Errors
/// The registry's.
pub fn by_tags(
    registry: &dyn Registry,
    repository: &str,
    wanted: Wanted<'_>,
    digest: impl Fn(&str) -> Result<Option<Digest>> + Sync,
) -> Result<Vec<Listed>> {
    let mut tags = registry.tags(repository)?;
    tags.retain(|tag| wanted(tag));
    let digests = each(&tags, |tag| digest(&format!("{repository}:{tag}")))?;
    let mut listed: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for (tag, digest) in tags.into_iter().zip(digests) {
        // One that is gone since it was listed.
        if let Some(digest) = digest {
            listed.entry(digest).or_default().push(tag);
        }
    }
    Ok(listed.into_iter().map(|(digest, tags)| Listed { digest, tags, at: None }).collect())
}

/// `HOST/REPOSITORY:TAG` in two; without a tag the second is "latest".
pub fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

/// What each reference points at, in their order.
pub fn digests(registry: &dyn Registry, references: &[String]) -> Result<Vec<Option<Digest>>> {
    each(references, |reference| registry.digest(reference))
}

/// Does something for each item, a few at once, and returns the results in the order of the items.
///
/// # Errors
/// The first error by order. Nothing new is started after one; what runs is waited for.
pub fn each<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> Result<T> + Sync) -> Result<Vec<T>> {
    let stop = AtomicBool::new(false);
    let one = |item: &I| {
        let result = (!stop.load(Ordering::SeqCst)).then(|| work(item));
        stop.fetch_or(matches!(result, Some(Err(_))), Ordering::SeqCst);
        result
    };
    parallel::map(AT_ONCE, items.iter().collect(), one).into_iter().flatten().collect()
}

/// Writes a tag and reads it back.
///
/// # Errors
/// Refused when the registry then says something else than what was written.
pub fn put(registry: &dyn Registry, repository: &str, digest: &Digest, reference: &str) -> Result<Wrote> {
    if registry.tag(repository, digest, reference)? == Wrote::Printed {
        return Ok(Wrote::Printed);
    }
    match registry.digest(reference)? {
        Some(now) if now == *digest => Ok(Wrote::Done),
        now => {
            let now = now.map_or("nothing".to_owned(), |now| now.short().to_owned());
            let message = format!("{reference} was written as {}, and now is {now}", digest.short());
            Err(Fault::refused(message).hint("another process writes the same tag: look for it, then run this again").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_two() {
        for (reference, parts) in [
            ("localhost:5000/a/b:v1", ("localhost:5000/a/b", "v1")),
            ("localhost:5000/a/b", ("localhost:5000/a/b", "latest")),
            ("a/b:c", ("a/b", "c")),
        ] {
            assert_eq!(split(reference), parts);
        }
    }

    #[test]
    fn digests_are_checked() {
        let text = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&text).unwrap().short(), "sha256:0a0a0a0a0a0a");
        for bad in ["", "sha256:", "sha256:zz", &text[..70], &text.to_uppercase()] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn results_keep_their_order_and_an_error_stops() {
        let items: Vec<u32> = (0..50).collect();
        assert_eq!(each(&items, |item| Ok(item * 2)).unwrap(), (0..50).map(|item| item * 2).collect::<Vec<_>>());
        let started = std::sync::atomic::AtomicUsize::new(0);
        let work = |item: &u32| {
            started.fetch_add(1, Ordering::SeqCst);
            if *item == 0 {
                anyhow::bail!("no")
            } else {
                std::thread::sleep(std::time::Duration::from_millis(20))
            }
            Ok(())
        };
        assert_eq!(each(&items, work).unwrap_err().to_string(), "no");
        assert!(started.load(Ordering::SeqCst) <= AT_ONCE * 2);
    }
}
