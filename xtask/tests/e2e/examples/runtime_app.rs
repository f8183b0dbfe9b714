//! examples/runtime-app: a rarely built runtime under an often built application.

use std::process::{Command, Stdio};

use super::{built, ci, head, push, with_origin, xtask};
use crate::clone::Ran;
use crate::proxy::Action;
use crate::tiny::Tiny;

/// Its registry is the one of the environment, and asks who is there.
fn runtime_app() -> (Tiny, tempfile::TempDir) {
    let mut tiny = Tiny::example("runtime-app");
    tiny.env.push(("DOCKER_REGISTRY_URL".into(), tiny.proxy.registry()));
    with_origin(tiny)
}

#[test]
fn runtime_app_publishes_both_by_their_own_events() {
    const PASSWORD: &str = "tea-for-two";
    let (tiny, _origin) = runtime_app();
    // base64 of user:tea-for-two
    let good = |request: &crate::proxy::Request| request.authorization.as_deref() == Some("Basic dXNlcjp0ZWEtZm9yLXR3bw==");
    tiny.proxy.rule(move |request| if good(request) { Action::Pass } else { Action::Status(401) });
    let denied = ci(&tiny, "manual").expect(3);
    assert!(denied.stderr.contains("cargo xtask login"), "{}", denied.stderr);
    let mut login = tiny.command(&["login"]);
    Ran::from(login.env("DOCKER_USERNAME", "user").env("DOCKER_PASSWORD", PASSWORD).output().unwrap()).expect(0);

    // No runtime: said before any build starts.
    tiny.edit("app/__init__.py", "Send me a file", "Send me any file");
    tiny.edit("tests/test_app.py", "Send me a file", "Send me any file");
    let ran = push(&tiny, "code").expect(2);
    assert!(ran.stderr.contains("base image ") && ran.stderr.contains("runtime:latest of app not found"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: build it first: `cargo xtask ci --event manual`"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("▸ ci-build"), "{}", ran.stderr);

    ci(&tiny, "manual").expect(0);
    let tags = tiny.crane(&["ls", &format!("{}/{}/runtime", tiny.upstream, tiny.namespace)]).unwrap();
    let is_time = |tag: &&str| tag.len() == 16 && tag.starts_with("v2") && tag.as_bytes()[9] == b'-';
    let time = tags.lines().find(is_time).unwrap_or_else(|| panic!("no vYYYYMMDD-HHMMSS among {tags}"));
    assert_eq!(tiny.digest("runtime", time), tiny.digest("runtime", "latest"));
    assert_eq!(tiny.digest("app", "latest"), None);

    tiny.edit("app/__init__.py", "Send me any file", "Send me one file");
    tiny.edit("tests/test_app.py", "Send me any file", "Send me one file");
    let ran = push(&tiny, "code again").expect(0);
    assert!(ran.stdout.contains("GET :8000/"), "{}", ran.stdout);
    let latest = tiny.digest("app", "latest");
    assert!(latest.is_some() && latest == tiny.digest("app", &head(&tiny)[..7]));

    tiny.write("docs/guide.md", "# Guide\n");
    tiny.edit("config/app.toml", "Send me a file", "Hello");
    let ran = push(&tiny, "documentation and configuration").expect(0);
    assert_eq!(built(&ran), [""; 0]);
    assert_eq!((tiny.digest("app", "latest"), tiny.digest("app", &head(&tiny)[..7])), (latest, None));

    xtask(&tiny, &["logout"]).expect(0);
    let found = Command::new("grep")
        .args(["-r", "-l", "-e", PASSWORD, "-e", "dXNlcjp0ZWEt", "."])
        .arg(tiny.secrets().parent().unwrap())
        .current_dir(tiny.path())
        .output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "", "the password is nowhere");
    assert!(ci(&tiny, "manual").expect(3).stderr.contains("cargo xtask login"));
}

#[test]
fn runtime_app_is_built_and_answers_without_a_registry() {
    let (tiny, _origin) = runtime_app();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["ci", "--event", "local"]).current_dir(tiny.path()).stdin(Stdio::null());
    let ran = Ran::from(command.env_remove("DOCKER_REGISTRY_URL").env_remove("GITHUB_ACTIONS").output().unwrap()).expect(0);
    assert_eq!(built(&ran), ["runtime", "app"]);
    assert!(ran.stdout.contains("GET :8000/"), "{}", ran.stdout);
    assert_eq!(tiny.crane(&["ls", &format!("{}/{}/app", tiny.upstream, tiny.namespace)]), None, "nothing was pushed");
}
