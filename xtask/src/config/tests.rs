//! Whole files: what they load to, and what is said of wrong ones.

mod agreement;
mod builders;
mod examples;
mod faults;
mod layers;
mod on_disk;
mod robust;

use camino::Utf8Path;

use super::{Config, Env, load, load_text};

/// A folder with these files, and `docker/images.toml` among them or not.
struct Repo {
    folder: tempfile::TempDir,
}

impl Repo {
    fn new(files: &[(&str, &str)]) -> Repo {
        let repo = Repo { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = repo.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        repo
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn load(&self) -> Result<Config, String> {
        load(self.path(), Utf8Path::new("docker/images.toml"), &Env::new()).map_err(|error| format!("{error:#}"))
    }
}

/// Loads a text where no file is needed.
fn config(text: &str) -> Result<Config, String> {
    let repo = Repo::new(&[("PYTHON_VERSIONS", "3.8\n3.9\n3.10\n")]);
    load_text(repo.path(), Utf8Path::new("f"), text, &Env::new()).map_err(|error| error.to_string())
}

/// The faults of a text, without the line that counts them; "" when there are none.
fn said(text: &str) -> String {
    config(text).err().map(|error| error.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap_or_default()
}

/// The one build of that id.
fn build<'a>(config: &'a Config, id: &str) -> &'a super::Build {
    config.builds.iter().find(|build| build.id == id).unwrap()
}
