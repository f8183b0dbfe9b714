//! A small repository in a folder of its own, and the program run in it with a `docker` that a test makes up.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The smallest repository that builds something.
pub const IMAGES: &str = "schema = 1\n[image.web]\n[image.web.test]\nrun = \"true\"\n";

/// A `docker` that answers as a good engine does, and hands `buildx bake` to what a test adds.
pub const GOOD: &str = r#"
case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{"ServerVersion": "28.0.0", "DockerRootDir": "/", "Driver": "overlayfs"}' ;;
  "buildx version") echo "github.com/docker/buildx v0.29.1" ;;
  "buildx bake"*) bake ;;
esac
"#;

pub struct Lab {
    folder: tempfile::TempDir,
    path: String,
}

/// What a run printed and how it ended.
pub struct Ran {
    code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Panics with everything that was printed unless the exit code is `code` and stderr has all `words`.
    pub fn expect(self, code: i32, words: &[&str]) -> Ran {
        let all = format!("\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{all}");
        words.iter().for_each(|word| assert!(self.stderr.contains(word), "no {word:?} in{all}"));
        assert!(!self.stderr.contains("panicked"), "{all}");
        self
    }
}

impl Lab {
    /// No docker is on its PATH.
    pub fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab { path: format!("{}/bin", folder.path().display()), folder };
        std::fs::create_dir(&lab.path).unwrap();
        for program in ["git", "sh", "sleep", "setsid", "rmdir", "kill"] {
            let found = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(|folder| Path::new(folder).join(program));
            if let Some(real) = found.iter().find(|path| path.exists()) {
                std::os::unix::fs::symlink(real, format!("{}/{program}", lab.path)).unwrap();
            }
        }
        lab.write("docker/images.toml", IMAGES);
        lab.write("Dockerfile", "FROM scratch\n");
        lab
    }

    /// `script` is what `docker` runs, by `sh`.
    pub fn with_docker(script: &str) -> Lab {
        let lab = Lab::new();
        lab.program("docker", script);
        lab
    }

    /// A program on its PATH; `script` is run by `sh`.
    pub fn program(&self, name: &str, script: &str) {
        let path = format!("{}/{name}", self.path);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// Where the secrets of all checkouts of its user are.
    pub fn secrets(&self) -> PathBuf {
        self.folder.path().join(".cache/slipway-secrets")
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(self.repo()).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(args);
        assert!(git.output().unwrap().status.success(), "{args:?}");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        self.settle(&mut command);
        command.args(args);
        command
    }

    /// The same by a shell that limits something first.
    pub fn limited(&self, limit: &str, args: &[&str]) -> Ran {
        let mut command = Command::new("/bin/sh");
        self.settle(&mut command);
        command.args(["-c", &format!("{limit}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_xtask")]).args(args);
        command.output().unwrap().into()
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    fn settle(&self, command: &mut Command) {
        command.current_dir(self.repo()).stdin(Stdio::null()).env_clear();
        // A home of its own: no sandbox of this machine plays a part.
        command.env("PATH", &self.path).env("HOME", self.folder.path());
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
