//! Everything that is wrong with the file, gathered, so that it is reported at once: `file:line: what (how to fix)`.

use std::collections::BTreeSet;

use crate::error::Fault;

/// Faults in the order of their lines, those of `images.toml` before those of the files that it names.
#[derive(Debug)]
pub struct Faults {
    file: String,
    /// (whether in another file, file, line, text): each once.
    found: BTreeSet<(bool, String, usize, String)>,
    /// (line, subject): what is reported once, for the first of many builds.
    once: BTreeSet<(usize, String)>,
}

impl Faults {
    /// `file`: as it is named in messages.
    pub fn new(file: impl Into<String>) -> Faults {
        Faults { file: file.into(), found: BTreeSet::new(), once: BTreeSet::new() }
    }

    /// A fault on a line of `images.toml`.
    pub fn at(&mut self, line: usize, text: impl Into<String>) {
        self.found.insert((false, self.file.clone(), line, text.into()));
    }

    /// Like `at`, but only the first fault about `subject` on this line: one mistake can spoil a thousand builds.
    pub fn once(&mut self, line: usize, subject: &str, text: impl Into<String>) {
        if self.once.insert((line, subject.to_owned())) {
            self.at(line, text);
        }
    }

    /// A fault on a line of a file that `images.toml` names.
    pub fn elsewhere(&mut self, file: &str, line: usize, text: impl Into<String>) {
        self.found.insert((true, file.to_owned(), line, text.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The one error that lists them all.
    pub fn into_error(self) -> anyhow::Error {
        let count = self.found.len();
        let plural = if count == 1 { "" } else { "s" };
        let mut message = format!("cannot load {}: {count} fault{plural}", self.file);
        for (_, file, line, text) in &self.found {
            message.push_str(&format!("\n{file}:{line}: {text}"));
        }
        Fault::usage(message).into()
    }
}

/// The name that was probably meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let alike = strsim::jaro_winkler(&name, &candidate);
        let typos = strsim::damerau_levenshtein(&name, &candidate);
        let close = candidate.len() > 2 && typos <= 1.max(candidate.len() / 3);
        let begun = name.len() > 2 && candidate.starts_with(&name);
        (close || begun || alike >= 0.9).then_some(alike)
    };
    let best = known.into_iter().filter_map(|candidate| Some((near(candidate)?, candidate)));
    best.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// "did you mean `tags`?", else what there is: "known: a, b, c".
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "there is none".into(),
        None if known.len() > SHOWN => format!("known: {}, and {} more", known[..SHOWN].join(", "), known.len() - SHOWN),
        None => format!("known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_listed_once_and_by_line() {
        let mut faults = Faults::new("docker/images.toml");
        faults.elsewhere("VERSION", 1, "is empty");
        faults.at(10, "later");
        faults.at(9, "earlier");
        faults.at(9, "earlier");
        faults.once(9, "tag", "first");
        faults.once(9, "tag", "second");
        let expected = "cannot load docker/images.toml: 4 faults\ndocker/images.toml:9: earlier\ndocker/images.toml:9: first\n\
                        docker/images.toml:10: later\nVERSION:1: is empty";
        assert_eq!(faults.into_error().to_string(), expected);
    }

    #[test]
    fn a_near_name_is_offered_else_the_list() {
        for (name, expected) in [
            ("platform", "did you mean `platforms`?"),
            ("TAGS", "did you mean `tags`?"),
            ("flie", "did you mean `file`?"),
            ("2", "known: platforms, tags, file"),
        ] {
            assert_eq!(suggest(name, ["platforms", "tags", "file"]), expected, "{name}");
        }
    }
}
