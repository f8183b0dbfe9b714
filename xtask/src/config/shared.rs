//! Default names of builds that share a repository with another image.

use std::collections::{BTreeMap, BTreeSet};

use super::{Build, EventKey, types};

/// Adds the id to default local tags and default cache references where several images share a repository.
///
/// Names that somebody wrote stay as they are: two builds with the same one are a fault.
pub fn tell_apart(builds: &mut [Build], cache: Option<&types::Cache>) {
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for build in builds.iter() {
        images.entry(build.repository.clone()).or_default().insert(build.image.clone());
    }
    let is_default_cache = cache.is_some_and(|cache| cache.registry == types::Cache::default().registry);
    for build in builds.iter_mut().filter(|build| images[&build.repository].len() > 1) {
        let id = &build.id;
        for policy in build.on.iter_mut().filter(|policy| policy.has_default_tags) {
            match policy.event {
                EventKey::PullRequest => policy.tags = vec![format!("pr-{{number}}-{id}")],
                EventKey::Local => policy.tags = vec![format!("local-{id}")],
                _ => {}
            }
        }
        if is_default_cache && build.cache_ref.is_some() {
            build.cache_ref = Some(format!("{}:buildcache-{id}", build.repository));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Env, EventKey, load_text};

    fn load(text: &str) -> Result<Config, String> {
        let text = format!("schema = 1\nregistry = 'r.example'\n{text}");
        load_text("/r".into(), "images.toml".into(), &text, &Env::new()).map_err(|error| error.to_string())
    }

    /// The tags of each build for an event.
    fn tags(config: &Config, event: &EventKey) -> Vec<String> {
        let policies = config.builds.iter().flat_map(|build| &build.on).filter(|policy| policy.event == *event);
        policies.map(|policy| policy.tags.join(" ")).collect()
    }

    fn caches(config: &Config) -> Vec<&str> {
        config.builds.iter().map(|build| build.cache_ref.as_deref().unwrap_or("none")).collect()
    }

    #[test]
    fn images_of_one_repository_have_local_tags_and_caches_of_their_own() {
        let two =
            "[image.web]\nrepository = 'shop/app'\n[image.worker]\nrepository = 'shop/app'\n[on.tag]\ntags = ['{semver}-{id}']\n";
        let config = load(&format!("{two}[cache]\n")).unwrap();
        assert_eq!(tags(&config, &EventKey::Local), ["local-web", "local-worker"]);
        assert_eq!(tags(&config, &EventKey::PullRequest), ["pr-{number}-web", "pr-{number}-worker"]);
        assert_eq!(caches(&config), ["shop/app:buildcache-web", "shop/app:buildcache-worker"]);

        let other = "[image.one]\nrepository = 'shop/one'\n";
        assert_eq!(tags(&load(&format!("{two}{other}")).unwrap(), &EventKey::Local), ["local", "local-web", "local-worker"]);

        // The same variants in both.
        let axes = "[axes]\npython = ['3.9', '3.10']\n";
        let image = |name: &str| format!("[image.{name}]\nvariant = 'py{{python}}'\nrepository = 'shop/app'\n");
        let matrix = format!("{axes}{}{}[on.tag]\ntags = ['{{semver}}-{{id}}']\n", image("a"), image("b"));
        let ids = ["local-a-py3.9", "local-a-py3.10", "local-b-py3.9", "local-b-py3.10"];
        assert_eq!(tags(&load(&matrix).unwrap(), &EventKey::Local), ids);
    }

    #[test]
    fn tags_that_somebody_wrote_are_not_told_apart() {
        let two = "[image.web]\nrepository = 'app'\n[image.worker]\nrepository = 'app'\n";
        for (more, fault) in [
            ("", "images.toml:5: `web` and `worker` share the tag app:{semver} in on.tag (nobody wrote on.tag.tags: write"),
            (
                "[on.tag]\ntags = ['{id}']\n[on.local]\ntags = ['dev']\n",
                "share the tag app:dev in on.local (put {id} into the tag or the repository)",
            ),
            (
                "[on.tag]\ntags = ['{id}']\n[cache]\nregistry = '{repository}:cache'\n",
                "share the cache ref app:cache (put {variant} or {id} into it)",
            ),
        ] {
            let error = load(&format!("{two}{more}")).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn a_cache_by_variant_is_for_images_without_axes_too() {
        let axes = "[axes]\npython = ['3.9', '3.10']\n[image.py]\nvariant = '{python}'\n";
        let cache = "[cache]\nregistry = 'cache:{variant}'\n";
        let config = load(&format!("{axes}[image.docs]\n{cache}")).unwrap();
        assert_eq!(caches(&config), ["cache:docs", "cache:3.9", "cache:3.10"]);
        let config = load("[image.docs]\n[image.site]\n[cache]\nregistry = 'cache:{image}-{variant}'\n").unwrap();
        assert_eq!(caches(&config), ["cache:docs-docs", "cache:site-site"]);
    }

    #[test]
    fn a_cache_by_an_axis_is_no_fault_of_an_image_that_writes_none() {
        let axes = "[axes]\npython = ['3.9']\n[image.py]\nvariant = '{python}'\n";
        let cache = "[cache]\nregistry = 'cache:{python}'\n";
        for silent in [
            "publish = false",
            "local-only = true",
            "on.tag.cache = 'read'",
            "on.tag = false\non.manual.tags = []\non.manual.cache = 'off'",
        ] {
            let config = load(&format!("{axes}[image.docs]\n{silent}\n{cache}")).map_err(|error| format!("{silent}: {error}"));
            assert_eq!(caches(&config.unwrap()), ["none", "cache:3.9"], "{silent}");
        }
        let error = load(&format!("{axes}[image.docs]\n{cache}")).unwrap_err();
        assert!(error.contains("`{python}` is not an axis of image `docs`"), "{error}");
    }
}
