//! The corpus of odd Dockerfiles: each with a small context of its own, read from `fixtures/dockerfiles/`.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What every context has.
const FILES: [&str; 9] =
    ["a.txt", "b.txt", "one.txt", "app.py", "src/x.py", "src/x.md", "src/deep/two.txt", "docs/d.md", "docs/e.txt"];

/// A Dockerfile, how it is built, and its context.
///
/// In a fixture `=== NAME` begins a case, `% ` a line of its `[image]` table, and `--- PATH` a further file; `--- PATH ->
/// TARGET` is a link, and the text of a `.tar` is that of the file in the archive. `⟨C2⟩` is a byte, and `⟨END⟩` takes the
/// rest of the text away, the end of its line among it.
pub struct Case {
    pub name: String,
    /// Lines of its `[image]` table.
    pub settings: String,
    pub files: BTreeMap<String, File>,
}

pub enum File {
    /// It is never changed.
    Fixed(Vec<u8>),
    Text(Vec<u8>),
    Link(String),
}

/// Every case of every fixture.
pub fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dockerfiles");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.strip_prefix("=== ").unwrap_or_else(|| panic!("{} begins with no case", path.display()));
        cases.extend(text.split("\n=== ").map(Case::read));
    }
    cases
}

impl Case {
    fn read(text: &str) -> Case {
        let mut sections = text.split("\n--- ");
        let (name, dockerfile) = sections.next().unwrap().split_once('\n').unwrap();
        let lines = dockerfile.split_inclusive('\n');
        let settings: String = lines.clone().map_while(|line| line.strip_prefix("% ")).collect();
        let dockerfile: String = lines.skip_while(|line| line.starts_with("% ")).collect();
        let text_of = |path: &&str| (path.to_string(), File::Text(Vec::new()));
        let mut files: BTreeMap<String, File> = FILES.iter().map(text_of).collect();
        files.insert("Dockerfile".into(), File::Fixed(bytes(&dockerfile)));
        for section in sections {
            let (path, text) = section.split_once('\n').unwrap_or((section, ""));
            let (path, file) = match path.split_once(" -> ") {
                Some((path, target)) => (path, File::Link(target.into())),
                None if path.ends_with(".dockerignore") => (path, File::Fixed(bytes(text))),
                None => (path, File::Text(bytes(text))),
            };
            files.insert(path.into(), file);
        }
        Case { name: name.into(), settings, files }
    }

    /// The files whose text may change.
    pub fn changeable(&self) -> Vec<&str> {
        let texts = self.files.iter().filter(|(_, file)| matches!(file, File::Text(_)));
        texts.map(|(path, _)| path.as_str()).collect()
    }

    /// Writes the context; `mark` makes its texts those of this run alone.
    pub fn write(&self, folder: &Path, mark: &str) {
        for (path, file) in &self.files {
            let to = folder.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            match file {
                File::Fixed(text) => std::fs::write(to, text).unwrap(),
                File::Text(_) => self.change(folder, path, mark),
                File::Link(target) => symlink(target, to).unwrap(),
            }
        }
    }

    /// Gives a file another text, with its own name in it.
    pub fn change(&self, folder: &Path, path: &str, mark: &str) {
        let File::Text(text) = &self.files[path] else { panic!("{path} has no text") };
        let text = [text, format!("{path} {mark}\n").as_bytes()].concat();
        let to = folder.join(path);
        if !path.ends_with(".tar") {
            return std::fs::write(to, text).unwrap();
        }
        let packed = tempfile::tempdir().unwrap();
        std::fs::write(packed.path().join("packed"), text).unwrap();
        // The same text is the same archive.
        let tar = Command::new("tar").arg("--mtime=@0").arg("-cf").arg(to).arg("-C").arg(packed.path()).arg("packed").status();
        assert!(tar.unwrap().success());
    }
}

/// A text with its `⟨…⟩`; the last line ends where nothing else is said.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split('⟨');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_once('⟩').unwrap();
        if code == "END" {
            return bytes;
        }
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes
}
