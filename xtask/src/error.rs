//! Exit codes, and errors that carry one together with a hint.

use std::fmt;

/// What the process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The work itself failed: a build, a test, a check.
    Failed = 1,
    /// Wrong usage or configuration: nothing was started.
    Usage = 2,
    /// The machine is not ready: a tool, the engine, a login, the disk.
    NotReady = 3,
    /// Refused: the gate, a written-once tag, a registry that changed after planning.
    Refused = 4,
    /// The scan found what must not be published.
    Findings = 10,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// An error with an exit code and, where there is one, the command that fixes it.
///
/// The message completes "cannot …" or names the thing that is wrong: lower case, no full stop.
#[derive(Debug)]
pub struct Fault {
    pub code: Code,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), hint: None }
    }

    pub fn failed(message: impl Into<String>) -> Fault {
        Fault::new(Code::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Fault {
        Fault::new(Code::Usage, message)
    }

    pub fn not_ready(message: impl Into<String>) -> Fault {
        Fault::new(Code::NotReady, message)
    }

    pub fn refused(message: impl Into<String>) -> Fault {
        Fault::new(Code::Refused, message)
    }

    pub fn interrupted() -> Fault {
        Fault::new(Code::Interrupted, "interrupted")
    }

    /// Adds the line `hint: …` below the error.
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// The exit code of an error: that of the outermost [`Fault`] in its chain, else 1.
pub fn exit_code(error: &anyhow::Error) -> Code {
    find(error).map_or(Code::Failed, |fault| fault.code)
}

/// `error: …: cause` on one line, `hint: …` on the next where there is one. Further lines of either are indented: a line
/// break in a file's name makes no line that looks like ours.
pub fn render(error: &anyhow::Error) -> String {
    let hint = find(error).and_then(|fault| fault.hint.as_ref());
    let hint = hint.map(|hint| format!("\nhint: {}", indented(hint))).unwrap_or_default();
    format!("error: {}{hint}", indented(&format!("{error:#}")))
}

fn indented(text: &str) -> String {
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| if line.starts_with(' ') { format!("{all}\n{line}") } else { format!("{all}\n  {line}") })
}

fn find(error: &anyhow::Error) -> Option<&Fault> {
    // `downcast_ref` sees a fault that was added as context, the chain one that is a plain cause.
    error.downcast_ref::<Fault>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Fault>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn code_and_hint_survive_added_context() {
        let fault = Fault::not_ready("docker is not installed").hint("run `cargo xtask doctor`");
        let error = Err::<(), _>(fault).context("cannot build").unwrap_err();
        assert_eq!(exit_code(&error), Code::NotReady);
        assert_eq!(render(&error), "error: cannot build: docker is not installed\nhint: run `cargo xtask doctor`");
    }

    #[test]
    fn foreign_lines_are_not_ours() {
        let error = Fault::usage("cannot read a\nhint: run x: no\n  b").hint("mend c\nerror: d").into();
        assert_eq!(render(&error), "error: cannot read a\n  hint: run x: no\n  b\nhint: mend c\n  error: d");
    }

    #[test]
    fn an_error_without_a_fault_is_a_failure() {
        assert_eq!(exit_code(&anyhow::anyhow!("boom")), Code::Failed);
    }
}
