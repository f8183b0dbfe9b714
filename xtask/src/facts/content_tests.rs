//! Contexts on disk: which edits change which hash.

#[path = "volatile_tests.rs"]
mod volatile;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use proptest::prelude::*;

use super::super::dockerfile;
use super::*;
use crate::config;

/// A repository with one image a Dockerfile.
struct Context {
    folder: tempfile::TempDir,
}

impl Context {
    fn new(files: &[(&str, &str)]) -> Context {
        let context = Context { folder: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| context.write(path, text));
        context
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn of(&self, steps: &str) -> Content {
        self.all("", &[("app", steps)]).remove("app").unwrap()
    }

    /// What the images take, `FROM a` put in front of the steps; `images` is more of the configuration.
    fn all(&self, images: &str, dockerfiles: &[(&str, &str)]) -> BTreeMap<String, Content> {
        let mut text = String::from("schema = 1\nnamespace = \"acme\"\n");
        let mut facts = Facts::default();
        for (image, steps) in dockerfiles {
            let read =
                |steps: &str| dockerfile::read(format!("FROM a\n{steps}\n").as_bytes(), &BTreeMap::new(), None, &[]).unwrap();
            let path = format!("Dockerfile.{image}");
            facts.dockerfiles.insert(path.clone().into(), read(steps));
            text += &format!("[image.{image}]\ndockerfile = \"{path}\"\n");
        }
        text += images;
        let elsewhere = Context::new(&[("images.toml", &text)]);
        for (image, steps) in dockerfiles {
            elsewhere.write(&format!("Dockerfile.{image}"), steps);
        }
        let config = config::load(elsewhere.path(), Utf8Path::new("images.toml"), &config::Env::new()).unwrap();
        add(self.path(), &config, &mut facts, &|| false).unwrap();
        let content = |build: &Build| (build.id.clone(), facts.content(build).unwrap().clone());
        config.builds.iter().map(content).collect()
    }

    fn hash(&self, steps: &str) -> Vec<(String, String)> {
        let content = self.of(steps);
        assert_eq!((&content.whole, &content.always), (&None, &None));
        content.sources
    }
}

/// Edits of a small context, and whether `COPY src *.txt /` sees each.
#[test]
fn edits() {
    type Edit = (&'static str, fn(&Context), bool);
    let mode = |context: &Context, path: &str, mode: u32| {
        std::fs::set_permissions(context.path().join(path), Permissions::from_mode(mode)).unwrap();
    };
    let table: &[Edit] = &[
        ("nothing", |_| {}, false),
        ("the same text again", |c| c.write("src/a", "1"), false),
        ("a file", |c| c.write("src/a", "2"), true),
        ("a new file", |c| c.write("src/new", ""), true),
        ("a new empty folder", |c| std::fs::create_dir(c.path().join("src/new")).unwrap(), true),
        ("a name", |c| std::fs::rename(c.path().join("src/a"), c.path().join("src/z")).unwrap(), true),
        ("a file that goes", |c| std::fs::remove_file(c.path().join("src/a")).unwrap(), true),
        ("another text file", |c| c.write("b.txt", ""), true),
        ("a text file below", |c| c.write("docs/b.txt", ""), false),
        ("something else", |c| c.write("README.md", "x"), false),
        ("what is left out", |c| c.write("src/x.pyc", "2"), false),
        ("a new one that is left out", |c| c.write("src/deep/y.pyc", "2"), true),
        ("that which comes back", |c| c.write("src/keep.pyc", "2"), true),
        ("where a link leads", |c| c.write("docs/a", "2"), false),
        (
            "a link",
            |c| {
                std::fs::remove_file(c.path().join("src/link")).unwrap();
                symlink("../docs/b", c.path().join("src/link")).unwrap();
            },
            true,
        ),
        (
            "a file in place of a link",
            |c| {
                std::fs::remove_file(c.path().join("src/link")).unwrap();
                c.write("src/link", "../docs/a");
            },
            true,
        ),
        (
            "a time",
            |c| {
                let file = std::fs::File::options().write(true).open(c.path().join("src/a")).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
            false,
        ),
    ];
    for (what, edit, seen) in table {
        let context = Context::new(&[
            (".dockerignore", "**/*.pyc\n!src/keep.pyc\n"),
            ("src/a", "1"),
            ("src/x.pyc", "1"),
            ("src/keep.pyc", "1"),
            ("a.txt", "1"),
            ("docs/a", "1"),
        ]);
        symlink("../docs/a", context.path().join("src/link")).unwrap();
        let before = context.hash("COPY src *.txt /");
        edit(&context);
        assert_eq!(before != context.hash("COPY src *.txt /"), *seen, "{what}");
    }
    let context = Context::new(&[("src/a", "1"), ("src/d/b", "1")]);
    let mut seen = vec![context.hash("COPY src /")];
    for (path, permissions) in [("src/a", 0o755), ("src/a", 0o600), ("src/a", 0o4755), ("src/d", 0o700), ("src", 0o700)] {
        mode(&context, path, permissions);
        let now = context.hash("COPY src /");
        assert!(!seen.contains(&now), "{path} {permissions:o}");
        seen.push(now);
    }
    // The folders around a source count where they are copied, too.
    let (plain, parents) = ("COPY src/d/b /", "COPY --parents src/d/b /");
    let before = (context.hash(plain), context.hash(parents));
    mode(&context, "src", 0o755);
    assert_eq!(before.0, context.hash(plain));
    assert_ne!(before.1, context.hash(parents));
}

#[test]
fn patterns_and_what_they_name() {
    let context = Context::new(&[
        (".dockerignore", "target"),
        ("a/x/go.mod", "1"),
        ("a/y/go.mod", "1"),
        ("a/go.sum", "1"),
        ("b", "1"),
        ("é/[1]", "1"),
    ]);
    let names = |steps: &str| context.of(steps).sources.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("COPY b a/*/go.mod /\nCOPY ./b /"), ["a/*/go.mod", "b"]);
    assert_eq!(names("COPY . /"), ["."]);
    assert!(context.of("").sources.is_empty());
    let changes = |steps: &str, path: &str| {
        let before = context.hash(steps);
        let text = std::fs::read_to_string(context.path().join(path)).unwrap();
        context.write(path, &format!("{text}+"));
        before != context.hash(steps)
    };
    for (steps, path, seen) in [
        ("COPY a/*/go.mod /", "a/y/go.mod", true),
        ("COPY a/*/go.mod /", "a/go.sum", false),
        ("COPY --parents **/go.mod /", "a/x/go.mod", true),
        ("COPY --parents **/go.mod /", "b", false),
        ("COPY --parents a/** /", "a/go.sum", true),
        ("COPY ? /", "a/go.sum", true),
        ("COPY ? /", "é/[1]", true),
        ("COPY a a/x /", "a/go.sum", true),
        ("COPY \"é/\\\\[1]\" /", "é/[1]", true),
        ("RUN --mount=type=bind,source=a,target=/x y", "a/x/go.mod", true),
        ("RUN --mount=type=bind,target=/x y", "b", true),
        ("COPY . /", "b", true),
    ] {
        assert_eq!(changes(steps, path), seen, "{steps} {path}");
    }
}

/// Edits below `src`, and whether a COPY that excludes something sees each.
#[test]
fn what_is_excluded_does_not_count() {
    let context = Context::new(&[("src/a", "1"), ("src/b.md", "1"), ("src/d/c.md", "1"), ("src/d/keep.md", "1"), ("x.md", "1")]);
    for (steps, path, seen) in [
        ("COPY --exclude=*.md src /src", "src/a", true),
        ("COPY --exclude=*.md src /src", "src/b.md", false),
        ("COPY --exclude=*.md src /src", "src/d/c.md", true),
        ("COPY --exclude=**/*.md --exclude=!d/keep.md src /src", "src/d/c.md", false),
        ("COPY --exclude=**/*.md --exclude=!d/keep.md src /src", "src/d/keep.md", true),
        ("ADD --exclude=d --exclude=!d/keep.md src /src", "src/d/c.md", false),
        ("ADD --exclude=d --exclude=!d/keep.md src /src", "src/d/keep.md", true),
        ("COPY --exclude=\"*.md\" --exclude=target . /", "x.md", false),
        ("COPY --exclude=*.md --exclude=target . /", "src/b.md", true),
        ("COPY --exclude=src --exclude=target . /", "src/a", false),
        ("COPY --exclude=x.md x.md /", "x.md", true),
        ("COPY --exclude=*.md src/* /", "src/b.md", true),
        // Another step takes it.
        ("COPY --exclude=*.md src /one\nCOPY src /two", "src/b.md", true),
        ("COPY --exclude=*.md src /one\nCOPY --exclude=b* src /two", "src/b.md", true),
        ("COPY --exclude=*.md src /one\nCOPY --exclude=*.md src /two", "src/b.md", false),
        // What is not understood leaves nothing out.
        ("COPY --exclude=/b.md src /src", "src/b.md", true),
        ("COPY --exclude=$X.md --exclude=*.md src /src", "src/b.md", true),
        ("COPY --parents --exclude=**/*.md src /src", "src/b.md", true),
        ("COPY --from=x --exclude=*.md src /src", "src/b.md", false),
    ] {
        let before = context.of(steps);
        assert_eq!((&before.whole, &before.always), (&None, &None), "{steps}");
        let read = dockerfile::read(format!("FROM a\n{steps}\n").as_bytes(), &BTreeMap::new(), None, &[]).unwrap();
        assert_eq!(dockerfile::takes(".".into(), Some(&read), Some(&before), path.into()), seen, "{steps} {path}");
        context.write(path, &format!("{steps}{seen}"));
        assert_eq!(before.sources != context.of(steps).sources, seen, "{steps} {path}");
    }
}

#[test]
fn a_folder_counts_for_what_is_left_in_it() {
    let context = Context::new(&[("src/d/c.md", "1"), ("src/a", "1")]);
    let folder = |steps: &str| {
        let hashes = [0o700, 0o755].map(|mode| {
            std::fs::set_permissions(context.path().join("src/d"), Permissions::from_mode(mode)).unwrap();
            context.hash(steps)
        });
        hashes[0] != hashes[1]
    };
    assert!(folder("COPY src /") && folder("COPY --exclude=d --exclude=!d/c.md src /"));
    assert!(!folder("COPY --exclude=d src /") && !folder("COPY --exclude=d --exclude=!d/x src /"));
}

#[test]
fn each_dockerfile_may_have_its_own_ignore_file() {
    let context = Context::new(&[(".dockerignore", "a"), ("Dockerfile.own.dockerignore", "b"), ("a", "1"), ("b", "1")]);
    let all = || context.all("", &[("plain", "COPY . /"), ("own", "COPY . /"), ("again", "COPY . /")]);
    let before = all();
    assert_eq!(before["plain"].sources, before["again"].sources);
    context.write("a", "2");
    let after = all();
    assert_eq!(before["plain"], after["plain"]);
    assert_ne!(before["own"], after["own"]);
}

#[test]
fn when_in_doubt_everything() {
    let context = Context::new(&[("src/a", "1"), ("other", "1")]);
    symlink("src", context.path().join("link")).unwrap();
    symlink("loop", context.path().join("loop")).unwrap();
    let whole = |steps: &str| {
        let content = context.of(steps);
        assert_eq!(content.sources.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["."], "{steps}");
        content.whole.unwrap()
    };
    assert_eq!(whole("COPY link /"), "link goes through the link link");
    assert_eq!(whole("COPY src link/a /"), "link/a goes through the link link");
    assert_eq!(whole("COPY l*/a /"), "l*/a goes through the link link");
    assert_eq!(whole("COPY loop /"), "loop goes through the link loop");
    assert_eq!(whole("COPY $X /"), "`X` is not known before the build");
    let before = context.of("COPY link/a /");
    context.write("other", "2");
    assert_ne!(before, context.of("COPY link/a /"));

    let images = "[image.child]\nparent = \"base\"\ndockerfile = \"Dockerfile.leaf\"\n";
    let all = context.all(images, &[("base", "ONBUILD COPY src /"), ("leaf", "COPY other /")]);
    assert_eq!(all["child"].whole.as_deref(), Some("base has ONBUILD steps"));
    assert_eq!(all["leaf"].whole, None);
}

#[test]
fn what_is_not_there_is_never_the_same() {
    let context = Context::new(&[(".dockerignore", "out\n"), ("src/a", "1"), ("out/a", "1")]);
    for source in ["none", "src/none", "src/a/b", "out", "out/a"] {
        let content = context.of(&format!("COPY {source} /"));
        assert_eq!(content.missing, [source]);
        assert_eq!(content.always, Some(format!("{source} is not in the context .")));
    }
    assert_eq!(context.of("COPY src/* none* n?/x /").missing, [""; 0]);
    assert!(context.of("ADD https://x.test/a /").always.unwrap().contains("no checksum"));
}

#[test]
fn nothing_hangs_and_nothing_crashes() {
    let context = Context::new(&[("src/a", "1")]);
    let path = |name: &str| context.path().join(name);
    let mut seen = vec![context.hash("COPY src /")];
    let mut changed = |what: &str| {
        let now = context.hash("COPY src /");
        assert!(!seen.contains(&now), "{what} counts");
        seen.push(now);
    };
    let made = std::process::Command::new("mkfifo").arg(path("src/pipe")).status().unwrap();
    assert!(made.success());
    changed("a pipe");
    let _socket = UnixListener::bind(path("src/socket")).unwrap();
    changed("a socket");
    symlink("loop", path("src/loop")).unwrap();
    symlink("..", path("src/up")).unwrap();
    changed("a loop");
    std::fs::write(path("src").as_std_path().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff")), "1")
        .unwrap();
    changed("a name that is not UTF-8");
    assert_eq!(context.of("COPY src/* /").whole.as_deref(), Some("src/* goes through src/\u{fffd}"));

    std::fs::remove_file(path("src/pipe")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path(".dockerignore")).status().unwrap();
    assert!(made.success());
    assert_eq!(context.of("COPY src /").always, None);
}

#[test]
fn extended_attributes_count() {
    let context = Context::new(&[("src/a", "1")]);
    let before = context.hash("COPY src /");
    let set = |value: &str| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(context.path().join("src/a").as_std_path(), "user.slipway", value.as_bytes(), flags)
    };
    if set("1").is_err() {
        return; // not on every file system
    }
    let one = context.hash("COPY src /");
    set("2").unwrap();
    assert!(before != one && one != context.hash("COPY src /"));
}

#[test]
fn what_cannot_be_read_is_said() {
    if rustix::process::geteuid().is_root() {
        return; // reads everything
    }
    let context = Context::new(&[("src/a", "1"), ("src/d/b", "1")]);
    for (path, mode) in [("src/a", 0o644), ("src/d", 0o755)] {
        std::fs::set_permissions(context.path().join(path), Permissions::from_mode(0o000)).unwrap();
        let always = context.of("COPY src /").always.unwrap();
        assert!(always.starts_with("cannot read ") && always.contains(path), "{always}");
        std::fs::set_permissions(context.path().join(path), Permissions::from_mode(mode)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// The hash changes if and only if a file that is taken changes, by the two matchers on their own.
    #[test]
    fn a_hash_tells_what_is_taken(
        ignore in prop::collection::vec("!?(\\*|\\*\\*|a|b|a\\*|\\?)(/(\\*|\\*\\*|a|b|\\*b)){0,2}", 0..4),
        sources in prop::collection::vec("(a|b|ab|\\*|a\\*|\\?)(/(a|b|\\*)){0,2}", 1..3),
        files in prop::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}\\.", 1..8),
        edit in any::<prop::sample::Index>(),
    ) {
        let (ignore, sources) = (ignore.join("\n"), sources.join(" "));
        let files: Vec<&String> = files.iter().collect();
        let context = Context::new(&[(".dockerignore", &ignore)]);
        files.iter().for_each(|file| context.write(file, "1"));
        let (file, steps) = (files[edit.index(files.len())], format!("COPY {sources} /"));
        let before = context.of(&steps);
        context.write(file, "2");
        let after = context.of(&steps);
        let read = dockerfile::read(format!("FROM a\n{steps}\n").as_bytes(), &BTreeMap::new(), None, &[]).unwrap();
        let taken = dockerfile::takes(".".into(), Some(&read), Some(&after), Utf8Path::new(file));
        prop_assert_eq!(before.sources != after.sources, taken, "{} of {:?} with {:?}", file, sources, ignore);
    }
}
