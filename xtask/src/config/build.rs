//! One build: the keys that hold at its point, with every placeholder filled that needs no event.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use camino::Utf8PathBuf;

use super::condition::Subject;
use super::expand::Context;
use super::faults::Faults;
use super::fill::Names;
use super::keys::{self, Keys};
use super::layer::{self, Layered, When};
use super::matrix::Point;
use super::types::{self, AxisFile, OneOrMany, Secret};
use super::{Build, EventKey, Policy, Test, image_test};

/// What the builds of one image share.
pub struct Builder<'a> {
    pub cx: &'a Context<'a>,
    pub name: &'a str,
    pub whens: &'a [When],
    pub base: &'a Layered,
    /// With whether something in it differs from build to build.
    pub policies: Vec<(Policy, bool)>,
    /// See [`super::matrix::is_apart`].
    pub apart: bool,
    /// The reference of the registry's cache, as written.
    pub cache: Option<&'a str>,
    /// By which of `whens` hold: most builds share theirs.
    pub prepared: HashMap<Vec<bool>, Rc<Keys>>,
}

impl Builder<'_> {
    /// Two `when` that set one key differently are a fault if some point meets both.
    pub fn check_conflicts(&self, points: &[Point], faults: &mut Faults) {
        for (first, second, key) in layer::conflicts(self.cx.document, self.whens) {
            let (first, second) = (&self.whens[first], &self.whens[second]);
            let meets = |point: &Point| {
                let subject = Subject { image: self.name, id: "", point, axes: self.cx.axes };
                first.condition.holds(&subject) && second.condition.holds(&subject)
            };
            if !points.iter().any(meets) {
                continue;
            }
            let line = |when: &When| self.cx.document.line(&[&when.path[..], &key[..]].concat());
            let mut both = [(line(first), &first.condition.text), (line(second), &second.condition.text)];
            both.sort();
            let [(above, one), (below, two)] = both;
            let key = key.join(".");
            let said =
                format!("when.\"{two}\" and when.\"{one}\" (line {above}) set `{key}` differently, and some builds meet both");
            faults.at(below, format!("{said} (make the conditions exclude each other)"));
        }
    }

    /// The build at a point.
    pub fn build(&mut self, variant: &str, point: Point, faults: &mut Faults) -> Build {
        let cx = self.cx;
        let mut names = Names { axes: &point, image: self.name, namespace: cx.namespace, ..Names::default() };
        let variant = names.fill(variant);
        let id = if variant.is_empty() { self.name.to_owned() } else { format!("{}-{variant}", self.name) };
        (names.variant, names.id) = (&variant, &id);
        let keys = self.keys(&names, faults);
        let written = &keys.written;
        let repository = names.fill_repository(written.repository.as_deref().unwrap_or("{namespace}/{id}"));
        names.repository = &repository;
        let mut paths = Paths { cx, keys: &keys, names, faults };
        let context = paths.path("context", written.context.as_deref().unwrap_or("."));
        paths.names.context = context.as_str();
        let dockerfile = paths.path("dockerfile", written.dockerfile.as_deref().unwrap_or(default_dockerfile(written, &variant)));
        let template = written.template.as_ref().map(|text| paths.path("template", text));
        let secrets = written.secrets.iter().map(|(name, secret)| (name.clone(), paths.secret(secret))).collect();
        let tests = paths.tests();
        let fill = |text: &String| names.fill(text);
        let happens = |(policy, _): &&(Policy, bool)| written.local_only != Some(true) || policy.event == EventKey::Local;
        let filled = |(policy, differs): &(Policy, bool)| if *differs { names.policy(policy) } else { policy.clone() };
        let fill_all = |texts: &BTreeMap<String, String>, fill: &dyn Fn(&str) -> String| {
            texts.iter().map(|(name, text)| (name.clone(), fill(text))).collect()
        };
        Build {
            target: written.target.as_ref().map(fill),
            parents: written.parent.iter().flat_map(OneOrMany::to_vec).map(|text| keys::parent(&names.fill(&text))).collect(),
            platforms: written.platforms.clone().unwrap_or_else(|| vec!["linux/amd64".into()]),
            args: fill_all(&written.args, &|text| names.fill_known(text)),
            vars: fill_all(&written.vars, &|text| names.fill(text)),
            labels: fill_all(&written.labels, &|text| names.fill_known(text)),
            dependencies: written.dependencies.as_ref().map(|list| list.iter().map(fill).collect()),
            publish: written.publish.unwrap_or(true) && written.local_only != Some(true),
            local_only: written.local_only.unwrap_or(false),
            timeout: keys.timeout,
            cache_ref: self.cache_ref().map(|text| {
                // An image without axes has no variant: its id tells its cache from those of others.
                let variant = if variant.is_empty() { &id } else { &variant };
                Names { variant, ..names }.fill_repository(text)
            }),
            candidates: names.fill_repository(cx.candidates),
            on: self.policies.iter().filter(happens).map(filled).collect(),
            image: self.name.to_owned(),
            secrets,
            tests,
            context,
            dockerfile,
            template,
            repository: repository.clone(),
            id: id.clone(),
            variant: variant.clone(),
            axes: point.clone(),
        }
    }

    /// The keys that hold at a point, checked when they are first met.
    fn keys(&mut self, names: &Names<'_>, faults: &mut Faults) -> Rc<Keys> {
        let subject = Subject { image: self.name, id: names.id, point: names.axes, axes: self.cx.axes };
        let active: Vec<bool> = self.whens.iter().map(|when| when.condition.holds(&subject)).collect();
        let prepare = |active: &Vec<bool>| {
            let mut layers = self.base.clone();
            for (when, _) in self.whens.iter().zip(active).filter(|(_, active)| **active) {
                layers.lay(self.cx.document, when.path.clone());
            }
            Rc::new(keys::prepare(layers, self.name, self.cx.document, faults))
        };
        Rc::clone(self.prepared.entry(active).or_insert_with_key(prepare))
    }

    fn cache_ref(&self) -> Option<&str> {
        let written = self.cache?;
        let default = written == types::Cache::default().registry;
        Some(if default && !self.apart { "{repository}:buildcache-{variant}" } else { written })
    }
}

fn default_dockerfile(written: &types::Image, variant: &str) -> &'static str {
    match (&written.template, variant) {
        (None, _) => "{context}/Dockerfile",
        (Some(_), "") => "docker/dockerfiles/Dockerfile.{image}",
        (Some(_), _) => "docker/dockerfiles/Dockerfile.{variant}",
    }
}

/// The keys of one build that can be wrong only once they are filled.
struct Paths<'a> {
    cx: &'a Context<'a>,
    keys: &'a Keys,
    names: Names<'a>,
    faults: &'a mut Faults,
}

impl Paths<'_> {
    /// A path inside the repository; what is wrong with it is reported for the first build.
    fn path(&mut self, key: &str, text: &str) -> Utf8PathBuf {
        let text = self.names.fill(text);
        self.cx.root.inside(&text).unwrap_or_else(|said| {
            let line = self.keys.layers.line(self.cx.document, &[key]);
            self.faults.once(line, key, format!("{key} of `{}`: {said}", self.names.id));
            // The repository itself, so that what is below it is not reported too.
            Utf8PathBuf::from(".")
        })
    }

    fn secret(&mut self, secret: &Secret) -> Secret {
        match secret {
            Secret::Env(text) => Secret::Env(text.clone()),
            Secret::File(source) => Secret::File(AxisFile { file: self.path("secrets", &source.file).into_string() }),
        }
    }

    fn tests(&mut self) -> Vec<Test> {
        let one = matches!(self.keys.written.test, OneOrMany::One(_));
        let mut tests = Vec::new();
        for (index, test) in self.keys.written.test.to_vec().iter().enumerate() {
            let found = match image_test::resolve(test, self.names.id, index, self.cx.root, &|text| self.names.fill(text)) {
                Ok(test) => {
                    tests.push(test);
                    continue;
                }
                Err(found) => found,
            };
            for (key, said) in found {
                let index = index.to_string();
                let path: &[&str] = if one { &["test", key] } else { &["test", &index, key] };
                let line = self.keys.layers.line(self.cx.document, path);
                self.faults.once(line, key, format!("test of `{}`: {said}", self.names.id));
            }
        }
        tests
    }
}
