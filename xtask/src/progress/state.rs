//! The lines of a running bake folded into one state a target: steps, what runs now, bytes pulled, logs, what was exported.

use std::collections::{BTreeMap, VecDeque};

use super::rawjson::{self, Status, Vertex};
use crate::visible;

/// How many lines of a step's log are kept, the last ones.
const LOG_LINES: usize = 200;

/// How many lines that are no status are kept at least, the last ones.
const MESSAGES: usize = 1000;
/// Bytes of a line of a step's log; what is longer is cut.
const LONGEST: usize = 1 << 16;

/// Everything that the lines have told so far.
#[derive(Debug, Default)]
pub struct State {
    targets: Vec<Target>,
    /// By digest of the vertex.
    logs: BTreeMap<String, Log>,
    /// Blob → (the target for which it was pulled first, bytes).
    blobs: BTreeMap<String, (usize, u64)>,
    /// Lines that are no status: buildx's own errors.
    pub messages: Vec<String>,
    /// Whether BuildKit has answered at all.
    pub answered: bool,
}

#[derive(Debug, Default)]
struct Target {
    name: String,
    /// By digest; folded, because a vertex comes again with every change.
    nodes: BTreeMap<String, Node>,
    exported: bool,
    digest: Option<String>,
}

#[derive(Debug, Default)]
struct Node {
    name: String,
    is_step: bool,
    running: bool,
    completed: bool,
    cached: bool,
    error: String,
    /// RFC 3339, "" while it has not; of the last time.
    started: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<String>,
    /// A line whose end has not come yet, up to [`LONGEST`] bytes.
    rest: String,
}

/// Steps of a target that are finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub total: usize,
    pub done: usize,
    pub cached: usize,
}

impl State {
    /// `names`: all targets of the bake file. With one alone, bake leaves it out of the vertex names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> State {
        let targets = names.into_iter().map(|name| Target { name: name.to_owned(), ..Target::default() }).collect();
        State { targets, ..State::default() }
    }

    /// Takes one line of output; returns the numbers of the targets whose steps or exports it is about.
    pub fn feed(&mut self, line: &str) -> Vec<usize> {
        let Some(status) = rawjson::parse(line) else {
            if !line.trim().is_empty() {
                self.messages.push(visible::line(line));
                if self.messages.len() > 2 * MESSAGES {
                    self.messages.drain(..MESSAGES);
                }
            }
            return Vec::new();
        };
        // buildx reads the bake file itself and tells so in the same form; the engine has no part in that.
        self.answered |= status.vertexes.iter().any(|vertex| vertex.name != "[internal] load local bake definitions");
        let mut touched: Vec<usize> = status.vertexes.iter().filter_map(|vertex| self.vertex(vertex)).collect();
        self.inside(&status);
        for log in &status.logs {
            self.logs.entry(log.vertex.clone()).or_default().push(&log.text);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn vertex(&mut self, vertex: &Vertex) -> Option<usize> {
        let (at, name) = self.owner(&vertex.name)?;
        let target = &mut self.targets[at];
        let node = target.nodes.entry(vertex.digest.clone()).or_default();
        node.is_step = is_step(&name);
        // A step from cache has begun, too, while its result is fetched.
        node.running = !vertex.started.is_empty() && !vertex.completed && !vertex.cached;
        node.started.clone_from(&vertex.started);
        node.completed |= vertex.completed;
        node.cached |= vertex.cached;
        node.error.clone_from(&vertex.error);
        target.exported |= name.starts_with("exporting to ") && vertex.completed && vertex.error.is_empty();
        node.name = name;
        Some(at)
    }

    /// Layers that are pulled, digests and names that are exported.
    fn inside(&mut self, status: &Status) {
        for step in &status.statuses {
            let owners = || (0..self.targets.len()).filter(|&at| self.targets[at].nodes.contains_key(&step.vertex));
            if step.id.starts_with("sha256:") {
                let first = owners().next();
                if let Some(at) = first {
                    let blob = self.blobs.entry(step.id.clone()).or_insert((at, 0));
                    blob.1 = blob.1.max(step.current);
                }
                continue;
            }
            for at in owners().collect::<Vec<_>>() {
                self.targets[at].export(&step.id);
            }
        }
    }

    /// The target of a vertex, and its name without it: `[app stage-0 2/3] RUN x`, `[app] exporting to image`.
    fn owner(&self, name: &str) -> Option<(usize, String)> {
        let inside = name.strip_prefix('[');
        let named = inside.and_then(|inside| {
            let at = |target: &Target| inside.strip_prefix(target.name.as_str()).filter(|rest| rest.starts_with([' ', ']']));
            self.targets.iter().enumerate().find_map(|(index, target)| at(target).map(|rest| (index, rest)))
        });
        match named {
            Some((at, rest)) => {
                Some((at, rest.strip_prefix("] ").map_or_else(|| format!("[{}", rest.trim_start()), str::to_owned)))
            }
            None => (self.targets.len() == 1).then(|| (0, name.to_owned())),
        }
    }

    /// Steps of a target without those of the targets that it is built on, which bake shows again.
    ///
    /// Counted by name, which says stage and place: it was seen that one step came under two digests.
    pub fn steps(&self, at: usize, parents: &[usize]) -> Steps {
        let mut steps: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for node in self.own(at, parents).filter(|node| node.is_step) {
            let (done, ran) = steps.entry(node.name.as_str()).or_default();
            *done |= node.completed;
            *ran |= node.completed && !node.cached;
        }
        let count = |wanted: fn(&(bool, bool)) -> bool| steps.values().filter(|step| wanted(step)).count();
        Steps { total: steps.len(), done: count(|(done, _)| *done), cached: count(|(done, ran)| *done && !ran) }
    }

    /// The step of its own that a target is running.
    pub fn current<'a>(&'a self, at: usize, parents: &'a [usize]) -> Option<&'a str> {
        let running = self.own(at, parents).filter(|node| node.running && node.is_step);
        running.max_by(|a, b| a.started.cmp(&b.started)).map(|node| node.name.as_str())
    }

    fn own<'a>(&'a self, at: usize, parents: &'a [usize]) -> impl Iterator<Item = &'a Node> {
        let shared = |digest: &String| parents.iter().any(|&parent| self.targets[parent].nodes.contains_key(digest));
        self.targets[at].nodes.iter().filter(move |(digest, _)| !shared(digest)).map(|(_, node)| node)
    }

    pub fn is_exported(&self, at: usize) -> bool {
        self.targets[at].exported
    }

    /// As told while exporting; the metadata file tells the same, but only if every target succeeds.
    pub fn digest(&self, at: usize) -> Option<&str> {
        self.targets[at].digest.as_deref()
    }

    /// Bytes pulled for a target; what several need counts for the first.
    pub fn pulled(&self, at: usize) -> u64 {
        self.blobs.values().filter(|(owner, _)| *owner == at).map(|(_, bytes)| bytes).sum()
    }

    /// The step that broke a target, with the end of its log; `None` when it was only cancelled.
    pub fn failing_step(&self, at: usize) -> Option<(String, Vec<String>)> {
        let (digest, node) = self.fault(at)?;
        Some((node.name.clone(), self.logs.get(digest).map(Log::all).unwrap_or_default()))
    }

    /// The step that a target was at when it was ended, with the end of its log.
    pub fn interrupted_step(&self, at: usize) -> Option<(String, Vec<String>)> {
        let begun = |node: &&Node| node.is_step && (node.running || !node.error.is_empty());
        let nodes = self.targets[at].nodes.iter().filter(|(_, node)| begun(node));
        let (digest, node) = nodes.max_by(|(_, a), (_, b)| a.started.cmp(&b.started))?;
        Some((node.name.clone(), self.logs.get(digest).map(Log::all).unwrap_or_default()))
    }

    /// Whether what broke a target is a step of this other one, on which it is built.
    pub fn is_fault_of(&self, at: usize, parent: usize) -> bool {
        self.fault(at).is_some_and(|(digest, _)| self.targets[parent].nodes.contains_key(digest))
    }

    fn fault(&self, at: usize) -> Option<(&String, &Node)> {
        self.targets[at].nodes.iter().filter(|(_, node)| node.is_at_fault()).max_by(|(_, a), (_, b)| a.started.cmp(&b.started))
    }

    /// What went wrong in a target, by the name of the vertex, whether or not it failed the build.
    pub fn errors(&self, at: usize) -> impl Iterator<Item = (&str, &str)> {
        let nodes = self.targets[at].nodes.values().filter(|node| !node.error.is_empty() && !node.is_cancelled());
        nodes.map(|node| (node.name.as_str(), node.error.as_str()))
    }

    /// The log of all steps of a target, each under its name.
    pub fn log(&self, at: usize) -> Vec<String> {
        let mut nodes: Vec<_> = self.targets[at].nodes.iter().filter(|(_, node)| node.is_step).collect();
        nodes.sort_by(|(_, a), (_, b)| (&a.started, &a.name).cmp(&(&b.started, &b.name)));
        let section = |(digest, node): &(&String, &Node)| {
            let cached = if node.cached { " (cached)" } else { "" };
            let heading = std::iter::once(format!("{}{cached}", node.name));
            heading.chain(self.logs.get(*digest).map(Log::all).unwrap_or_default()).collect::<Vec<_>>()
        };
        nodes.iter().flat_map(section).collect()
    }

    /// The target that bake itself names as the reason of its end, and what it says.
    pub fn verdict(&self) -> Option<(usize, &str)> {
        let error = self.messages.iter().rev().find_map(|line| line.strip_prefix("ERROR: "))?;
        if let Some(rest) = error.strip_prefix("target ") {
            let (name, why) = rest.split_once(": ")?;
            let at = self.targets.iter().position(|target| target.name == name)?;
            return Some((at, why));
        }
        (self.targets.len() == 1).then_some((0, error))
    }
}

impl Target {
    fn export(&mut self, what: &str) {
        let digest = ["exporting manifest list ", "exporting manifest ", "writing image "];
        if let Some((which, digest)) = digest.iter().enumerate().find_map(|(n, begin)| Some((n, what.strip_prefix(begin)?))) {
            // A list comes after the manifests that it names.
            if which == 0 || self.digest.is_none() {
                self.digest = Some(digest.to_owned());
            }
        }
    }
}

impl Node {
    /// An error of its own: neither cancelled for another's sake nor a cache that isn't there, which never fails a build.
    fn is_at_fault(&self) -> bool {
        !self.error.is_empty() && !self.is_cancelled() && !self.name.starts_with("importing cache manifest")
    }

    fn is_cancelled(&self) -> bool {
        ["context canceled", "Canceled", "context cancelled"].iter().any(|word| self.error.contains(word))
    }
}

impl Log {
    fn push(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            let line = part.strip_suffix('\n');
            let part = line.unwrap_or(part);
            // Of a line that is drawn again and again the last state counts.
            if self.rest.len() + part.len() > LONGEST && part.contains('\r') {
                self.rest.clear();
            }
            let room = LONGEST.saturating_sub(self.rest.len());
            let part = if part.len() > room { part.trim_end_matches('\r').rsplit('\r').next().unwrap_or(part) } else { part };
            let mut end = room.min(part.len());
            while !part.is_char_boundary(end) {
                end -= 1;
            }
            self.rest.push_str(&part[..end]);
            if line.is_some() {
                self.lines.push_back(clean(&std::mem::take(&mut self.rest)));
            }
        }
        while self.lines.len() > LOG_LINES {
            self.lines.pop_front();
        }
    }

    fn all(&self) -> Vec<String> {
        let rest = (!self.rest.is_empty()).then(|| clean(&self.rest));
        self.lines.iter().cloned().chain(rest).collect()
    }
}

/// A line as a terminal would leave it: only what follows the last carriage return.
fn clean(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    visible::line(line.rsplit('\r').next().unwrap_or(line))
}

/// `[stage-0 2/5] RUN …`: what a Dockerfile does; not exporters, cache imports, context transfers and FROM.
fn is_step(name: &str) -> bool {
    let Some((inside, instruction)) = name.strip_prefix('[').and_then(|name| name.split_once("] ")) else { return false };
    let place = inside.rsplit(' ').next().and_then(|place| place.split_once('/'));
    let numbered = place.is_some_and(|(n, m)| n.parse::<u32>().is_ok() && m.parse::<u32>().is_ok());
    numbered && ["RUN ", "COPY ", "ADD ", "WORKDIR "].iter().any(|word| instruction.starts_with(word))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
