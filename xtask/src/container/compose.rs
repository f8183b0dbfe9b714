//! What a composed system is told and what it tells: names, the overlay with the images of this run, states, ports. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use camino::Utf8Path;
use serde_json::Value;

use crate::docker::LABEL;
use crate::facts::digest;
use crate::plan::{Build, Plan};

/// The project of a check: its own for each checkout, so that two never meet, and the same in each run, so that the
/// next one finds what a killed one left.
pub fn project(checkout: &Utf8Path, check: &str) -> String {
    format!("slipway-{}-{}", &digest(&[checkout.as_str(), check])[..8], plain(check))
}

/// A name as containers and projects may have it.
pub fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

/// The services that a file composes, with whether compose would build them itself.
pub fn services(config: &str) -> Option<BTreeMap<String, bool>> {
    let config: Value = serde_json::from_str(config).ok()?;
    let services = config["services"].as_object()?.iter();
    Some(services.map(|(name, service)| (name.clone(), service["build"].is_object())).collect())
}

/// Service → the build of the plan whose repository ends in its name.
///
/// # Errors
/// Two builds that end alike.
pub fn builds<'a>(plan: &'a Plan, services: &BTreeSet<&str>) -> Result<BTreeMap<String, &'a Build>, String> {
    let mut found: BTreeMap<String, &Build> = BTreeMap::new();
    for build in &plan.builds {
        let name = last(&build.repository);
        if services.contains(name)
            && let Some(other) = found.insert(name.to_owned(), build)
        {
            return Err(format!("the service {name} could run {} or {}", other.id, build.id));
        }
    }
    Ok(found)
}

/// The last part of a repository.
pub fn last(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or(repository)
}

/// What is laid over the file: the images just built, never built or pulled again; what compose builds, built from the
/// files that are here, whatever image has its name already; every container labelled as ours.
///
/// JSON is YAML but for `!reset`, which takes a key away (<https://docs.docker.com/reference/compose-file/merge/>).
pub fn overlay(services: &BTreeMap<String, bool>, images: &BTreeMap<String, String>, checkout: &Utf8Path) -> String {
    // What compose reads it also interpolates.
    let quote = |text: &str| Value::from(text.replace('$', "$$")).to_string();
    let mut text = String::from("# Generated for a check; laid over the file of the repository.\nservices:\n");
    for (service, is_built) in services {
        let (name, label, checkout) = (Value::from(service.as_str()), quote(LABEL), quote(checkout.as_str()));
        let _infallible = writeln!(text, "  {name}:\n    labels: {{ {label}: {checkout} }}");
        if let Some(image) = images.get(service) {
            let _infallible = writeln!(text, "    image: {}\n    pull_policy: never\n    build: !reset null", quote(image));
        } else if *is_built {
            text.push_str("    pull_policy: build\n");
        }
    }
    text
}

/// A container of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub service: String,
    pub container: String,
    /// `created`, `running`, `restarting`, `exited`, …
    pub state: String,
    /// "" without a HEALTHCHECK
    pub health: String,
    pub exit: i64,
    /// (port inside, port of this machine)
    pub ports: Vec<(u64, u64)>,
}

/// What `ps` printed: an object a line, or one array (before compose 2.21).
pub fn states(stdout: &str) -> Vec<State> {
    let values = serde_json::Deserializer::from_str(stdout).into_iter::<Value>().map_while(Result::ok);
    let objects = values.flat_map(|value| match value {
        Value::Array(list) => list,
        other => vec![other],
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let port = |port: &Value| Some((port["TargetPort"].as_u64()?, port["PublishedPort"].as_u64().filter(|port| *port > 0)?));
    objects
        .map(|one| State {
            service: text(&one["Service"]),
            container: text(&one["Name"]),
            state: text(&one["State"]),
            health: text(&one["Health"]),
            exit: one["ExitCode"].as_i64().unwrap_or_default(),
            ports: one["Publishers"].as_array().into_iter().flatten().filter_map(port).collect(),
        })
        .collect()
}

/// What a look at the whole finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Good,
    /// Containers that will not get better, each with its reason.
    Bad(Vec<(State, String)>),
    /// Not yet, and why.
    Wait(String),
}

/// Good is: running and, where there is a HEALTHCHECK, healthy; or done with exit code 0.
pub fn look(states: &[State]) -> Look {
    let mut waits = Vec::new();
    let mut bad = Vec::new();
    for one in states {
        match (one.state.as_str(), one.health.as_str()) {
            ("exited", _) if one.exit == 0 => {}
            ("exited" | "dead", _) => bad.push((one.clone(), format!("{} ended with exit code {}", one.service, one.exit))),
            (_, "unhealthy") => bad.push((one.clone(), format!("{} is unhealthy", one.service))),
            ("running", "" | "healthy") => {}
            ("running", health) => waits.push(format!("the health of {} is {health}", one.service)),
            (state, _) => waits.push(format!("{} is {state}", one.service)),
        }
    }
    if states.is_empty() {
        Look::Wait("no container is there".into())
    } else if !bad.is_empty() {
        Look::Bad(bad)
    } else if waits.is_empty() {
        Look::Good
    } else {
        Look::Wait(waits.join(", "))
    }
}

/// What commands are told: `WEB_PORT` is where the first published port of `web` is on this machine, `WEB_PORT_8080`
/// where 8080 is.
pub fn env(project: &str, states: &[State]) -> Vec<(String, String)> {
    let mut env = BTreeMap::from([("COMPOSE_PROJECT_NAME".to_owned(), project.to_owned())]);
    for one in states {
        let name = plain(&one.service).replace('-', "_").to_ascii_uppercase();
        for (target, published) in &one.ports {
            for key in [format!("{name}_PORT"), format!("{name}_PORT_{target}")] {
                env.entry(key).or_insert_with(|| published.to_string());
            }
        }
    }
    env.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn state(service: &str, state: &str, health: &str, exit: i64) -> State {
        let (service, container) = (service.to_owned(), format!("p-{service}-1"));
        State { service, container, state: state.into(), health: health.into(), exit, ports: Vec::new() }
    }

    #[test]
    fn two_checkouts_never_meet() {
        let (one, other) = (project("/a".into(), "Stack.x"), project("/b".into(), "Stack.x"));
        assert!(one.starts_with("slipway-") && one.ends_with("-stack-x"), "{one}");
        assert_ne!(one, other);
        assert_eq!(one, project("/a".into(), "Stack.x"));
    }

    #[test]
    fn services_run_the_builds_called_like_them() {
        let services = services(r#"{"services": {"web": {"build": {"context": "."}}, "db": {"image": "postgres"}}}"#).unwrap();
        assert_eq!(
            services.iter().map(|(name, build)| (name.as_str(), *build)).collect::<Vec<_>>(),
            [("db", false), ("web", true)]
        );
        let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
        let plan_of = |repositories: &[&str]| {
            let one = |name: &&str| crate::plan::Build { repository: (*name).to_owned(), ..build(name) };
            plan(repositories.iter().map(one).collect())
        };
        let all = plan_of(&["r.io/shop/web", "r.io/shop/cli"]);
        let found = builds(&all, &names).unwrap();
        assert_eq!(
            found.iter().map(|(name, build)| (name.as_str(), build.id.as_str())).collect::<Vec<_>>(),
            [("web", "r.io/shop/web")]
        );
        let two = plan_of(&["a/web", "b/web"]);
        assert_eq!(builds(&two, &names).unwrap_err(), "the service web could run a/web or b/web");
    }

    #[test]
    fn the_overlay() {
        let services = BTreeMap::from([("db".to_owned(), false), ("helper".to_owned(), true), ("web".to_owned(), true)]);
        let images = BTreeMap::from([("web".to_owned(), "r/web@sha256:1".to_owned())]);
        let text = overlay(&services, &images, "/a $b".into());
        let golden = r#"# Generated for a check; laid over the file of the repository.
services:
  "db":
    labels: { "dev.slipway.checkout": "/a $$b" }
  "helper":
    labels: { "dev.slipway.checkout": "/a $$b" }
    pull_policy: build
  "web":
    labels: { "dev.slipway.checkout": "/a $$b" }
    image: "r/web@sha256:1"
    pull_policy: never
    build: !reset null
"#;
        assert_eq!(text, golden);
    }

    #[test]
    fn what_ps_says() {
        let line = r#"{"Service":"web","Name":"p-web-1","State":"running","Health":"healthy","ExitCode":0,"Publishers":[{"URL":"127.0.0.1","TargetPort":8080,"PublishedPort":32768},{"URL":"","TargetPort":9,"PublishedPort":0}]}"#;
        let web = State { ports: vec![(8080, 32768)], ..state("web", "running", "healthy", 0) };
        assert_eq!(states(&format!("{line}\n{line}\n")), [web.clone(), web.clone()]);
        assert_eq!(states(&format!("[{line}]")), vec![web.clone()]);
        assert_eq!(states(""), []);
        let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let expected = [("COMPOSE_PROJECT_NAME", "p"), ("MY_WEB_PORT", "32768"), ("MY_WEB_PORT_8080", "32768")].map(named);
        assert_eq!(env("p", &[State { service: "my-web".into(), ..web }]), expected);
    }

    #[test]
    fn what_a_look_finds() {
        let good = [state("a", "running", "healthy", 0), state("b", "running", "", 0), state("c", "exited", "", 0)];
        assert_eq!(look(&good), Look::Good);
        let table = [
            (state("d", "running", "unhealthy", 0), "bad d is unhealthy"),
            (state("d", "exited", "", 3), "bad d ended with exit code 3"),
            (state("d", "running", "starting", 0), "wait the health of d is starting"),
            (state("d", "restarting", "", 1), "wait d is restarting"),
            (state("d", "created", "", 0), "wait d is created"),
        ];
        for (one, expected) in table {
            let said = match look(&[&good[..], &[one]].concat()) {
                Look::Good => "good".to_owned(),
                Look::Bad(bad) => format!("bad {}", bad[0].1),
                Look::Wait(why) => format!("wait {why}"),
            };
            assert_eq!(said, expected);
        }
        assert!(matches!(look(&[]), Look::Wait(_)));
    }
}
