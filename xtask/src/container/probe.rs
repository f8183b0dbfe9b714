//! Waits until a started container answers, is healthy, or is known never to be.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::http;
use crate::config::TestKind;
use crate::docker;
use crate::error::Fault;
use crate::exec::Runner;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What a look at a container finds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    Good,
    /// It will not get better.
    Bad(String),
    /// Not yet, and why.
    Wait(String),
}

/// Waits for a container that was started; `Err(reason)` inside when the test failed.
///
/// # Errors
/// The engine does not answer, or we were interrupted.
pub fn wait(runner: &Runner, name: &str, kind: &TestKind, limit: Duration) -> Result<Result<(), String>> {
    let started = Instant::now();
    loop {
        let facts: Value = serde_json::from_str(&runner.read(&docker::inspect_container(name))?).unwrap_or_default();
        let reason = match look(&facts, kind) {
            Look::Good => return Ok(Ok(())),
            Look::Bad(reason) => return Ok(Err(reason)),
            Look::Wait(reason) => reason,
        };
        if started.elapsed() >= limit {
            return Ok(Err(format!("not within {}: {reason}", humantime::format_duration(limit))));
        }
        thread::sleep(PAUSE);
        if runner.is_interrupted() {
            return Err(Fault::interrupted().into());
        }
    }
}

fn look(facts: &Value, kind: &TestKind) -> Look {
    let state = &facts["state"];
    if matches!(state["Status"].as_str(), Some("exited" | "dead")) {
        return Look::Bad(format!("the container ended with exit code {}", state["ExitCode"]));
    }
    match kind {
        TestKind::Http { port, path } => {
            let published = facts["ports"][format!("{port}/tcp")][0]["HostPort"].as_str().and_then(|port| port.parse().ok());
            let Some(published) = published else { return Look::Wait(format!("port {port} is not published")) };
            match http::get(published, path) {
                Ok(200..=299) => Look::Good,
                Ok(status) => Look::Wait(format!("GET :{port}{path} answers {status}")),
                Err(reason) => Look::Wait(format!("GET :{port}{path}: {reason}")),
            }
        }
        TestKind::Healthy | TestKind::Run(_) => match state["Health"]["Status"].as_str() {
            Some("healthy") => Look::Good,
            Some("unhealthy") => Look::Bad("its HEALTHCHECK says unhealthy".into()),
            Some(other) if other != "none" => Look::Wait(format!("its HEALTHCHECK says {other}")),
            _ => Look::Bad("the image has no HEALTHCHECK".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_look_finds() {
        let health = |status: &str| json!({ "state": { "Status": "running", "Health": { "Status": status } } });
        assert_eq!(look(&health("healthy"), &TestKind::Healthy), Look::Good);
        assert!(matches!(look(&health("starting"), &TestKind::Healthy), Look::Wait(_)));
        assert!(matches!(look(&health("unhealthy"), &TestKind::Healthy), Look::Bad(_)));
        assert!(matches!(look(&json!({ "state": { "Status": "running" } }), &TestKind::Healthy), Look::Bad(_)));
        let exited = json!({ "state": { "Status": "exited", "ExitCode": 3 } });
        let http = TestKind::Http { port: 80, path: "/".into() };
        assert_eq!(look(&exited, &http), Look::Bad("the container ended with exit code 3".into()));
        assert!(matches!(look(&json!({ "state": { "Status": "running" }, "ports": {} }), &http), Look::Wait(_)));
    }
}
