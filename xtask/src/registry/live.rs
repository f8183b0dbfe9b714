//! A real registry, through `crane` where it is, else through `docker buildx imagetools`.

mod manifest;
mod peek;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::packages::{self, Package};
use super::said::{Said, said};
use super::{Digest, Image, Listed, Node, Registry, Wanted, Wrote, by_tags, crane, split};
use crate::cmd::{Cmd, Effect};
use crate::docker;
use crate::error::Fault;
use crate::exec::Runner;
use manifest::{by_platform, children, parts, size};
pub use peek::{Peek, Peeked};

/// Waits between attempts. crane itself tries a 5xx three times before it gives up.
const WAITS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];
/// How long a write that Ctrl-C finds on its way may take. Cut off, it might arrive after it was undone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live {
    runner: Runner,
    has_crane: bool,
    cleanup: bool,
    /// `REPOSITORY@DIGEST` → its number at GitHub, of what was listed.
    numbers: Arc<Mutex<BTreeMap<String, String>>>,
    /// `REPOSITORY@DIGEST` → the manifest, of what was listed.
    manifests: Arc<Mutex<BTreeMap<String, Value>>>,
}

enum Answer {
    Text(String),
    Absent,
    Unsupported,
    Printed,
}

impl Live {
    pub fn new(runner: &Runner) -> Live {
        Live {
            runner: runner.clone(),
            has_crane: runner.which("crane").is_some(),
            cleanup: false,
            numbers: Arc::default(),
            manifests: Arc::default(),
        }
    }

    /// The same registry for undoing: works after Ctrl-C too.
    pub fn for_cleanup(&self) -> Live {
        Live { cleanup: true, ..self.clone() }
    }

    fn effect(&self, effect: Effect) -> Effect {
        if self.cleanup { Effect::Cleanup } else { effect }
    }

    /// Runs a tool until it answers; everything asked here may be asked twice.
    fn ask(&self, cmd: &Cmd) -> Result<Answer> {
        let mut waits = WAITS.iter();
        loop {
            let exit = self.runner.output(cmd)?;
            if exit.skipped {
                return Ok(Answer::Printed);
            }
            if exit.ok() {
                return Ok(Answer::Text(exit.stdout));
            }
            let said = match &exit {
                exit if exit.overflowed => Said::Other,
                exit if exit.timed_out => Said::Transient,
                exit => said(&exit.stderr),
            };
            match said {
                Said::Absent => return Ok(Answer::Absent),
                Said::Unsupported => return Ok(Answer::Unsupported),
                Said::Transient => match waits.next() {
                    Some(wait) => thread::sleep(*wait),
                    None => return Err(self.fault(cmd, &exit, said)),
                },
                Said::NotLoggedIn | Said::Denied | Said::Other => return Err(self.fault(cmd, &exit, said)),
            }
        }
    }

    /// Runs a tool that writes.
    fn write(&self, cmd: Cmd) -> Result<Answer> {
        self.ask(&Cmd { patience: PATIENCE, ..cmd })
    }

    fn fault(&self, cmd: &Cmd, exit: &crate::exec::Exit, said: Said) -> anyhow::Error {
        let last =
            exit.stderr.trim().lines().last().unwrap_or_default().trim_start_matches("Error: ").trim_start_matches("ERROR: ");
        let last = if exit.timed_out || exit.overflowed { exit.reason(cmd) } else { last.to_owned() };
        let why = &cmd.why;
        match said {
            Said::NotLoggedIn if cmd.program == "gh" => Fault::not_ready(format!("cannot {why}: gh is not logged in"))
                .hint("set GH_TOKEN (in GitHub Actions `GH_TOKEN: ${{ github.token }}`), or run `gh auth login`"),
            Said::Denied if cmd.program == "gh" => Fault::not_ready(format!("cannot {why}: denied: {last}"))
                .hint("the account needs the role Admin of the package (its settings, \"Manage Actions access\"), a token of one's own the scopes read:packages and delete:packages"),
            Said::NotLoggedIn => Fault::not_ready(format!("cannot {why}: not logged in: {last}")).hint("run `cargo xtask login`"),
            Said::Denied => Fault::not_ready(format!("cannot {why}: denied: {last}"))
                .hint("the account must be allowed to write there; in GitHub Actions the job needs `packages: write`"),
            Said::Transient => {
                Fault::failed(format!("cannot {why}: the registry did not answer, {} times: {last}", WAITS.len() + 1))
                    .hint("run the same command again: it finds what is done and does the rest")
            }
            Said::Other if last.contains("docker --help") => {
                Fault::not_ready(format!("cannot {why}: docker has no buildx")).hint("install docker-buildx-plugin, or crane")
            }
            Said::Absent | Said::Unsupported | Said::Other => Fault::failed(format!("cannot {why}: {last}")),
        }
        .into()
    }

    /// Bytes of what a reference holds, without what only describes it; `None`: there is no such reference.
    ///
    /// # Errors
    /// Those of [`Registry::digest`].
    pub fn held(&self, reference: &str) -> Result<Option<u64>> {
        let Some(top) = self.manifest(reference)? else { return Ok(None) };
        let repository = reference.split('@').next().map_or(reference, |name| split(name).0);
        let mut bytes = 0;
        for one in parts(&top) {
            let is_manifest = one["mediaType"].as_str().is_some_and(|kind| kind.contains("manifest"));
            let child = one["digest"].as_str().filter(|_| is_manifest);
            bytes += match child.map(|digest| self.manifest(&format!("{repository}@{digest}"))) {
                // An index of images; that of a cache lists layers.
                Some(child) => child?.iter().flat_map(parts).map(size).sum(),
                None => size(one),
            };
        }
        Ok(Some(bytes))
    }

    /// (platform, `REPOSITORY@DIGEST`) of each image of an index; none of what is no index, or is not there.
    ///
    /// # Errors
    /// Those of [`Registry::digest`].
    pub fn by_platform(&self, reference: &str) -> Result<Vec<(String, String)>> {
        Ok(self.manifest(reference)?.map(|index| by_platform(&index, reference)).unwrap_or_default())
    }

    /// The manifest or index of a reference.
    fn manifest(&self, reference: &str) -> Result<Option<Value>> {
        let read = self.effect(Effect::Probe);
        self.json(&match self.has_crane {
            true => crane::manifest(read, reference),
            false => docker::imagetools_manifest(read, reference),
        })
    }

    fn digest_of(&self, effect: Effect, reference: &str) -> Cmd {
        if self.has_crane { crane::digest(effect, reference) } else { docker::imagetools_digest(effect, reference) }
    }

    fn json(&self, cmd: &Cmd) -> Result<Option<Value>> {
        match self.ask(cmd)? {
            Answer::Text(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("cannot {}: not JSON", cmd.why))?)),
            Answer::Absent | Answer::Unsupported | Answer::Printed => Ok(None),
        }
    }

    /// The digest of a tag by the bytes of its manifest, which is remembered: whoever lists tags asks for it next.
    fn digest_by_manifest(&self, reference: &str) -> Result<Option<Digest>> {
        let Some(text) = self.text(&crane::manifest(self.effect(Effect::Probe), reference))? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_str::<Value>(&text) else { return self.digest(reference) };
        // What was signed in the first format has not the digest of its bytes; nor has what was no UTF-8.
        if manifest["schemaVersion"] != 2 || text.contains('\u{fffd}') {
            return self.digest(reference);
        }
        let digest = Digest::of(text.as_bytes());
        let name = format!("{}@{digest}", split(reference).0);
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner).insert(name, manifest);
        Ok(Some(digest))
    }

    /// The manifest of `REPOSITORY@DIGEST`, which never changes.
    fn listed_manifest(&self, reference: &str) -> Result<Option<Value>> {
        let known = self.manifests.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned();
        match known {
            Some(manifest) => Ok(Some(manifest)),
            None => self.json(&crane::manifest(self.effect(Effect::Probe), reference)),
        }
    }

    /// What a tool prints; `None`: there is no such thing.
    fn text(&self, cmd: &Cmd) -> Result<Option<String>> {
        match self.ask(cmd)? {
            Answer::Text(text) => Ok(Some(text)),
            Answer::Absent | Answer::Unsupported | Answer::Printed => Ok(None),
        }
    }

    fn images_by_crane(&self, reference: &str) -> Result<Option<Vec<Image>>> {
        let Some(manifest) = self.manifest(reference)? else { return Ok(None) };
        let mut children = children(&manifest, reference);
        if manifest.get("manifests").is_none() {
            children.push(reference.to_owned());
        }
        let config = |child: &String| self.json(&crane::config(self.effect(Effect::Probe), child));
        Ok(Some(super::each(&children, config)?.iter().flatten().map(Image::from_config).collect()))
    }
}

impl Registry for Live {
    fn digest(&self, reference: &str) -> Result<Option<Digest>> {
        let read = self.effect(Effect::Probe);
        match self.ask(&self.digest_of(read, reference))? {
            Answer::Text(text) => Ok(Some(Digest::parse(text.trim())?)),
            Answer::Absent | Answer::Unsupported | Answer::Printed => Ok(None),
        }
    }

    fn content(&self, reference: &str) -> Result<Option<Digest>> {
        let read = self.effect(Effect::Probe);
        let cmd = if self.has_crane { crane::manifest(read, reference) } else { docker::imagetools_manifest(read, reference) };
        Ok(self.text(&cmd)?.map(|text| Digest::of(text.as_bytes())))
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>> {
        if !self.has_crane {
            let fault = Fault::not_ready(format!("cannot list the tags of {repository} without crane"));
            return Err(fault.hint("install crane, or run `cargo xtask doctor`").into());
        }
        match self.ask(&crane::tags(self.effect(Effect::Probe), repository))? {
            Answer::Text(text) => Ok(text.lines().map(str::to_owned).collect()),
            Answer::Absent | Answer::Unsupported | Answer::Printed => Ok(Vec::new()),
        }
    }

    fn list(&self, repository: &str, wanted: Wanted<'_>) -> Result<Vec<Listed>> {
        let Some(package) = Package::of(repository) else {
            return by_tags(self, repository, wanted, |name| self.digest_by_manifest(name));
        };
        if self.runner.which("gh").is_none() {
            let fault = Fault::not_ready(format!("cannot list the packages of ghcr.io/{} without gh", package.owner));
            return Err(fault.hint("install gh (https://cli.github.com), which GitHub's runners have").into());
        }
        let read = self.effect(Effect::Probe);
        let Some(kind) = self.text(&package.kind(read))? else { return Ok(Vec::new()) };
        let Some(text) = self.text(&package.list(read, &kind))? else { return Ok(Vec::new()) };
        let (ids, listed): (Vec<String>, Vec<Listed>) = packages::read(&text).into_iter().unzip();
        let names = listed.iter().map(|manifest| format!("{repository}@{}", manifest.digest));
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).extend(names.zip(ids));
        Ok(listed)
    }

    fn images(&self, reference: &str) -> Result<Option<Vec<Image>>> {
        if self.has_crane {
            return self.images_by_crane(reference);
        }
        let images = self.json(&docker::imagetools_image(self.effect(Effect::Probe), reference))?;
        // One image, or a table by platform.
        Ok(images.map(|images| match images.get("rootfs") {
            Some(_) => vec![Image::from_config(&images)],
            None => images.as_object().into_iter().flat_map(|images| images.values()).map(Image::from_config).collect(),
        }))
    }

    fn node(&self, reference: &str) -> Result<Option<Node>> {
        let Some(manifest) = self.listed_manifest(reference)? else { return Ok(None) };
        let digest = |text: &Value| Digest::parse(text.as_str()?).ok();
        let named = manifest["manifests"].as_array().into_iter().flatten();
        Ok(Some(Node {
            children: named.filter_map(|child| digest(&child["digest"])).collect(),
            subject: digest(&manifest["subject"]["digest"]),
        }))
    }

    fn first_image(&self, reference: &str) -> Result<Option<Image>> {
        let Some(manifest) = self.listed_manifest(reference)? else { return Ok(None) };
        let (read, config) = (self.effect(Effect::Probe), &manifest["config"]);
        let repository = reference.split('@').next().unwrap_or(reference);
        let image = match (children(&manifest, reference).into_iter().next(), config["digest"].as_str()) {
            (Some(first), _) => self.json(&crane::config(read, &first))?,
            (None, Some(digest)) if config["mediaType"].as_str().is_some_and(|kind| kind.contains("image")) => {
                self.json(&crane::blob(read, &format!("{repository}@{digest}")))?
            }
            (None, _) => None,
        };
        Ok(image.as_ref().map(Image::from_config))
    }

    fn tag(&self, repository: &str, digest: &Digest, reference: &str) -> Result<Wrote> {
        let write = self.effect(Effect::Change);
        let source = format!("{repository}@{digest}");
        let cmd = match split(reference) {
            _ if !self.has_crane => docker::imagetools_create(write, &source, reference, None),
            (same, tag) if same == repository => crane::tag(write, &source, tag),
            _ => crane::copy(write, &source, reference),
        };
        let why = cmd.why.clone();
        let failed = match self.write(cmd) {
            Ok(Answer::Text(_)) => return Ok(Wrote::Done),
            Ok(Answer::Printed) => return Ok(Wrote::Printed),
            Ok(Answer::Absent) => Fault::refused(format!("cannot {why}: {source} is not there any more")).into(),
            Ok(Answer::Unsupported) => Fault::failed(format!("cannot {why}: the registry does not support it")).into(),
            Err(error) => error,
        };
        // A write may have arrived although its answer was lost.
        match self.digest(reference) {
            Ok(Some(now)) if now == *digest => Ok(Wrote::Done),
            _ => Err(failed),
        }
    }

    fn twin(&self, repository: &str, index: &Digest, reference: &str) -> Result<Option<Digest>> {
        let source = format!("{repository}@{index}");
        let write = self.effect(Effect::Change);
        match self.write(docker::imagetools_create(write, &source, reference, Some(reference)))? {
            Answer::Printed => Ok(None),
            _ => {
                let lost = || Fault::failed(format!("{reference} was written, and is not there"));
                Ok(Some(self.digest(reference)?.ok_or_else(lost)?))
            }
        }
    }

    fn delete(&self, repository: &str, digest: &Digest) -> Result<Wrote> {
        let (write, name) = (self.effect(Effect::Change), format!("{repository}@{digest}"));
        let cmd = match Package::of(repository) {
            None => crane::delete(write, &name),
            Some(package) => {
                let number = self.numbers.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
                // What was not listed is not there.
                let Some(number) = number else { return Ok(Wrote::Done) };
                let Some(kind) = self.text(&package.kind(self.effect(Effect::Probe)))? else { return Ok(Wrote::Unsupported) };
                package.delete(write, &kind, &number)
            }
        };
        match self.write(cmd)? {
            // Somebody else was there first.
            Answer::Text(_) | Answer::Absent => Ok(Wrote::Done),
            Answer::Printed => Ok(Wrote::Printed),
            Answer::Unsupported => Ok(Wrote::Unsupported),
        }
    }

    /// Deletes the tag where that exists. Elsewhere only digests can be deleted, with every tag they have: then the
    /// tag first gets an index that nothing else points at, and that is deleted.
    fn untag(&self, reference: &str) -> Result<Wrote> {
        let write = self.effect(Effect::Change);
        if !self.has_crane {
            return Ok(Wrote::Unsupported);
        }
        match self.write(crane::delete(write, reference))? {
            Answer::Text(_) | Answer::Absent => return Ok(Wrote::Done),
            Answer::Printed => return Ok(Wrote::Printed),
            Answer::Unsupported => {}
        }
        let repository = split(reference).0;
        let nobody = format!("{repository}@{}", Digest::nobodys());
        if let Answer::Unsupported = self.write(crane::delete(write, &nobody))? {
            return Ok(Wrote::Unsupported);
        }
        let Some(old) = self.digest(reference)? else { return Ok(Wrote::Done) };
        let source = format!("{repository}@{old}");
        self.write(docker::imagetools_create(write, &source, reference, Some(reference)))?;
        match self.digest(reference)? {
            Some(index) if index != old => match self.write(crane::delete(write, &format!("{repository}@{index}")))? {
                Answer::Text(_) | Answer::Absent => Ok(Wrote::Done),
                Answer::Unsupported | Answer::Printed => {
                    self.tag(repository, &old, reference)?;
                    Ok(Wrote::Unsupported)
                }
            },
            Some(_) => Ok(Wrote::Unsupported),
            None => Ok(Wrote::Done),
        }
    }
}
