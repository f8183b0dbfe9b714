//! Which build's image a service of a composed system runs, by the image that it names or by its own name. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::placeholder::{Piece, pieces};
use crate::config::{Build, Config};
use crate::plan::{Plan, shorten};

/// A service as compose resolves it: variables, `extends`, `include` and anchors are filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub image: Option<String>,
    /// Whether compose would build it.
    pub is_built: bool,
    /// Images whose files are mounted, by the folder in the container.
    pub mounted: Vec<(String, String)>,
}

/// The services of a resolved file.
pub fn services(config: &Value) -> Option<BTreeMap<String, Service>> {
    let service = |(name, value): (&String, &Value)| {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let volumes = value["volumes"].as_array().into_iter().flatten().filter(|volume| volume["type"] == "image");
        let mounted = volumes.filter_map(|volume| Some((text(&volume["target"])?, text(&volume["source"])?))).collect();
        (name.clone(), Service { image: text(&value["image"]), is_built: value["build"].is_object(), mounted })
    };
    Some(config["services"].as_object()?.iter().map(service).collect())
}

/// The images of a composed system that are builds of the configuration, in this run or not.
#[derive(Debug, Default)]
pub struct Uses<'a> {
    /// Service → the build whose image it runs.
    pub runs: BTreeMap<String, &'a Build>,
    /// Service and folder in its container → the build whose files are there.
    pub mounts: BTreeMap<(String, String), &'a Build>,
}

/// An image that a service names decides; else the service's own name does. A service that would run what compose builds
/// for another one runs what that one runs.
///
/// # Errors
/// A name that fits several builds.
pub fn uses<'a>(
    config: &'a Config,
    plan: &Plan,
    project: &str,
    services: &BTreeMap<String, Service>,
) -> Result<Uses<'a>, String> {
    let mut found = Uses::default();
    // What compose would build → the build that takes its place.
    let mut built: BTreeMap<String, &Build> = BTreeMap::new();
    for (name, service) in services {
        for (folder, image) in &service.mounted {
            if let Some(build) = named(config, plan, image).map_err(|said| format!("the service {name} mounts {said}"))? {
                found.mounts.insert((name.clone(), folder.clone()), build);
            }
        }
        let image = service.image.as_deref();
        let by_image = image.map(|image| named(config, plan, image)).transpose();
        let by_image = by_image.map_err(|said| format!("the service {name} runs {said}"))?.flatten();
        let Some(build) = by_image.map_or_else(|| called(config, plan, name).transpose(), |build| Some(Ok(build))).transpose()?
        else {
            continue;
        };
        if service.is_built {
            built.insert(whole(image.unwrap_or(&format!("{project}-{name}"))), build);
        }
        found.runs.insert(name.clone(), build);
    }
    for (name, service) in services {
        let alike = service.image.as_deref().and_then(|image| built.get(&whole(image)));
        if let Some(build) = alike.filter(|_| !service.is_built) {
            found.runs.entry(name.clone()).or_insert(build);
        }
    }
    Ok(found)
}

/// The build whose repository ends in the name of a service. Of several, those of this run count.
fn called<'a>(config: &'a Config, plan: &Plan, service: &str) -> Result<Option<&'a Build>, String> {
    let all: Vec<&Build> = config.builds.iter().filter(|build| last(&build.repository) == service).collect();
    let here: Vec<&Build> = all.iter().copied().filter(|build| is_here(plan, build)).collect();
    match here.as_slice() {
        [] => Ok(all.first().copied()),
        [build] => Ok(Some(build)),
        [one, other, ..] => Err(format!("the service {service} could run {} or {}", one.id, other.id)),
    }
}

fn is_here(plan: &Plan, build: &Build) -> bool {
    plan.builds.iter().any(|planned| planned.id == build.id)
}

/// The last part of a repository.
pub fn last(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or(repository)
}

/// The build that an image is of: by its repository and, where several builds share that, by its tag.
///
/// # Errors
/// Some of them are in this run, and the tag is of none or of several.
fn named<'a>(config: &'a Config, plan: &Plan, image: &str) -> Result<Option<&'a Build>, String> {
    let name = Name::of(image);
    let all: Vec<&Build> = config.builds.iter().filter(|build| name.is_of(config, build)).collect();
    if let [] | [_] = all.as_slice() {
        return Ok(all.first().copied());
    }
    let fit = |build: &&'a Build| Some((fit(build, plan, name.tag)?, *build));
    let mut fits: Vec<(usize, &Build)> = all.iter().filter_map(fit).collect();
    fits.sort_by_key(|(literal, _)| std::cmp::Reverse(*literal));
    match fits.as_slice() {
        [(_, build)] => Ok(Some(build)),
        [(most, build), (next, _), ..] if most > next => Ok(Some(build)),
        _ if !all.iter().any(|build| is_here(plan, build)) => Ok(None),
        _ => {
            let ids: Vec<&str> = all.iter().map(|build| build.id.as_str()).collect();
            Err(format!("{image}, which could be of {}: write a tag that one of them alone has", shorten(&ids)))
        }
    }
}

/// A name of an image, cut as docker cuts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'t> {
    /// Where it is written: `docker.io` in all its forms is one.
    host: Option<&'t str>,
    path: &'t str,
    tag: &'t str,
}

const HUB: &str = "docker.io";

impl<'t> Name<'t> {
    /// <https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed>
    fn of(image: &'t str) -> Name<'t> {
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        let colon = name.rfind(':').filter(|at| !name[*at..].contains('/'));
        let (name, tag) = colon.map_or((name, "latest"), |at| (&name[..at], &name[at + 1..]));
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.chars().any(char::is_uppercase);
        match name.split_once('/').filter(|(first, _)| is_host(first)) {
            Some((host, path)) => Name { host: Some(of_hub(host)), path, tag },
            None => Name { host: None, path: name, tag },
        }
    }

    /// Whether it is of a build's repository, here or where the file has it. A name without a registry is of Docker's own
    /// for docker; with a namespace in it, it is taken for ours all the same.
    fn is_of(self, config: &Config, build: &Build) -> bool {
        let hosts = [Some(&config.registry), Some(&config.written_registry), config.rehearsal.as_ref()];
        let hosts: Vec<&str> = hosts.into_iter().flatten().filter(|host| !host.is_empty()).map(|host| of_hub(host)).collect();
        let ours = build.repository.as_str();
        let is_in_hub = (hosts.is_empty() || hosts.contains(&HUB)) && short(self.path) == short(ours);
        match self.host {
            Some(HUB) => is_in_hub,
            Some(host) => self.path == ours && (hosts.contains(&host) || (hosts.is_empty() && ours.contains('/'))),
            None => is_in_hub || (self.path == ours && ours.contains('/')),
        }
    }
}

/// Docker's own images have a folder that nobody writes.
fn short(path: &str) -> &str {
    path.strip_prefix("library/").unwrap_or(path)
}

fn of_hub(host: &str) -> &str {
    if host == "index.docker.io" { HUB } else { host }
}

/// An image's name in one form: docker's registry and the default tag are written.
fn whole(image: &str) -> String {
    let name = Name::of(image);
    let path = if name.host.is_none_or(|host| host == HUB) { short(name.path) } else { name.path };
    format!("{}/{path}:{}", name.host.unwrap_or(HUB), name.tag)
}

/// How many letters of a tag are of the build that it fits: all of them where this run or some event gives it that very
/// tag; where an event fills in the rest (`{version}-{variant}`), the others. `None`: it is no tag of the build.
fn fit(build: &Build, plan: &Plan, tag: &str) -> Option<usize> {
    let planned = plan.builds.iter().find(|planned| planned.id == build.id);
    let here = planned.into_iter().flat_map(|build| build.test.load.iter().chain(&build.push.tags).chain(&build.push.moving));
    if here.into_iter().any(|reference| Name::of(reference).tag == tag) {
        return Some(tag.len());
    }
    let own = format!("-{}", build.id);
    let default = tag.ends_with(&own).then_some(own.len());
    let templates = build.on.iter().flat_map(|policy| &policy.tags);
    templates.filter_map(|template| literal(template, tag)).chain(default).max()
}

/// How many letters of a tag are the template's own; `None`: it is not of this template.
fn literal(template: &str, tag: &str) -> Option<usize> {
    let (mut rest, mut letters, mut open) = (tag, 0, false);
    let pieces = pieces(template);
    for (at, piece) in pieces.iter().enumerate() {
        let (Piece::Text(text) | Piece::Escaped(text)) = piece else {
            open = true;
            continue;
        };
        let is_last = at + 1 == pieces.len();
        let from = match (open, is_last) {
            (false, _) => rest.starts_with(text).then_some(0),
            (true, true) => rest.strip_suffix(text).filter(|filled| !filled.is_empty()).map(str::len),
            (true, false) => rest.find(text).filter(|filled| *filled > 0),
        }?;
        rest = &rest[from + text.len()..];
        (letters, open) = (letters + text.len(), false);
    }
    (if open { !rest.is_empty() } else { rest.is_empty() }).then_some(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, config, plan};
    use serde_json::json;

    /// `services` as JSON → service and build, "-" where none of ours is there.
    fn used(images: &str, here: &[&str], services: &Value) -> Result<Vec<String>, String> {
        let config = config(images);
        let plan = plan(here.iter().map(|id| build(id)).collect());
        let services = super::services(&json!({ "services": services })).unwrap();
        let uses = uses(&config, &plan, "slipway-1-stack", &services)?;
        let runs = uses.runs.iter().map(|(service, build)| format!("{service}={}", build.id));
        let mounts = uses.mounts.iter().map(|((service, folder), build)| format!("{service}:{folder}={}", build.id));
        Ok(runs.chain(mounts).collect())
    }

    const TWO: &str = "[image.app]\n[image.db]\n";

    fn one(image: &str) -> Vec<String> {
        used(TWO, &["app", "db"], &json!({ "worker": { "image": image } })).unwrap()
    }

    #[test]
    fn an_image_of_the_run_is_known_however_its_name_is_written() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        for image in ["ghcr.io/acme/app", "acme/app", "localhost:5000/acme/app"] {
            for end in ["", ":latest", ":1.0.0", &digest, &format!(":1{digest}")] {
                let expected: &[&str] = if image.starts_with("localhost") { &[] } else { &["worker=app"] };
                assert_eq!(one(&format!("{image}{end}")), expected, "{image}{end}");
            }
        }
        for other in ["app", "docker.io/acme/app", "ghcr.io/acme/apps", "ghcr.io/other/app", "library/app", "acme/app/x"] {
            assert_eq!(one(other), [""; 0], "{other}");
        }
    }

    #[test]
    fn names_of_dockers_own_registry() {
        let of = |registry: &str, namespace: &str, image: &str| {
            let mut config = config("[image.app]\n");
            (config.registry, config.written_registry) = (registry.to_owned(), registry.to_owned());
            config.builds[0].repository = format!("{namespace}app");
            Name::of(image).is_of(&config, &config.builds[0])
        };
        for registry in ["", "docker.io", "index.docker.io"] {
            for image in ["app", "library/app:1", "docker.io/app", "docker.io/library/app", "index.docker.io/library/app:x"] {
                assert!(of(registry, "", image), "{registry} {image}");
                assert!(of(registry, "library/", image), "{registry} {image}");
            }
            for image in ["acme/app", "docker.io/acme/app:1", "index.docker.io/acme/app"] {
                assert!(of(registry, "acme/", image), "{registry} {image}");
                assert!(!of(registry, "", image), "{registry} {image}");
            }
        }
        assert!(!of("", "", "ghcr.io/app") && of("", "acme/", "ghcr.io/acme/app"), "no registry is ours");
        assert!(of("localhost:5000", "acme/", "localhost:5000/acme/app:1") && !of("localhost:5000", "", "app"));
    }

    #[test]
    fn where_a_registry_takes_the_place_of_the_written_one() {
        let mut config = config("[image.app]\n");
        (config.registry, config.rehearsal) = ("localhost:1".into(), Some("localhost:2".into()));
        for (image, ours) in [("ghcr.io", true), ("localhost:1", true), ("localhost:2", true), ("localhost:3", false)] {
            assert_eq!(Name::of(&format!("{image}/acme/app:v1")).is_of(&config, &config.builds[0]), ours, "{image}");
        }
    }

    #[test]
    fn an_image_decides_before_a_name_and_what_is_built_has_it_for_all() {
        let names = json!({
            "app": { "build": {}, "image": "shop:dev" }, "worker": { "image": "docker.io/library/shop:dev" },
            "other": { "image": "shop" }, "db": { "image": "acme/app" }, "own": { "build": {}, "image": "shop:dev" },
        });
        assert_eq!(used(TWO, &["app", "db"], &names).unwrap(), ["app=app", "db=app", "worker=app"]);
        let implicit = json!({ "app": { "build": {} }, "worker": { "image": "slipway-1-stack-app" } });
        assert_eq!(used(TWO, &["app"], &implicit).unwrap(), ["app=app", "worker=app"]);
        let foreign = json!({ "db": { "image": "postgres:16" }, "backup": { "image": "postgres:16" } });
        assert_eq!(used(TWO, &["db"], &foreign).unwrap(), ["db=db"], "what nobody builds is what it says");
        let files = json!({ "web": { "image": "nginx", "volumes": [
            { "type": "image", "source": "acme/app:1", "target": "/www" }, { "type": "bind", "source": "acme/app", "target": "/b" },
        ] } });
        assert_eq!(used(TWO, &["app"], &files).unwrap(), ["web:/www=app"]);
    }

    const SHARED: &str = "[axes]\np = ['cuda', 'cpu-slim']\n[image.py]\nvariant = '{p}'\nrepository = '{namespace}/py'\n\
        on.tag.tags = ['{version}-{variant}', 'latest-{variant}']\n[image.cpu]\nrepository = '{namespace}/py'\n\
        on.tag.tags = ['{version}-cpu', 'latest-cpu', 'latest', '{version}']\n";

    #[test]
    fn builds_that_share_a_repository_are_told_apart_by_their_tags() {
        let here = ["cpu", "py-cuda", "py-cpu-slim"];
        let of = |tag: &str| used(SHARED, &here, &json!({ "w": { "image": format!("ghcr.io/acme/py{tag}") } }));
        let table = [
            ("", "w=cpu"),
            (":latest", "w=cpu"),
            (":v1.0.0", "w=cpu"),
            (":latest-cuda", "w=py-cuda"),
            (":v1.2.3-cuda", "w=py-cuda"),
            (":v1.2.3-cpu", "w=cpu"),
            (":v1.2.3-cpu-slim", "w=py-cpu-slim"),
            (":pr-7-py-cuda", "w=py-cuda"),
        ];
        for (tag, expected) in table {
            assert_eq!(of(tag).unwrap(), [expected], "{tag}");
        }
        let suffixed = SHARED.split("[image.cpu]").next().unwrap();
        let unclear = |here: &[&str]| used(suffixed, here, &json!({ "w": { "image": "acme/py" } }));
        let said = "the service w runs acme/py, which could be of py-cuda, py-cpu-slim: write a tag that one of them alone has";
        assert_eq!(unclear(&here[1..]).unwrap_err(), said);
        assert_eq!(unclear(&[]).unwrap(), [""; 0], "none of them is in this run");
    }

    #[test]
    fn services_called_like_a_repository() {
        let names = json!({ "web": { "build": {} }, "db": { "image": "postgres" } });
        assert_eq!(used("[image.web]\n[image.cli]\n", &["web", "cli"], &names).unwrap(), ["web=web"]);
        let two = "[image.a]\nrepository = 'a/web'\n[image.b]\nrepository = 'b/web'\n";
        assert_eq!(used(two, &["a", "b"], &names).unwrap_err(), "the service web could run a or b");
        assert_eq!(used(two, &["b"], &names).unwrap(), ["web=b"], "the other one is not in this run");
    }

    #[test]
    fn tags_of_templates() {
        let table = [
            ("latest", "latest", Some(6)),
            ("latest", "latest2", None),
            ("{version}", "v1", Some(0)),
            ("{version}-cpu", "-cpu", None),
            ("{version}-cpu", "1-cpu", Some(4)),
            ("{branch}-{sha7}", "main-abc", Some(1)),
            ("v{major}.{minor}", "v1.2", Some(2)),
            ("v{major}.{minor}", "1.2", None),
        ];
        for (template, tag, expected) in table {
            assert_eq!(literal(template, tag), expected, "{template} {tag}");
        }
    }
}
