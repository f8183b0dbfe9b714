//! Plans for tests: small, and only what the test is about differs.

use crate::event::Event;
use crate::plan::{Action, Build, How, Plan, PushStage, TestStage};

pub fn plan(builds: Vec<Build>) -> Plan {
    Plan {
        schema: 1,
        commit: None,
        created: None,
        source: None,
        event: Event::Local,
        version: None,
        timestamp: None,
        publishes: false,
        has_work: true,
        builds,
        skipped: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
    }
}

pub fn build(id: &str) -> Build {
    Build {
        id: id.into(),
        image: id.into(),
        variant: String::new(),
        axes: Vec::new(),
        repository: format!("acme/{id}"),
        dockerfile: "Dockerfile".into(),
        context: ".".into(),
        target: None,
        platforms: vec!["linux/amd64".into()],
        args: Vec::new(),
        labels: Vec::new(),
        secrets: Vec::new(),
        timeout: 3600,
        action: Action::Build,
        key: "00".into(),
        parents: Vec::new(),
        test: TestStage { load: vec![format!("acme/{id}:local")], ..TestStage::default() },
        push: PushStage { how: How::None, cache_from: Vec::new(), tags: Vec::new(), moving: Vec::new(), replace: false },
        tests: Vec::new(),
        reasons: Vec::new(),
    }
}

/// A build on top of others of the same plan.
pub fn child(id: &str, parents: &[&str]) -> Build {
    let parents = parents.iter().map(|&parent| (parent.to_owned(), format!("build:{parent}"))).collect();
    Build { parents, ..build(id) }
}
