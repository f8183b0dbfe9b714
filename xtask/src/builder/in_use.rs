//! The builders that are there already, for those who look at what they hold.

use anyhow::Result;

use super::{Choice, Place, remote};
use crate::docker;

/// A builder that runs of this checkout may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub name: String,
    /// It is of this checkout alone.
    pub own: bool,
}

/// The builders that there are already; nothing is made or started.
///
/// # Errors
/// Those of asking buildx.
pub fn in_use(place: &Place<'_>, choice: &Choice) -> Result<Vec<InUse>> {
    let shared = |name: &String| InUse { name: name.clone(), own: false };
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
        if place.found(&name)?.is_some() {
            all.push(InUse { name, own });
        }
    }
    Ok(all)
}
