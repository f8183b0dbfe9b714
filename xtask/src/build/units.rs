//! Which builds belong together: a unit is a connected component of the parent graph.

use std::collections::BTreeSet;

use crate::plan::Plan;

/// Builds that are given to bake together.
pub type Group = BTreeSet<String>;

/// The groups of a first attempt: what comes from cache as one bake, which shares the most; every unit with a
/// fresh build on its own, because a failure would cancel its siblings and no cache would give their work back.
pub fn first(plan: &Plan, ids: &Group) -> Vec<Group> {
    let fresh = |group: &Group| plan.builds.iter().any(|build| build.test.fresh && group.contains(&build.id));
    let (fresh, cached): (Vec<Group>, Vec<Group>) = units(plan, ids).into_iter().partition(fresh);
    let together: Group = cached.into_iter().flatten().collect();
    std::iter::once(together).filter(|group| !group.is_empty()).chain(fresh).collect()
}

/// The units among `ids`, in the order of the plan. Parents outside `ids` connect nothing.
pub fn units(plan: &Plan, ids: &Group) -> Vec<Group> {
    let mut units: Vec<Group> = Vec::new();
    for build in plan.builds.iter().filter(|build| ids.contains(&build.id)) {
        let parents = || build.parents.iter().filter_map(|(_, from)| from.strip_prefix("build:"));
        // Parents stand before their children, so their units exist by now; one build may join several.
        let (joined, others): (Vec<Group>, Vec<Group>) =
            units.into_iter().partition(|unit| parents().any(|parent| unit.contains(parent)));
        units = others;
        units.push(joined.into_iter().flatten().chain([build.id.clone()]).collect());
    }
    let place = |unit: &Group| plan.builds.iter().position(|build| unit.contains(&build.id));
    units.sort_by_key(place);
    units
}

/// Everything that is built on `id`, at any distance.
pub fn descendants(plan: &Plan, id: &str) -> Group {
    let mut found = Group::from([id.to_owned()]);
    for build in &plan.builds {
        let parents = build.parents.iter().filter_map(|(_, from)| from.strip_prefix("build:"));
        if parents.into_iter().any(|parent| found.contains(parent)) {
            found.insert(build.id.clone());
        }
    }
    found.remove(id);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn child(id: &str, parents: &[&str]) -> crate::plan::Build {
        let parents = parents.iter().map(|&parent| (parent.to_owned(), format!("build:{parent}"))).collect();
        crate::plan::Build { parents, ..build(id) }
    }

    fn group(ids: &[&str]) -> Group {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    fn family() -> Plan {
        plan(vec![build("base"), build("lone"), build("tools"), child("ci", &["base"]), child("dev", &["ci", "tools"])])
    }

    #[test]
    fn parents_connect() {
        let all = group(&["base", "lone", "tools", "ci", "dev"]);
        assert_eq!(units(&family(), &all), [group(&["base", "ci", "dev", "tools"]), group(&["lone"])]);
        assert_eq!(units(&family(), &group(&["ci", "lone"])), [group(&["lone"]), group(&["ci"])], "base is done");
    }

    #[test]
    fn fresh_units_are_on_their_own() {
        let mut plan = family();
        plan.builds.push(build("other"));
        plan.builds[4].test.fresh = true;
        let all = group(&["base", "lone", "tools", "ci", "dev", "other"]);
        assert_eq!(first(&plan, &all), [group(&["lone", "other"]), group(&["base", "ci", "dev", "tools"])]);
    }

    #[test]
    fn descendants_at_any_distance() {
        assert_eq!(descendants(&family(), "base"), group(&["ci", "dev"]));
        assert_eq!(descendants(&family(), "lone"), group(&[]));
    }
}
