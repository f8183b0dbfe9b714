//! What a composed system is told and what it tells: names, the overlay with the images of this run, states, ports. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::Utf8Path;
use serde_json::Value;

use super::services::Service;
use crate::docker::LABEL;
use crate::facts::digest;

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

/// What is laid over the file: the images of this run, never built or pulled again; what compose builds, built from the
/// files that are here, whatever image has its name already; every container labelled as ours.
///
/// `mounted`: the volumes that take the place of others with the same folder, as JSON.
///
/// JSON is YAML but for `!reset`, which takes a key away (<https://docs.docker.com/reference/compose-file/merge/>).
pub fn overlay(
    services: &BTreeMap<String, Service>,
    images: &BTreeMap<String, String>,
    mounted: &BTreeMap<String, Vec<Value>>,
    checkout: &Utf8Path,
) -> String {
    // What compose reads it also interpolates.
    let quote = |value: &Value| value.to_string().replace('$', "$$");
    let mut text = String::from("# Generated for a check; laid over the file of the repository.\nservices:\n");
    for (service, about) in services {
        let (name, label, checkout) = (Value::from(service.as_str()), quote(&LABEL.into()), quote(&checkout.as_str().into()));
        let _infallible = writeln!(text, "  {name}:\n    labels: {{ {label}: {checkout} }}");
        if let Some(image) = images.get(service) {
            let image = quote(&image.as_str().into());
            let _infallible = writeln!(text, "    image: {image}\n    pull_policy: never\n    build: !reset null");
        } else if about.is_built {
            text.push_str("    pull_policy: build\n");
        }
        for (at, volume) in mounted.get(service).into_iter().flatten().enumerate() {
            let _infallible = writeln!(text, "{}    - {}", if at == 0 { "    volumes:\n" } else { "" }, quote(volume));
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
    use serde_json::json;

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
    fn the_overlay() {
        let service = |is_built| Service { is_built, ..Service::default() };
        let services =
            [("db", false), ("helper", true), ("web", true)].map(|(name, is_built)| (name.to_owned(), service(is_built)));
        let images = BTreeMap::from([("web".to_owned(), "r/web@sha256:1".to_owned())]);
        let volumes = vec![json!({ "type": "tmpfs", "target": "/a$" }), json!({ "type": "image" })];
        let mounted = BTreeMap::from([("db".to_owned(), volumes)]);
        let text = overlay(&services.into(), &images, &mounted, "/a $b".into());
        let golden = r#"# Generated for a check; laid over the file of the repository.
services:
  "db":
    labels: { "dev.slipway.checkout": "/a $$b" }
    volumes:
    - {"type":"tmpfs","target":"/a$$"}
    - {"type":"image"}
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
