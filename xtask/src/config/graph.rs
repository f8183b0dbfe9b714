//! Parents: they exist, fit each child, and form no circle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::faults::{Faults, suggest};
use super::tree::Document;
use super::{Build, names};

/// Reports parents that are unknown, ambiguous, never built where the child is published, or circular.
pub fn check(builds: &[Build], images: &BTreeSet<String>, document: &Document, faults: &mut Faults) {
    let mut by_point: HashMap<(&str, Vec<&str>), &Build> = HashMap::new();
    let mut axes: HashMap<&str, Vec<&str>> = HashMap::new();
    for build in builds {
        axes.entry(&build.image).or_insert_with(|| build.axes.iter().map(|(axis, _)| axis.as_str()).collect());
        by_point.insert((&build.image, build.axes.iter().map(|(_, value)| value.as_str()).collect()), build);
    }
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for build in builds {
        let line = || parent_line(document, &build.image);
        for parent in &build.parents {
            let name = parent.image.as_str();
            if !images.contains(name) {
                let known = images.iter().map(String::as_str).filter(|image| *image != build.image);
                faults.once(
                    line(),
                    "unknown",
                    format!("parent `{name}` of image `{}` is no image ({})", build.image, suggest(name, known)),
                );
                continue;
            }
            if let Some(tag) = parent.tag.as_ref().filter(|tag| !names::is_tag(tag)) {
                faults.once(line(), "tag", format!("parent `{name}:{tag}` has no valid tag"));
            }
            edges.entry(&build.image).or_default().insert(name);
            // A parent whose own keys are wrong has no builds, and was reported.
            let Some(parent_axes) = axes.get(name) else { continue };
            let point = parent_axes.iter().map(|axis| value(build, axis)).collect::<Option<Vec<_>>>();
            let missing = parent_axes.iter().find(|axis| value(build, axis).is_none());
            match point.map(|point| by_point.get(&(name, point))) {
                None => {
                    let axis = missing.copied().unwrap_or_default();
                    let said = format!(
                        "parent `{name}` has axis `{axis}`, image `{}` has not: which build is meant? (put {{{axis}}} into its variant)",
                        build.image
                    );
                    faults.once(line(), "axis", said);
                }
                Some(None) => {
                    let said = format!(
                        "parent `{name}` of `{}` is not built for {} (exclude it there too)",
                        build.id,
                        shown(build, parent_axes)
                    );
                    faults.once(line(), "point", said);
                }
                Some(Some(parent)) if parent.local_only && build.publish => {
                    let said = format!(
                        "`{}` is published but its parent `{}` is local-only (make both local-only, or neither)",
                        build.id, parent.id
                    );
                    faults.once(line(), "local", said);
                }
                Some(Some(_)) => {}
            }
        }
    }
    for circle in circles(&edges) {
        let line = parent_line(document, circle[0]);
        let first = circle[0];
        let said = if circle.len() == 1 {
            format!("image `{first}` is its own parent")
        } else {
            format!("images are parents of each other: {} -> {first}", circle.join(" -> "))
        };
        faults.at(line, said);
    }
}

fn parent_line(document: &Document, image: &str) -> usize {
    let own = ["image", image, "parent"];
    document.exact_line(&own).or_else(|| document.exact_line(&["defaults", "parent"])).unwrap_or_else(|| document.line(&own))
}

fn value<'a>(build: &'a Build, axis: &str) -> Option<&'a str> {
    build.axes.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
}

fn shown(build: &Build, axes: &[&str]) -> String {
    axes.iter().map(|axis| format!("{axis}={}", value(build, axis).unwrap_or_default())).collect::<Vec<_>>().join(",")
}

/// Each circle once, from its first image by name, along the parents.
fn circles<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for &start in edges.keys() {
        // Depth first without recursion: a file may hold a very long chain.
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut on_path: HashMap<&str, usize> = HashMap::new();
        let mut enter = Some(start).filter(|start| !done.contains(start));
        loop {
            if let Some(image) = enter.take() {
                on_path.insert(image, path.len());
                path.push((image, edges.get(image).into_iter().flatten().rev().copied().collect()));
            }
            let Some((image, parents)) = path.last_mut() else { break };
            match parents.pop() {
                Some(parent) => match on_path.get(parent) {
                    Some(&from) => found.push(rotated(path[from..].iter().map(|(image, _)| *image).collect())),
                    None if !done.contains(parent) => enter = Some(parent),
                    None => {}
                },
                None => {
                    done.insert(image);
                    on_path.remove(*image);
                    path.pop();
                }
            }
        }
    }
    found
}

fn rotated(mut circle: Vec<&str>) -> Vec<&str> {
    let first = circle.iter().enumerate().min_by_key(|(_, image)| **image).map_or(0, |(index, _)| index);
    circle.rotate_left(first);
    circle
}
