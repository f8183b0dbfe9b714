//! A process to start, as a value: rendered for people, compared in tests, started by `exec`.

use std::fmt;
use std::time::Duration;

use camino::Utf8PathBuf;

/// Whether a command changes anything outside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Only reads: runs under `--dry-run` too.
    Probe,
    /// Changes something: printed, not run, under `--dry-run`.
    Change,
    /// Tidies up after us: like `Change`, and runs even after Ctrl-C.
    Cleanup,
}

/// One process. Secrets go to `stdin` only, never into `args`, and into no `env`, which is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    pub program: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Variables of ours that it does not get.
    pub unset: &'static [&'static str],
    pub stdin: Option<String>,
    /// The command that prints what goes to stdin, where there is one.
    pub stdin_from: Option<String>,
    /// A file that goes to stdin.
    pub stdin_file: Option<Utf8PathBuf>,
    pub dir: Option<Utf8PathBuf>,
    /// Completes "to …": "to build python-cpu-py3.11".
    pub why: String,
    pub effect: Effect,
    /// After this long the whole process group is ended. `None` is for commands that end by themselves.
    pub timeout: Option<Duration>,
    /// More bytes than these of stdout or of stderr are no answer: the command is ended. `None`: any number.
    pub most: Option<usize>,
    /// After Ctrl-C it may go on for so long: what is cut off half-way may still happen, after we have tidied up.
    pub patience: Duration,
}

impl Cmd {
    fn new(program: &str, effect: Effect, why: impl Into<String>) -> Cmd {
        Cmd {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            unset: &[],
            stdin: None,
            stdin_from: None,
            stdin_file: None,
            dir: None,
            why: why.into(),
            effect,
            timeout: None,
            most: None,
            patience: Duration::ZERO,
        }
    }

    /// A command that only reads. `why` completes "to …".
    pub fn probe(program: &str, why: impl Into<String>) -> Cmd {
        Cmd::new(program, Effect::Probe, why)
    }

    /// A command that changes something. `why` completes "to …".
    pub fn change(program: &str, why: impl Into<String>) -> Cmd {
        Cmd::new(program, Effect::Change, why)
    }

    /// A command that tidies up and is run even after Ctrl-C. `why` completes "to …".
    pub fn cleanup(program: &str, why: impl Into<String>) -> Cmd {
        Cmd::new(program, Effect::Cleanup, why)
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Cmd {
        self.args.push(arg.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Cmd {
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn stdin(mut self, text: impl Into<String>) -> Cmd {
        self.stdin = Some(text.into());
        self
    }

    /// `command` prints the same text.
    pub fn stdin_from(mut self, command: impl Into<String>) -> Cmd {
        self.stdin_from = Some(command.into());
        self
    }

    pub fn stdin_file(mut self, path: impl Into<Utf8PathBuf>) -> Cmd {
        self.stdin_file = Some(path.into());
        self
    }

    /// The program, where it has a path from where the command runs: else `./a` would be a file of where we are.
    pub fn file(&self) -> String {
        let place = self.dir.as_ref().filter(|_| self.program.contains('/'));
        place.map_or_else(|| self.program.clone(), |dir| dir.join(&self.program).into_string())
    }

    pub fn dir(mut self, dir: impl Into<Utf8PathBuf>) -> Cmd {
        self.dir = Some(dir.into());
        self
    }

    /// Ends it when it prints more bytes than these; only where the output is collected.
    pub fn most(mut self, bytes: usize) -> Cmd {
        self.most = Some(bytes);
        self
    }

    pub fn timeout(mut self, limit: Duration) -> Cmd {
        self.timeout = Some(limit);
        self
    }
}

/// The line a person can paste into a shell; a secret that goes to stdin is left out.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = &self.dir {
            write!(f, "cd {} && ", shell_words::quote(dir.as_str()))?;
        }
        if let Some(source) = &self.stdin_from {
            write!(f, "{source} | ")?;
        }
        for (name, value) in &self.env {
            write!(f, "{name}={} ", shell_words::quote(value))?;
        }
        f.write_str(&shell_words::quote(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", shell_words::quote(arg))?;
        }
        if let Some(path) = &self.stdin_file {
            write!(f, " < {}", shell_words::quote(path.as_str()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_a_line_that_a_shell_reads_back() {
        let cmd = Cmd::change("docker", "build").args(["build", "--label", "a=b c", "it's"]).env("A", "x y").dir("/tmp/a b");
        assert_eq!(cmd.to_string(), r#"cd '/tmp/a b' && A='x y' docker build --label 'a=b c' 'it'\''s'"#);
    }

    #[test]
    fn what_goes_to_stdin_is_piped() {
        let cmd = Cmd::change("docker", "build").arg("-").stdin("{}").stdin_from("cargo xtask plan").dir("/a").env("B", "c");
        assert_eq!(cmd.to_string(), "cd /a && cargo xtask plan | B=c docker -");
        let cmd = Cmd::change("docker", "copy").args(["cp", "-", "a:/"]).stdin_file("/tmp/a b");
        assert_eq!(cmd.to_string(), "docker cp - a:/ < '/tmp/a b'");
    }

    #[test]
    fn hides_secrets() {
        assert_eq!(Cmd::change("docker", "log in").arg("login").stdin("hunter2").to_string(), "docker login");
    }
}
