//! A fresh clone of this repository, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Removed when dropped.
pub struct Clone {
    folder: tempfile::TempDir,
}

/// What a run printed and how it ended.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Panics with everything that was printed unless the exit code is `code`.
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON ({error}):\n{}", self.stdout))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Clone {
    pub fn new() -> Clone {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clone = Clone { folder };
        let cloned = Command::new("git").args(["clone", "--quiet"]).arg(root).arg(clone.path()).output().unwrap();
        assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
        clone
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        // The tests are an event of their own, also when they run in GitHub Actions.
        command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_EVENT_NAME").env_remove("GITHUB_STEP_SUMMARY");
        command
    }

    /// `cargo xtask ARGS` in the clone.
    pub fn xtask(&self, args: &[&str]) -> Ran {
        eprintln!("$ cargo xtask {}", args.join(" "));
        self.command(args).output().unwrap().into()
    }

    /// A program with the engine's environment (`sandbox env` where it is used).
    pub fn engine(&self, line: &str) -> Ran {
        let env = format!("eval \"$({} sandbox env 2>/dev/null)\"; {line}", env!("CARGO_BIN_EXE_xtask"));
        Command::new("sh").args(["-c", &env]).current_dir(self.path()).output().unwrap().into()
    }

    /// The ids of the containers that its runs have started and not removed.
    pub fn containers(&self) -> String {
        let path = self.path().canonicalize().unwrap();
        self.engine(&format!("docker ps --all --quiet --filter label=dev.slipway.checkout={}", path.display())).expect(0).stdout
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path().join(path), text).unwrap();
    }
}
