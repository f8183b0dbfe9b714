//! What was built and tested before is taken as it is, also as a parent.

use std::collections::BTreeMap;

use super::{Action, Plan};

/// Turns builds into reuses: id → `REPOSITORY@DIGEST` of the image that takes the place of a build.
pub fn reuse(plan: &mut Plan, images: &BTreeMap<String, String>) {
    for build in &mut plan.builds {
        if let Some(image) = images.get(&build.id) {
            build.action = Action::Reuse;
            build.reused = Some(image.clone());
            build.reasons.push(format!("reused: tested before as {image}"));
        }
        for (_, is) in &mut build.parents {
            if let Some(image) = is.strip_prefix("build:").and_then(|id| images.get(id)) {
                is.clone_from(image);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    #[test]
    fn a_child_is_built_on_the_reused_parent() {
        let mut child = build("app");
        child.parents = vec![("base".into(), "build:base".into())];
        let mut plan = plan(vec![build("base"), child]);
        reuse(&mut plan, &BTreeMap::from([("base".into(), "r/base@sha256:1".into())]));
        assert_eq!((plan.builds[0].action, plan.builds[1].action), (Action::Reuse, Action::Build));
        assert_eq!(plan.builds[1].parents[0].1, "r/base@sha256:1");
    }
}
