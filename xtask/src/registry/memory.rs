//! A registry in memory for tests: every operation first asks a hook, which may wait, fail, or change things.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::Result;

use super::{Digest, Image, Listed, Node, Registry, Wanted, Wrote, by_tags, split};

/// What is about to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Read(String),
    List(String),
    /// The configuration of an image.
    Image(String),
    Write(String),
    Remove(String),
}

impl Op {
    pub fn changes(&self) -> bool {
        matches!(self, Op::Write(_) | Op::Remove(_))
    }
}

type Hook = Box<dyn Fn(&Op) -> Result<()> + Send + Sync>;

/// What an index names; what a signature is of.
pub type Links = (Vec<Digest>, Option<Digest>);

#[derive(Default)]
pub struct Memory {
    pub tags: Mutex<BTreeMap<String, Digest>>,
    /// One a platform.
    pub images: Mutex<BTreeMap<Digest, Vec<Image>>>,
    pub links: Mutex<BTreeMap<Digest, Links>>,
    /// As GitHub's, it lists what has no tag, too.
    pub lists_all: bool,
}

/// One process's view of it.
pub struct View<'a> {
    pub memory: &'a Memory,
    hook: Hook,
}

/// A digest that is easy to read: `d(7)` ends in …07, and so do its first digits.
pub fn d(n: u32) -> Digest {
    Digest::parse(&format!("sha256:{n:012x}{n:052x}")).unwrap()
}

impl Memory {
    /// Adds an image with these labels and tags.
    pub fn add(&self, digest: &Digest, labels: &[(&str, &str)], references: &[&str]) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.images.lock().unwrap().insert(digest.clone(), vec![Image { labels, ..Image::default() }]);
        for reference in references {
            self.set(reference, digest);
        }
    }

    pub fn set(&self, reference: &str, digest: &Digest) {
        self.tags.lock().unwrap().insert(reference.to_owned(), digest.clone());
    }

    pub fn get(&self, reference: &str) -> Option<Digest> {
        self.tags.lock().unwrap().get(reference).cloned()
    }

    pub fn view(&self) -> View<'_> {
        self.hooked(|_| Ok(()))
    }

    pub fn hooked(&self, hook: impl Fn(&Op) -> Result<()> + Send + Sync + 'static) -> View<'_> {
        View { memory: self, hook: Box::new(hook) }
    }
}

impl Registry for View<'_> {
    fn digest(&self, reference: &str) -> Result<Option<Digest>> {
        (self.hook)(&Op::Read(reference.into()))?;
        Ok(self.memory.get(reference))
    }

    fn content(&self, reference: &str) -> Result<Option<Digest>> {
        self.digest(reference)
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>> {
        (self.hook)(&Op::List(repository.into()))?;
        let tags = self.memory.tags.lock().unwrap();
        Ok(tags.keys().map(|name| split(name)).filter(|(name, _)| *name == repository).map(|(_, tag)| tag.to_owned()).collect())
    }

    fn list(&self, repository: &str, wanted: Wanted<'_>) -> Result<Vec<Listed>> {
        let mut listed = by_tags(self, repository, wanted, |name| self.digest(name))?;
        let images = self.memory.images.lock().unwrap();
        let untagged = images.keys().filter(|_| self.memory.lists_all);
        let untagged: Vec<&Digest> = untagged.filter(|digest| !listed.iter().any(|known| known.digest == **digest)).collect();
        listed.extend(untagged.into_iter().map(|digest| Listed { digest: digest.clone(), tags: Vec::new(), at: None }));
        Ok(listed)
    }

    fn images(&self, reference: &str) -> Result<Option<Vec<Image>>> {
        let digest = match reference.split_once('@') {
            Some((_, digest)) => Some(Digest::parse(digest)?),
            None => self.memory.get(reference),
        };
        let images = self.memory.images.lock().unwrap();
        Ok(digest.and_then(|digest| images.get(&digest).cloned()))
    }

    fn node(&self, reference: &str) -> Result<Option<Node>> {
        let digest = match reference.split_once('@') {
            Some((_, digest)) => Some(Digest::parse(digest)?),
            None => self.memory.get(reference),
        };
        let Some(digest) = digest else { return Ok(None) };
        let Some(images) = self.memory.images.lock().unwrap().get(&digest).cloned() else { return Ok(None) };
        let (children, subject) = self.memory.links.lock().unwrap().get(&digest).cloned().unwrap_or_default();
        drop(images);
        Ok(Some(Node { children, subject }))
    }

    fn first_image(&self, reference: &str) -> Result<Option<Image>> {
        (self.hook)(&Op::Image(reference.into()))?;
        Ok(self.images(reference)?.and_then(|images| images.into_iter().next()))
    }

    fn twin(&self, _repository: &str, index: &Digest, reference: &str) -> Result<Option<Digest>> {
        (self.hook)(&Op::Write(reference.into()))?;
        // Before or after it in the order of digests.
        let number = u32::from_str_radix(&index.hex()[56..], 16)?;
        let twin = d(if number % 2 == 0 { number / 2 } else { number * 2 });
        let mut images = self.memory.images.lock().unwrap();
        let mut links = self.memory.links.lock().unwrap();
        if let (Some(image), Some(link)) = (images.get(index).cloned(), links.get(index).cloned()) {
            images.insert(twin.clone(), image);
            links.insert(twin.clone(), link);
        }
        self.memory.set(reference, &twin);
        Ok(Some(twin))
    }

    fn delete(&self, repository: &str, digest: &Digest) -> Result<Wrote> {
        (self.hook)(&Op::Remove(format!("{repository}@{digest}")))?;
        let mut tags = self.memory.tags.lock().unwrap();
        tags.retain(|name, of| split(name).0 != repository || of != digest);
        self.memory.images.lock().unwrap().remove(digest);
        Ok(Wrote::Done)
    }

    fn tag(&self, _repository: &str, digest: &Digest, reference: &str) -> Result<Wrote> {
        (self.hook)(&Op::Write(reference.into()))?;
        self.memory.set(reference, digest);
        Ok(Wrote::Done)
    }

    fn untag(&self, reference: &str) -> Result<Wrote> {
        (self.hook)(&Op::Remove(reference.into()))?;
        self.memory.tags.lock().unwrap().remove(reference);
        Ok(Wrote::Done)
    }
}
