//! Images for several platforms on engines and builders that can't have all of them at once.

use std::path::Path;

use crate::lab::Lab;

const CLASSIC: &str = r#"[["Backing Filesystem", "extfs"]]"#;
const CONTAINERD: &str = r#"[["driver-type", "io.containerd.snapshotter.v1"]]"#;

/// An engine with a store; `more` are the cases of its `docker` that matter.
fn engine(store: &str, more: &str) -> Lab {
    Lab::with_docker(&format!(
        r#"case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{{"ServerVersion": "28.0.0", "DockerRootDir": "/", "DriverStatus": {store}}}' ;;
  "buildx version") echo "github.com/docker/buildx v0.29.1" ;;
  ps*) ;;
{more}
  *) echo "ERROR: $*: not found" >&2; exit 1 ;;
esac"#
    ))
}

/// That of this machine.
fn host() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }
}

/// A tested image for this machine's platform and another one, `more` before it.
fn write(lab: &Lab, more: &str) {
    let platforms = format!("platforms = [\"{}\", \"linux/386\"]\n", host());
    lab.write(
        "docker/images.toml",
        format!("schema = 1\n{more}[on.local]\n{platforms}[image.web]\n{platforms}test.run = \"true\"\n"),
    );
}

fn log(lab: &Lab, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(lab.repo().join(Path::new("..").join(name))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn one_platform_is_loaded_where_the_store_or_several_nodes_leave_no_choice() {
    let node = r"Name: n\nStatus: running\n";
    for (store, nodes, targets) in [(CLASSIC, 1, 2), (CONTAINERD, 1, 1), (CONTAINERD, 2, 2)] {
        let nodes = node.repeat(nodes);
        let inspect = format!("  \"buildx inspect\"*) printf 'Name: mine\\nDriver: docker-container\\n\\nNodes:\\n{nodes}' ;;");
        let lab = engine(store, &inspect);
        write(&lab, "");
        for builder in [&["--builder", "mine"][..], &[]] {
            let ran = lab
                .run(&[&["plan", "--engine", "host", "--event", "local", "--format", "bake"], builder].concat())
                .expect(0, &[]);
            let bake: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(bake["target"].as_object().unwrap().len(), targets, "{store} {nodes} {builder:?} {bake:#}");
        }
    }
}

#[test]
fn what_was_not_loaded_is_not_tested() {
    let has_one = r#"
  "image inspect --platform linux/386"*) echo "it does not provide the specified platform" >&2; exit 1 ;;
  "image inspect"*) for last; do :; done; echo "{\"RepoTags\": [\"$last\"]}" ;;
  run*) echo "$*" >>../ran ;;
  rm*) ;;"#;
    let lab = engine(CONTAINERD, has_one);
    write(&lab, "");
    let said = format!("warning: web: linux/386 is not tested: only {} was loaded", host());
    lab.run(&["docker-test", "--engine", "host", "--event", "local"]).expect(0, &[&said]);
    let ran = log(&lab, "ran");
    assert!(ran.len() == 1 && ran[0].contains(&format!("--platform {} ", host())), "{ran:?}");
}

#[test]
fn a_store_that_keeps_one_platform_gets_each_by_its_own_digest() {
    let digest = |n: u8| format!("sha256:{n:064x}");
    let manifest = |n: u8, platform: &str| {
        let architecture = platform.trim_start_matches("linux/");
        format!(r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#, digest(n))
    };
    let config = r#"{"os": "linux", "architecture": "386", "rootfs": {}}"#;
    let script = format!(
        r#"
  "buildx bake"*) while [ "$1" != --metadata-file ]; do shift; done; echo '{{"web": {{"containerimage.digest": "{index}"}}}}' >"$2" ;;
  *Digest*web:tested-*) [ -e ../marked ] && echo {index} || {{ echo "ERROR: not found" >&2; exit 1; }} ;;
  *Digest*web:candidate-*) echo {index} ;;
  *--raw*@{index}) echo '{{"manifests": [{own}, {other}]}}' ;;
  *.Image*) echo '{{"linux/386": {config}}}' ;;
  *"imagetools create"*) : >../marked ;;
  pull*) echo "$*" >>../pulled ;;
  tag*) echo "$*" >>../tagged ;;
  run*) echo "$*" >>../ran ;;
  rm*) ;;"#,
        index = digest(9),
        own = manifest(1, host()),
        other = manifest(2, "linux/386"),
    );
    let lab = engine(CLASSIC, &script);
    write(&lab, "registry = \"localhost:1\"\nnamespace = \"acme\"\n[on.branch.main]\ntags = [\"{sha}\"]\n");
    lab.write(".gitignore", "/target\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    let run = |task: &[&str]| lab.run(&[task, &["--engine", "host", "--event", "branch:main", "--builder", "mine"]].concat());

    // Processors of x86-64 run both, others may not.
    let mut parts = vec![(1, host())];
    parts.extend(cfg!(target_arch = "x86_64").then_some((2, "linux/386")));
    let image = |n: u8| format!("localhost:1/acme/web@{}", digest(n));
    let pulled: Vec<String> = parts.iter().map(|(n, on)| format!("pull --quiet --platform {on} {}", image(*n))).collect();
    run(&["ci-build", "--mode", "test"]).expect(0, &[]);
    assert!(log(&lab, "pulled").starts_with(&pulled), "{:?}", log(&lab, "pulled"));
    assert!(log(&lab, "tagged")[0].starts_with(&format!("tag {} localhost:1/acme/web:", image(1))), "{:?}", log(&lab, "tagged"));

    std::fs::remove_file(lab.repo().join("../pulled")).unwrap();
    run(&["docker-test"]).expect(0, &[]);
    assert!(log(&lab, "pulled").starts_with(&pulled), "{:?}", log(&lab, "pulled"));
    let ran = log(&lab, "ran");
    for (at, (n, on)) in parts.iter().enumerate() {
        assert!(ran[at].contains(&format!("--platform {on} ")) && ran[at].contains(&image(*n)), "{ran:?}");
    }
}
