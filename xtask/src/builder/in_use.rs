//! The builders that are there already, for those who look at what they hold.

use anyhow::Result;

use super::{Choice, Place, remote};
use crate::docker::{self, Found};

/// A builder that runs of this checkout may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub name: String,
    /// It is of this checkout alone.
    pub own: bool,
    /// Why it does not answer, as far as buildx tells without asking it.
    pub gone: Option<String>,
}

/// The builders that there are already; nothing is made or started.
///
/// # Errors
/// Those of asking buildx.
pub fn in_use(place: &Place<'_>, choice: &Choice) -> Result<Vec<InUse>> {
    let shared = |name: &String| InUse { name: name.clone(), own: false, gone: None };
    let mut all = match choice {
        Choice::Named(name) => return Ok(vec![shared(name)]),
        Choice::Shared(names) => return Ok(names.iter().map(shared).collect()),
        Choice::Container => Vec::new(),
        Choice::Auto => {
            let exit = place.runner.output(&docker::inspect_builder(None))?;
            let name = exit.ok().then(|| docker::found(&exit.stdout).name).filter(|name| !name.is_empty());
            name.iter().map(shared).collect()
        }
    };
    // Of daemons and pods the caches are others' too.
    for (end, own) in [("", true), (remote::END, false), (docker::IN_CLUSTERS, false)] {
        let name = format!("{}{end}", place.name());
        if let Some(found) = place.found(&name)? {
            all.push(InUse { name, own, gone: gone(&found) });
        }
    }
    Ok(all)
}

/// Why a builder does not answer: one node that does not is enough, for buildx asks all of them.
fn gone(found: &Found) -> Option<String> {
    let node = found.nodes.iter().find(|node| node.status != "running")?;
    Some(if node.error.is_empty() { "not running".into() } else { node.error.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::FoundNode;

    #[test]
    fn one_node_that_is_gone_is_enough() {
        let node = |status: &str, error: &str| FoundNode { status: status.into(), error: error.into(), ..FoundNode::default() };
        let gone = |nodes| gone(&Found { nodes, ..Found::default() });
        assert_eq!(gone(vec![node("running", "")]), None);
        assert_eq!(gone(vec![node("running", ""), node("stopped", "")]).as_deref(), Some("not running"));
        assert_eq!(gone(vec![node("", "no route")]).as_deref(), Some("no route"));
    }
}
