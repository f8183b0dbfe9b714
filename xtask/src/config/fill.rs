//! The names that a build fills its texts with.

use std::borrow::Cow;

use super::placeholder::Piece;
use super::{Policy, placeholder};

/// What each placeholder stands for at one point; "" where it is not known yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    pub axes: &'a [(String, String)],
    pub image: &'a str,
    pub variant: &'a str,
    pub id: &'a str,
    pub namespace: &'a str,
    pub repository: &'a str,
    /// Only a Dockerfile's path takes it.
    pub context: &'a str,
}

impl<'a> Names<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        match name {
            "image" => Some(self.image),
            "variant" => Some(self.variant),
            "id" => Some(self.id),
            "namespace" => Some(self.namespace),
            "repository" => Some(self.repository),
            "context" => Some(self.context),
            axis => self.axes.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str()),
        }
    }

    /// Fills everything. What is unknown was reported by `places`: its name stands in, so that nothing else is said of it.
    pub fn fill(&self, text: &str) -> String {
        let value = |name: &str| Some(self.get(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed));
        placeholder::fill(text, value).unwrap_or_else(|_| text.replace(['$', '{', '}'], ""))
    }

    /// Fills what is known and leaves the placeholders of the event.
    pub fn fill_known(&self, text: &str) -> String {
        placeholder::fill_known(text, |name| self.get(name))
    }

    /// Like `fill`; without a namespace its slash goes too.
    pub fn fill_repository(&self, text: &str) -> String {
        let filled = self.fill(text);
        if self.namespace.is_empty() { filled.trim_start_matches('/').to_owned() } else { filled }
    }

    /// Whether a policy has anything that is filled, and is thus not the same for all builds.
    pub fn differs(&self, policy: &Policy) -> bool {
        let lists = [Some(&policy.tags), Some(&policy.cache_from_tags), policy.paths.as_ref(), policy.paths_ignore.as_ref()];
        let known = |piece: &Piece<'_>| match piece {
            Piece::Name(name) => self.get(name).is_some(),
            Piece::Text(_) => false,
            Piece::Escaped(_) | Piece::Variable(_) => true,
        };
        lists.into_iter().flatten().flatten().any(|text| placeholder::pieces(text).iter().any(known))
    }

    /// A policy at this point.
    pub fn policy(&self, policy: &Policy) -> Policy {
        let fill = |list: &Vec<String>| list.iter().map(|text| self.fill(text)).collect();
        Policy {
            tags: policy.tags.iter().map(|text| self.fill_known(text)).collect(),
            cache_from_tags: fill(&policy.cache_from_tags),
            paths: policy.paths.as_ref().map(fill),
            paths_ignore: policy.paths_ignore.as_ref().map(fill),
            ..policy.clone()
        }
    }
}
