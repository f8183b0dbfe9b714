//! The files of a context that the install steps of a Dockerfile name: `RUN pip install -r reqs/prod.lst`.

use std::collections::BTreeSet;

use camino::Utf8Path;

use super::sources;
use super::words::Vars;

/// Programs that install, each by its name without a version: `pip3.11` is `pip`.
const PROGRAMS: &str = "ansible-galaxy apk apt apt-get aptitude bun bundle cabal cargo composer conan conda cpanm deno dnf \
    dotnet dpkg gem go gradle helm luarocks mamba microdnf micromamba mise mix mvn npm nuget opam pacman pdm pip pip-sync \
    pipenv pipx pixi pnpm poetry rpm uv vcpkg yarn yum zypper";
/// What makes them install; `pip-sync` does nothing else.
const VERBS: &str = "--install --installdeps -S -i add ci create deps.get download env fetch get i install require restore \
    sync update upgrade";
/// What reads the file behind it, whose name then needs neither a dot nor a slash.
const READERS: &str = "--arg-file --constraint --constraints --file --requirement --requirements -a -c -f -r < cat";

/// What was found so far, and where the files of the context are in the image.
#[derive(Clone, Default)]
pub struct Installs {
    workdir: String,
    /// Source in the context, path in the image.
    places: Vec<(String, String)>,
    /// Paths in the context, and `**/NAME` where only the end of the path is known.
    named: BTreeSet<String>,
}

impl Installs {
    pub fn into_named(self) -> Vec<String> {
        self.named.into_iter().collect()
    }

    pub fn workdir(&mut self, path: &str) {
        self.workdir = self.absolute(path);
    }

    /// A source of COPY, ADD or a bind mount, and its place in the image.
    pub fn place(&mut self, source: &str, path: &str) {
        let place = (sources::clean(source).unwrap_or_default(), self.absolute(path));
        if !place.0.contains(['*', '?', '[']) && !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    /// The commands of a RUN instruction.
    pub fn run(&mut self, commands: &str, vars: &Vars) {
        let mut commands: Vec<Vec<String>> = split(commands).into_iter().map(|command| words(command, vars)).collect();
        if !commands.iter().any(|command| installs(command)) {
            return;
        }
        // A loop, or a variable that an earlier command fills, hands names on.
        let is_loop = commands.iter().flatten().any(|word| word == "done");
        commands.retain(|command| is_loop || installs(command) || assigns(command));
        for command in commands {
            // The first word is what is run.
            for (before, word) in command.iter().zip(command.iter().skip(1)) {
                let is_path = word.contains(['.', '/']) && !word.contains("://");
                let is_read = is_one_of(READERS, before) && !word.starts_with('-');
                if before != ">" && (is_path || is_read) {
                    self.name(word);
                }
            }
        }
    }

    /// A word that may name a file of the image.
    fn name(&mut self, word: &str) {
        let path = self.absolute(word);
        let before = self.named.len();
        for (source, place) in &self.places {
            let place = place.trim_end_matches('/');
            if path == *place {
                self.named.insert(source.clone());
            } else if let Some(below) = path.strip_prefix(place).and_then(|below| below.strip_prefix('/')) {
                // A file that was copied into a folder, or one of a folder that was copied.
                let is_file = source.rsplit('/').next() == Some(below);
                let inside = format!("{source}/{below}");
                self.named.insert(if is_file { source.clone() } else { inside.trim_start_matches('/').to_owned() });
            }
        }
        if self.named.len() > before {
            return;
        }
        let end = if word.starts_with('/') { path.rsplit('/').next().map(str::to_owned) } else { sources::clean(word) };
        self.named.extend(end.filter(|end| !end.is_empty()).map(|end| format!("**/{end}")));
    }

    fn absolute(&self, path: &str) -> String {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.workdir) };
        format!("/{}", sources::clean(&path).unwrap_or_default())
    }
}

/// Whether a file of the context is one of those that were found.
pub fn names(named: &[String], file: &Utf8Path) -> bool {
    named.iter().any(|name| match name.strip_prefix("**/") {
        Some(end) => sources::takes(name, None, file.as_str()) && file.file_name() == Utf8Path::new(end).file_name(),
        None => file == name,
    })
}

/// The commands of a shell line; those of a pipeline, and those in `$(…)`, are one.
fn split(text: &str) -> Vec<&str> {
    text.split(['\n', ';']).flat_map(|part| part.split("&&")).flat_map(|part| part.split("||")).collect()
}

/// The words of a command, and what stands behind `=`, `@` or the letter of an option.
fn words(command: &str, vars: &Vars) -> Vec<String> {
    let spaced = command.replace('<', " < ").replace('>', " > ").replace("$(", " ");
    let mut words = Vec::new();
    for word in spaced.split(|c: char| c.is_whitespace() || "()|`\"',[]=".contains(c)).filter(|word| !word.is_empty()) {
        let word = if word.contains('$') { vars.expand(word).unwrap_or_default() } else { word.to_owned() };
        let glued = ["-r", "-c"].iter().find_map(|option| word.strip_prefix(option)).filter(|rest| !rest.is_empty());
        words.push(glued.unwrap_or_else(|| word.trim_start_matches('@')).to_owned());
    }
    words
}

fn installs(command: &[String]) -> bool {
    let is_program = |word: &String| is_one_of(PROGRAMS, unversioned(word));
    if command.first().is_some_and(|first| first == "echo" || first == "printf") {
        return false;
    }
    command
        .iter()
        .position(is_program)
        .is_some_and(|at| unversioned(&command[at]) == "pip-sync" || command[at + 1..].iter().any(|word| is_one_of(VERBS, word)))
}

/// `NAME=…`, which `words` has cut at the sign.
fn assigns(command: &[String]) -> bool {
    command.first().is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
}

/// `/usr/bin/pip3.11`: `pip`
fn unversioned(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
}

fn is_one_of(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|one| one == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(places: &[(&str, &str)], run: &str) -> Vec<String> {
        let mut installs = Installs::default();
        installs.workdir("/app");
        places.iter().for_each(|(source, place)| installs.place(source, place));
        let known = [("LIST".to_owned(), Some("reqs/prod.lst".to_owned()))].into();
        installs.run(run, &Vars { known, others_may_exist: true, escape: '\\' });
        installs.into_named()
    }

    #[test]
    fn files_of_install_steps() {
        let copied = [(".", ".")];
        for (places, run, expected) in [
            (&copied[..], "pip install --no-cache-dir -r reqs/prod.lst", vec!["reqs/prod.lst"]),
            (&copied, "python3.11 -m pip install -rreqs/prod.lst", vec!["reqs/prod.lst"]),
            (&copied, "pip3 install --requirement=/app/reqs/prod.lst", vec!["reqs/prod.lst"]),
            (&copied, "pip install -r $LIST", vec!["reqs/prod.lst"]),
            (&copied, "uv pip sync list", vec![]),
            (&copied, "apt-get update && apt-get install -y git make", vec![]),
            (&copied, "apt-get install -y $(cat deps) && cat README.md", vec!["deps"]),
            (&copied, "xargs -a ./deps.list apt-get -y install; make -f build.mk", vec!["deps.list"]),
            (&copied, "grep -v '#' deps.list | xargs apk add", vec!["deps.list"]),
            (&copied, "while read p; do apt-get install $p; done < deps.list", vec!["deps.list"]),
            (&copied, "DEPS=\"$(cat deps.list)\" && dnf install $DEPS", vec!["deps.list"]),
            (&copied, "cat README.md && ./build.sh", vec![]),
            (&copied, "echo 'pip install' > README.md", vec![]),
            (&copied, "pip freeze install > README.md", vec![]),
            (&[("deps.list", "/d")], "apt-get install $(cat /d)", vec!["deps.list"]),
            (&[("reqs", "/r")], "pip install -r /r/prod.lst", vec!["reqs/prod.lst"]),
            (&[("reqs/prod.lst", "/tmp/"), ("a", "b")], "pip install -r /tmp/prod.lst", vec!["reqs/prod.lst"]),
            (&[("reqs/prod.lst", "r")], "pip install -r r", vec!["reqs/prod.lst"]),
            (&[("reqs/*.lst", "/tmp/")], "pip install -r /tmp/prod.lst", vec!["**/prod.lst"]),
            (&[], "npm install ./vendor/x.tgz https://example.com/y.tgz", vec!["**/vendor/x.tgz"]),
        ] {
            assert_eq!(named(places, run), expected, "{run}");
        }
    }

    #[test]
    fn names_of_which_only_the_end_is_known() {
        let list = ["**/prod.lst".to_owned(), "deps/x".to_owned()];
        for (file, is_named) in [
            ("prod.lst", true),
            ("a/b/prod.lst", true),
            ("prod.lst/README.md", false),
            ("xprod.lst", false),
            ("deps/x", true),
            ("a/deps/x", false),
            ("deps/x/y", false),
        ] {
            assert_eq!(names(&list, Utf8Path::new(file)), is_named, "{file}");
        }
    }
}
