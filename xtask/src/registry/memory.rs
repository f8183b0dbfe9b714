//! A registry in memory for tests: every operation first asks a hook, which may wait, fail, or change things.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::Result;

use super::{Digest, Image, Registry, Wrote, split};

/// What is about to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Read(String),
    List(String),
    Write(String),
    Remove(String),
}

impl Op {
    pub fn changes(&self) -> bool {
        matches!(self, Op::Write(_) | Op::Remove(_))
    }
}

type Hook = Box<dyn Fn(&Op) -> Result<()> + Send + Sync>;

#[derive(Default)]
pub struct Memory {
    pub tags: Mutex<BTreeMap<String, Digest>>,
    /// One a platform.
    pub images: Mutex<BTreeMap<Digest, Vec<Image>>>,
}

/// One process's view of it.
pub struct View<'a> {
    pub memory: &'a Memory,
    hook: Hook,
}

/// A digest that is easy to read: `d(7)` ends in …07.
pub fn d(n: u32) -> Digest {
    Digest::parse(&format!("sha256:{n:064x}")).unwrap()
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

    fn tags(&self, repository: &str) -> Result<Vec<String>> {
        (self.hook)(&Op::List(repository.into()))?;
        let tags = self.memory.tags.lock().unwrap();
        Ok(tags.keys().map(|name| split(name)).filter(|(name, _)| *name == repository).map(|(_, tag)| tag.to_owned()).collect())
    }

    fn images(&self, reference: &str) -> Result<Option<Vec<Image>>> {
        let digest = match reference.split_once('@') {
            Some((_, digest)) => Some(Digest::parse(digest)?),
            None => self.memory.get(reference),
        };
        let images = self.memory.images.lock().unwrap();
        Ok(digest.and_then(|digest| images.get(&digest).cloned()))
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
