//! Every flag of `gh api …`, for GitHub's registry: it lists and deletes nothing by the registry's own protocol.
//!
//! <https://docs.github.com/en/rest/packages/packages>

use std::time::Duration;

use super::{Digest, Listed};
use crate::cmd::{Cmd, Effect};

const LIMIT: Duration = Duration::from_secs(60);

/// A package of GitHub's registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    pub owner: &'a str,
    name: &'a str,
}

impl<'a> Package<'a> {
    /// `None`: the repository is in another registry.
    pub fn of(repository: &'a str) -> Option<Package<'a>> {
        let (owner, name) = repository.strip_prefix("ghcr.io/")?.split_once('/')?;
        Some(Package { owner, name })
    }

    /// Prints `Organization` or `User`.
    pub fn kind(&self, effect: Effect) -> Cmd {
        api(effect, format!("look up {} at GitHub", self.owner)).args([&format!("users/{}", self.owner), "--jq", ".type"])
    }

    fn path(&self, kind: &str) -> String {
        let whose = if kind.trim() == "Organization" { "orgs" } else { "users" };
        format!("{whose}/{}/packages/container/{}/versions", self.owner, self.name.replace('/', "%2F"))
    }

    /// Prints a line for each manifest, see [`read`].
    pub fn list(&self, effect: Effect, kind: &str) -> Cmd {
        const LINE: &str = r#".[] | [.id, .name, .updated_at, (.metadata.container.tags | join(","))] | @tsv"#;
        let path = format!("{}?per_page=100", self.path(kind));
        api(effect, format!("list what ghcr.io/{}/{} holds", self.owner, self.name)).args(["--paginate", &path, "--jq", LINE])
    }

    /// `id`: of the manifest, as GitHub numbers it.
    pub fn delete(&self, effect: Effect, kind: &str, id: &str) -> Cmd {
        let path = format!("{}/{id}", self.path(kind));
        api(effect, format!("delete version {id} of ghcr.io/{}/{}", self.owner, self.name)).args(["--method", "DELETE", &path])
    }
}

fn api(effect: Effect, why: String) -> Cmd {
    Cmd { effect, ..Cmd::probe("gh", why).timeout(LIMIT) }.arg("api")
}

/// GitHub's number and the manifest, of each line; lines that are none are left out.
pub fn read(text: &str) -> Vec<(String, Listed)> {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let (id, digest, at) = (parts.next()?, Digest::parse(parts.next()?).ok()?, parts.next()?);
        let tags = parts.next().unwrap_or_default().split(',').filter(|tag| !tag.is_empty());
        Some((id.to_owned(), Listed { digest, tags: tags.map(str::to_owned).collect(), at: Some(at.to_owned()) }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::d;

    #[test]
    fn a_package_by_its_repository() {
        assert_eq!(Package::of("localhost:5000/a/b"), None);
        assert_eq!(Package::of("ghcr.io/alone"), None);
        let package = Package::of("ghcr.io/acme/shop/web").unwrap();
        assert_eq!(package.kind(Effect::Probe).to_string(), "gh api users/acme --jq .type");
        let list = package.list(Effect::Probe, "Organization\n").to_string();
        assert!(
            list.starts_with("gh api --paginate 'orgs/acme/packages/container/shop%2Fweb/versions?per_page=100' --jq "),
            "{list}"
        );
        let delete = "gh api --method DELETE 'users/acme/packages/container/shop%2Fweb/versions/7'";
        assert_eq!(package.delete(Effect::Change, "User", "7").to_string(), delete);
    }

    #[test]
    fn lines_of_manifests() {
        let text = format!("12\t{}\t2026-11-21T09:22:00Z\tv1,latest\n13\t{}\t2026-11-21T09:22:00Z\t\nnonsense\n", d(1), d(2));
        let listed = read(&text);
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].0.as_str(), listed[0].1.tags.join(" ")), ("12", "v1 latest".to_owned()));
        assert_eq!((listed[1].1.digest.clone(), listed[1].1.tags.len()), (d(2), 0));
    }
}
