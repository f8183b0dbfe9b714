//! A plan as text for people, as outputs for GitHub Actions, and as a Mermaid graph.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Action, Build, How, Plan};
use crate::visible;

/// GitHub starts at most 256 jobs for a matrix.
const LEGS: usize = 256;

/// What would happen and why, for a person. Warnings are not in it: whoever plans has printed them.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _infallible = writeln!(out, "{}", visible::line(&text));
    };
    let event = plan.event.flag();
    line(format!("event {event}, version {}, commit {}", or_dash(&plan.version), or_dash(&plan.commit)));
    for build in &plan.builds {
        line(String::new());
        line(format!("{}  {}  {}", build.id, build.dockerfile, build.platforms.join(" ")));
        for reason in &build.reasons {
            line(format!("  because     {reason}"));
        }
        if let Some(image) = &build.reused {
            line(format!("  reuses      {image}"));
        }
        for (name, is) in &build.parents {
            line(format!("  from        {name} = {is}"));
        }
        for entry in &build.test.cache_from {
            line(format!("  reads       {entry}"));
        }
        for entry in &build.test.cache_to {
            line(format!("  writes      {entry}"));
        }
        for name in &build.test.load {
            line(format!("  loads as    {name}"));
        }
        if let Some(candidate) = &build.test.candidate {
            line(format!("  candidate   {candidate}"));
        }
        for tag in &build.push.tags {
            line(format!("  publishes   {tag}{}", if build.push.replace { " (may be replaced)" } else { "" }));
        }
        for tag in &build.push.moving {
            line(format!("  moves       {tag}"));
        }
    }
    if !plan.skipped.is_empty() {
        line(String::new());
        line("skipped".into());
    }
    for skipped in &plan.skipped {
        line(format!("  {}: {}", skipped.id, skipped.reasons.join("; ")));
    }
    if !plan.checks.is_empty() {
        line(String::new());
        line("checks".into());
    }
    for check in &plan.checks {
        let place = match (&check.r#in, &check.compose) {
            (Some(image), _) => format!("in {image}"),
            (None, Some(file)) => format!("with what {file} composes"),
            (None, None) => "on this machine".into(),
        };
        let may_fail = if check.may_fail { " (may fail)" } else { "" };
        line(format!("  {} {place}{may_fail}: {}", check.name, check.run.join("; ")).trim_end_matches([' ', ':']).to_owned());
    }
    let published = plan.builds.iter().filter(|build| build.push.how != How::None).count();
    let scan = plan.scan.as_ref().filter(|_| !plan.builds.is_empty());
    line(String::new());
    line(format!(
        "{}, {published} published, {} skipped, {}{}",
        counted(plan.builds.len(), "build"),
        plan.skipped.len(),
        counted(plan.checks.len(), "check"),
        scan.map(|scan| format!(", scanned: fails on {}", scan.fail_on.name())).unwrap_or_default()
    ));
    out.truncate(out.trim_end().len());
    out
}

/// "1 build", "2 builds"
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn or_dash(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("-")
}

/// Outputs for `$GITHUB_OUTPUT`: `matrix`, `has_work`, `publishes`, `version`, `rebuild`, one `name=value` a line.
pub fn github(plan: &Plan) -> String {
    let legs: Vec<Value> = legs(plan).into_iter().map(leg).collect();
    let rebuild = plan.builds.iter().any(|build| build.test.fresh);
    let matrix = json!({ "include": legs });
    let version = plan.version.as_deref().unwrap_or_default();
    // The runner reads a line each: JSON has no line break, and a shown version has none either.
    let (matrix, version) = (visible::json(&matrix.to_string()), visible::line(version));
    format!("matrix={matrix}\nhas_work={}\nversion={version}\nrebuild={rebuild}\npublishes={}", plan.has_work, plan.publishes)
}

/// Units with something to build, several in a leg where there are more than GitHub starts jobs.
fn legs(plan: &Plan) -> Vec<Vec<&Build>> {
    let mut units = units(plan);
    units.retain(|unit| unit.iter().any(|build| build.action == Action::Build));
    let size = units.len().div_ceil(LEGS).max(1);
    units.chunks(size).map(|units| units.concat()).collect()
}

fn leg(builds: Vec<&Build>) -> Value {
    let mut leg = serde_json::Map::new();
    leg.insert("id".into(), json!(builds.iter().map(|build| build.id.as_str()).collect::<Vec<_>>().join("+")));
    // The axes name the leg's artifacts; they are the leg's only where it has one build.
    if let [build] = builds.as_slice() {
        leg.extend(build.axes.iter().map(|(axis, value)| (axis.clone(), json!(value))));
    }
    let only: Vec<String> = builds.iter().map(|build| format!("--only id={}", build.id)).collect();
    leg.insert("only".into(), json!(only.join(" ")));
    Value::Object(leg)
}

/// Connected components of the parent graph, in the order of their first build.
pub fn units(plan: &Plan) -> Vec<Vec<&Build>> {
    let at: BTreeMap<&str, usize> = plan.builds.iter().enumerate().map(|(at, build)| (build.id.as_str(), at)).collect();
    let mut unit: Vec<usize> = (0..plan.builds.len()).collect();
    for (child, build) in plan.builds.iter().enumerate() {
        for parent in build.parents.iter().filter_map(|(_, is)| at.get(is.strip_prefix("build:")?)) {
            let (old, new) = (unit[child].max(unit[*parent]), unit[child].min(unit[*parent]));
            if old != new {
                unit.iter_mut().filter(|unit| **unit == old).for_each(|unit| *unit = new);
            }
        }
    }
    let mut units: BTreeMap<usize, Vec<&Build>> = BTreeMap::new();
    for (at, build) in plan.builds.iter().enumerate() {
        units.entry(unit[at]).or_default().push(build);
    }
    units.into_values().collect()
}

/// Builds and what they are made from, as a Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR");
    let label = |text: &str| visible::line(text).replace('"', "#quot;");
    let node = |id: &str| format!("n_{}", id.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    for build in &plan.builds {
        let _infallible = write!(out, "\n  {}[\"{}\"]", node(&build.id), label(&build.id));
        for (_, is) in &build.parents {
            let id = is.strip_prefix("build:").unwrap_or(is);
            let _infallible = write!(out, "\n  {}[\"{}\"] --> {}", node(id), label(id), node(&build.id));
        }
        for tag in build.push.tags.iter().chain(&build.push.moving) {
            let _infallible = write!(out, "\n  {} --> {}([\"{}\"])", node(&build.id), node(tag), label(tag));
        }
    }
    out
}
