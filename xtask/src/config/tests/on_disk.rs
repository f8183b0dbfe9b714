//! Faults of the files that images.toml names, and of itself as a file.

use super::*;
use crate::error::{Code, exit_code, render};

/// The faults with these files beside a smallest images.toml, without the line that counts them.
fn faults(images: &str, files: &[(&str, &str)]) -> String {
    let mut all = vec![("docker/images.toml", images)];
    all.extend(files);
    Repo::new(&all).load().err().map(|error| error.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap_or_default()
}

#[test]
fn a_missing_file_has_a_hint() {
    let repo = Repo::new(&[]);
    let error = load(repo.path(), Utf8Path::new("docker/images.toml"), &Env::new()).unwrap_err();
    assert_eq!(exit_code(&error), Code::Usage);
    assert_eq!(
        render(&error),
        "error: cannot load docker/images.toml: it does not exist\nhint: write it: `[image.web]` and a Dockerfile are enough; or name another with --config"
    );
}

#[test]
fn text_that_is_not_utf8_is_named_by_line() {
    let repo = Repo::new(&[("docker/images.toml", "")]);
    std::fs::write(repo.path().join("docker/images.toml"), b"schema = 1\n# \xe9\n").unwrap();
    let expected = "cannot load docker/images.toml: 1 fault\ndocker/images.toml:2: not UTF-8 (save it as UTF-8)";
    assert_eq!(repo.load().unwrap_err(), expected);
}

#[test]
fn the_version_file_holds_one_version() {
    for (text, expected) in [
        ("v1.2.3\n", ""),
        ("\n", "VERSION:1: the version is empty (write one line such as v1.2.3)"),
        ("v1\nv2\n", "VERSION:2: the version is more than a line (write one line such as v1.2.3)"),
    ] {
        let files = [("VERSION", text), ("Dockerfile", "")];
        assert_eq!(faults("version-file = 'VERSION'\n[image.a]\n", &files), expected, "{text:?}");
    }
    let said = faults("version-file = 'VERSION'\n[image.a]\n", &[("VERSION", "latest\n"), ("Dockerfile", "")]);
    assert!(said.starts_with("VERSION:1: `latest` is not a version"), "{said}");
    let said = faults("version-file = 'VERSION'\n[image.a]\n", &[("VERSION", "1.0.0+b\n"), ("Dockerfile", "")]);
    assert!(said.starts_with("VERSION:1: ") && said.contains("1.0.0+b"), "{said}");
    let missing = "docker/images.toml:1: version-file: file `VERSION` does not exist";
    assert_eq!(faults("version-file = 'VERSION'\n[image.a]\n", &[("Dockerfile", "")]), missing);
}

#[test]
fn what_is_named_must_exist() {
    for (text, expected) in [
        ("[image.a]\n", "1: `Dockerfile` of `a` does not exist (write it, or set dockerfile or context)"),
        ("[image.a]\ndockerfile = 'x'\n", "2: `x` of `a` does not exist (write it, or set dockerfile or context)"),
        ("[image.a]\ntemplate = 'x'\n", "2: template `x` of `a` does not exist"),
        ("[image.a]\ndockerfile = 'there/Dockerfile'\ncontext = 'x'\n", "3: context `x` of `a` is not a folder"),
        (
            "[image.a]\ncontext = 'there'\ntest = { run = 'x', mounts = ['x:/x'] }\n",
            "3: mount `x` of the test of `a` does not exist",
        ),
        ("[image.a]\ncontext = 'there'\n[check.c]\ncompose = 'x'\n", "4: compose file `x` of check `c` does not exist"),
        ("[image.a]\ncontext = 'there'\n[scan]\nignore = 'x'\n", "4: `x` does not exist"),
        ("[defaults]\ndockerfile = 'x'\n[image.a]\n", "2: `x` of `a` does not exist (write it, or set dockerfile or context)"),
    ] {
        let said = faults(text, &[("there/Dockerfile", "")]);
        assert_eq!(said, format!("docker/images.toml:{expected}"), "{text}");
    }
}

#[test]
fn faults_of_an_axis_file_come_with_its_lines_after_those_of_the_toml() {
    let text = "[axes]\np = { file = 'P' }\n[image.a]\nvariant = '{p}'\nplatfrom = []\n";
    let expected = "docker/images.toml:5: unknown key `image.a.platfrom` (did you mean `platforms`?)\n\
                    P:3: `3.9` is twice in axis `p` (first on line 1)";
    assert_eq!(faults(text, &[("P", "3.9\n3.10\n3.9\n")]), expected);
}

#[test]
fn a_link_out_of_the_repository_is_not_followed() {
    let repo = Repo::new(&[("docker/images.toml", "[image.a]\ncontext = 'out'\n")]);
    std::os::unix::fs::symlink("/", repo.path().join("out")).unwrap();
    let error = repo.load().unwrap_err();
    assert!(error.contains("docker/images.toml:2: context of `a`: `out` leads out of the repository by a link"), "{error}");
}
