//! Who is logged in when: a token goes where something is published or read, and nowhere else.

use crate::lab::{GOOD, Lab, Ran};

const HEAD: &str = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n[on.branch.main]\ntags = [\"edge\"]\n";

/// A docker that leaves a file when somebody logs in.
fn lab(images: &str) -> Lab {
    let lab = Lab::with_docker(&format!("case \"$1\" in login) echo \"$*\" >> ../logins; read -r word; exit 0 ;; esac\n{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}{images}"));
    lab.git(&["init", "--quiet", "--initial-branch", "main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab
}

fn login(lab: &Lab, event: &[&str], env: &[(&str, &str)]) -> (Ran, bool) {
    let logins = lab.repo().join("../logins");
    let _earlier = std::fs::remove_file(&logins);
    let mut command = lab.command(&[&["login", "--engine", "host"], event].concat());
    command.env("DOCKER_USERNAME", "me").env("DOCKER_PASSWORD", "tea-for-two").envs(env.iter().copied());
    let ran = Ran::from(command.output().unwrap());
    (ran, logins.exists())
}

#[test]
fn an_event_that_publishes_nothing_sends_no_token() {
    let lab = lab("[image.web]\n");
    for event in ["pr:1", "pr:1:fork", "merge-queue", "branch:feature", "schedule", "manual"] {
        let (ran, sent) = login(&lab, &["--event", event], &[]);
        ran.expect(0, &[&format!("not logged in: {event} publishes nothing, and reads nothing from ghcr.io")]);
        assert!(!sent, "{event}");
    }
    // By hand nobody names an event; a local run that is named publishes nothing.
    for (event, expected) in [(&["--event", "branch:main"][..], true), (&[], true), (&["--event", "local"], false)] {
        let (ran, sent) = login(&lab, event, &[]);
        ran.expect(0, &[if expected { "logged in to ghcr.io as me" } else { "not logged in: local publishes nothing" }]);
        assert_eq!(sent, expected, "{event:?}");
    }
    // Nothing is missed either where nothing is needed.
    let bare = lab.run(&["login", "--engine", "host", "--event", "pr:1"]);
    bare.expect(0, &["not logged in"]);
}

#[test]
fn what_is_read_from_the_registry_needs_the_token() {
    for (images, dockerfile, read) in [
        ("[image.web]\n", "FROM ghcr.io/acme/base:1\n", Some("ghcr.io/acme/base:1")),
        ("[image.web]\n", "FROM quay.io/acme/base:1\n", None),
        ("[image.web]\n", "FROM python:3.11\n", None),
        ("[image.web]\n", "FROM ghcr.io.example.org/acme/base:1\n", None),
        (
            "[cache]\nregistry = \"{namespace}/cache:{id}\"\n[image.web]\n",
            "FROM scratch\nLABEL a=1\n",
            Some("ghcr.io/acme/cache:web"),
        ),
        ("[image.base]\n[image.web]\nparent = \"base\"\ndockerfile = \"Child\"\n", "FROM scratch\nLABEL a=1\n", None),
    ] {
        let lab = lab(images);
        lab.write("Dockerfile", dockerfile);
        lab.write("Child", "FROM base\n");
        let (ran, sent) = login(&lab, &["--event", "pr:1"], &[]);
        match read {
            Some(read) => ran.expect(0, &[&format!("nothing is published; {read}"), " is read", "logged in to ghcr.io"]),
            None => ran.expect(0, &["not logged in: pr:1 publishes nothing"]),
        };
        assert_eq!(sent, read.is_some(), "{images}{dockerfile}");
    }
    // The published parent of a child that is in alone.
    let lab = lab("[image.base]\ncontext = \"base\"\n[image.web]\nparent = \"base\"\n");
    lab.write("base/Dockerfile", "FROM scratch\n");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "two"]);
    lab.write("Dockerfile", "FROM base\n");
    let (ran, sent) = login(&lab, &["--event", "pr:1"], &[]);
    let ran = ran.expect(0, &["nothing is published; ghcr.io/acme/base:latest is read"]);
    assert!(sent, "{}", ran.stderr);
}

#[test]
fn the_variables_of_login_go_nowhere_either() {
    let lab = lab("[login]\nusername = \"${ROBOT}\"\npassword = \"${TOKEN}\"\n[image.web]\n");
    let secrets = [("ROBOT", "robot"), ("TOKEN", "hush")];
    let (ran, sent) = login(&lab, &["--event", "pr:1"], &secrets);
    let ran = ran.expect(0, &["not logged in"]);
    assert!(!sent && !ran.stderr.contains("hush"));
    assert!(login(&lab, &["--event", "branch:main"], &secrets).1);
}

#[test]
fn a_push_that_may_make_up_for_another_needs_the_token() {
    let lab = lab("[image.web]\n");
    lab.write("Dockerfile", "FROM scratch\nCOPY web.txt /\n");
    lab.write("web.txt", "1");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "two"]);
    lab.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    lab.write("README.md", "no image takes it\n");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "three"]);
    let (ran, sent) = login(&lab, &["--event", "branch:main"], &[]);
    let ran = ran.expect(0, &["what ghcr.io/acme/web:edge holds decides what is published"]);
    assert!(sent, "{}", ran.stderr);
    let (ran, sent) = login(&lab, &["--event", "pr:1"], &[]);
    ran.expect(0, &["not logged in"]);
    assert!(!sent);
}
