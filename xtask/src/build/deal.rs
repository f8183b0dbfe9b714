//! Several builders for one run: its units dealt out by how long they took last time, or by their platforms. Pure.

use std::collections::BTreeMap;

use super::units::{Group, units};
use crate::plan::Plan;

/// The builds of each of `builders`: the longest unit first, each to who has least to do; the rest by key, so that the
/// same plan with the same memory is dealt the same way.
///
/// `seconds`: of each build when it was last built; one that is not known counts as the mean of those that are.
pub fn deal(plan: &Plan, ids: &Group, seconds: &BTreeMap<String, f64>, builders: usize) -> Vec<Group> {
    if builders < 2 {
        return vec![ids.clone()];
    }
    let known: Vec<f64> = plan.builds.iter().filter_map(|build| seconds.get(&build.id).copied()).collect();
    #[allow(clippy::cast_precision_loss)]
    let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
    let takes = |unit: &Group| -> f64 { unit.iter().map(|id| seconds.get(id).copied().unwrap_or(mean)).sum() };
    let key = |unit: &Group| plan.builds.iter().find(|build| unit.contains(&build.id)).map(|build| build.key.clone());
    // Asked once for each, not at each comparison: both look at many builds.
    let mut units: Vec<_> = units(plan, ids).into_iter().map(|unit| (takes(&unit), key(&unit), unit)).collect();
    units.sort_by(|(a, key, _), (b, other, _)| b.total_cmp(a).then_with(|| key.cmp(other)));
    let mut dealt: Vec<(f64, Group)> = vec![(0.0, Group::new()); builders];
    for (takes, _, unit) in units {
        if let Some(least) = dealt.iter_mut().min_by(|(a, _), (b, _)| a.total_cmp(b)) {
            least.0 += takes;
            least.1.extend(unit);
        }
    }
    dealt.into_iter().map(|(_, group)| group).collect()
}

/// The builds whose platforms one builder has, and those of the other. The parts of a build are apart by then, and linked to
/// parts of their own platforms.
pub fn apart(plan: &Plan, ids: &Group, has: impl Fn(&str) -> bool) -> Vec<Group> {
    let of =
        |id: &&String| plan.builds.iter().any(|build| build.id == **id && build.platforms.iter().any(|platform| has(platform)));
    let (first, second): (Vec<&String>, Vec<&String>) = ids.iter().partition(of);
    [first, second].map(|ids| ids.into_iter().cloned().collect()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn dealt(seconds: &[(&str, f64)], parents: &[(&str, &str)], builders: usize) -> Vec<String> {
        let mut builds: Vec<_> = ["a", "b", "c", "d"].map(build).into();
        for (child, parent) in parents {
            let child = builds.iter_mut().find(|build| build.id == *child).unwrap();
            child.parents.push(((*parent).to_owned(), format!("build:{parent}")));
        }
        for (n, build) in builds.iter_mut().enumerate() {
            build.key = format!("{:064}", 9 - n);
        }
        let plan = plan(builds);
        let seconds = seconds.iter().map(|(id, seconds)| ((*id).to_owned(), *seconds)).collect();
        let groups = deal(&plan, &plan.ids(), &seconds, builders);
        groups.into_iter().map(|group| group.into_iter().collect::<String>()).collect()
    }

    #[test]
    fn the_longest_first_to_who_has_least() {
        assert_eq!(dealt(&[("a", 9.0), ("b", 4.0), ("c", 3.0), ("d", 2.0)], &[], 2), ["a", "bcd"]);
        assert_eq!(dealt(&[("a", 9.0), ("b", 8.0), ("c", 3.0), ("d", 2.0)], &[], 2), ["ad", "bc"]);
        // Nothing known: by key, which is the other way round here; one that is not known is as long as the others.
        assert_eq!(dealt(&[], &[], 2), ["bd", "ac"]);
        assert_eq!(dealt(&[("a", 2.0)], &[], 4), ["d", "c", "b", "a"]);
    }

    #[test]
    fn a_thousand_builds_of_which_nothing_is_known_are_shared_evenly() {
        let plan = plan((0..1024).map(|n| crate::plan::Build { key: format!("{n:064}"), ..build(&format!("b{n}")) }).collect());
        let dealt = deal(&plan, &plan.ids(), &BTreeMap::new(), 3);
        assert_eq!(dealt.iter().map(Group::len).collect::<Vec<_>>(), [342, 341, 341]);
    }

    #[test]
    fn each_builder_gets_the_parts_of_its_platforms() {
        let mut plan = plan(["a@linux-amd64", "a@linux-arm64", "b"].map(build).into());
        plan.builds[1].platforms = vec!["linux/arm64".into()];
        let groups = apart(&plan, &plan.ids(), |platform| platform == "linux/arm64");
        let ids: Vec<Vec<&str>> = groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect();
        assert_eq!(ids, [vec!["a@linux-arm64"], vec!["a@linux-amd64", "b"]]);
    }

    #[test]
    fn a_parent_and_its_children_stay_together() {
        assert_eq!(dealt(&[("a", 5.0), ("b", 1.0)], &[("b", "a")], 2), ["ab", "cd"]);
        assert_eq!(dealt(&[], &[], 6).iter().filter(|group| group.is_empty()).count(), 2);
        assert_eq!(dealt(&[], &[], 0), ["abcd"]);
    }
}
