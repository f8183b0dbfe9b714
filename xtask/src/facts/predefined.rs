//! The arguments that BuildKit sets itself before the first stage.
//!
//! <https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope>

use std::collections::BTreeSet;

use super::dockerfile::Args;

/// Those of the node that builds, which is not known before it does.
pub const NODE: [&str; 4] = ["BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"];

/// The platforms that the node may be of. All that are likely, where one of the words before the stages asks for it: what
/// is built on any of them then counts.
pub fn nodes<'a>(mut words: impl Iterator<Item = &'a str>, platforms: &'a [String]) -> BTreeSet<&'a str> {
    let own = platforms.iter().map(String::as_str);
    if words.any(|word| NODE.iter().any(|name| word.contains(name))) {
        own.chain(["linux/amd64", "linux/arm64"]).collect()
    } else {
        own.take(1).collect()
    }
}

/// Name → value for a platform that is built on a node of another. `stage`: the one that is built, where it has a name.
/// What is `given` as a build argument takes its place.
pub fn args(platform: &str, node: &str, stage: Option<&str>, given: &Args) -> Args {
    let mut args = Args::from([("TARGETSTAGE".to_owned(), Some(stage.unwrap_or("default").to_lowercase()))]);
    for (of, platform) in [("TARGET", platform), ("BUILD", node)] {
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let named = [("PLATFORM", platform), ("OS", part()), ("ARCH", part()), ("VARIANT", part()), ("OSVERSION", "")];
        args.extend(named.map(|(name, value)| (format!("{of}{name}"), Some(value.to_owned()))));
    }
    for (name, value) in &mut args {
        if let Some(given) = given.get(name) {
            value.clone_from(given);
        }
    }
    args
}
