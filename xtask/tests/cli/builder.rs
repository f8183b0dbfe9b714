//! A builder that can't be made, that does not start, or that nobody knows.

use crate::lab::{Lab, Ran};

const TEST: [&str; 5] = ["ci-build", "--mode", "test", "--engine", "host"];

/// An engine without the containerd image store; `more` are the cases of its `docker` that matter.
fn without_store(more: &str) -> Lab {
    Lab::with_docker(&format!(
        r#"case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{{"ServerVersion": "28.0.0", "DockerRootDir": "/", "DriverStatus": [["Backing Filesystem", "extfs"]]}}' ;;
  "buildx version") echo "github.com/docker/buildx v0.29.1" ;;
  "buildx inspect") printf 'Name: default\nDriver: docker\n' ;;
{more}
  *) echo "ERROR: nothing of the kind" >&2; exit 1 ;;
esac"#
    ))
}

#[test]
fn an_image_that_is_out_of_reach() {
    let lab = without_store("  pull*) echo 'dial tcp: lookup registry-1.docker.io: no such host' >&2; exit 1 ;;");
    let said = ["cannot fetch docker.io/moby/buildkit:v0.25.2: dial tcp: lookup registry-1", "hint: `--builder default`"];
    lab.run(&TEST).expect(3, &said);
    // The engine's own does without.
    lab.run(&[&TEST[..], &["--builder", "default", "--dry-run"]].concat()).expect(0, &["buildx bake --builder default"]);
}

#[test]
fn a_container_that_does_not_start_is_removed_again() {
    let lab = without_store(
        r#"  pull*) ;;
  "image inspect"*) echo '{"RepoDigests": ["moby/buildkit@sha256:12"]}' ;;
  "buildx create"*image=docker.io/moby/buildkit@sha256:12*) ;;
  "buildx inspect --bootstrap"*) echo 'ERROR: no space left on device' >&2; exit 1 ;;
  "buildx rm"*) echo "$*" >../removed ;;"#,
    );
    lab.run(&TEST).expect(3, &["cannot start the builder slipway-", ": no space left on device"]);
    assert!(std::fs::read_to_string(lab.repo().join("../removed")).is_ok_and(|line| line.contains("rm --force slipway-")));
}

#[test]
fn one_that_somebody_chose_is_used() {
    let chosen = without_store("").run(&[&TEST[..], &["--dry-run"]].concat());
    chosen.expect(0, &["docker pull --quiet docker.io/moby/buildkit", "buildx create", "bake --builder slipway-"]);
    let lab = Lab::with_docker(
        r#"case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{"ServerVersion": "28.0.0", "DockerRootDir": "/", "DriverStatus": []}' ;;
  "buildx inspect") printf 'Name: mine\nDriver: docker-container\n' ;;
esac"#,
    );
    lab.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["docker buildx bake --file -"]);
}

#[test]
fn a_name_that_nobody_knows() {
    let unknown = without_store(
        "  *--builder*) echo 'ERROR: no builder \"farm\" found' >&2; exit 1 ;;\n  *farm) echo 'ERROR: no builder \"farm\" found' >&2; exit 1 ;;",
    );
    let said = ["cannot use the builder farm: no builder \"farm\" found", "`docker buildx ls`"];
    unknown.run(&[&TEST[..], &["--builder", "farm"]].concat()).expect(3, &said);
    unknown.run(&[&TEST[..], &["--builder", ""]].concat()).expect(2, &["a builder has a name"]);
}

#[test]
fn nodes_that_are_only_printed_are_not_asked_and_no_key_is_written() {
    let pem = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
    let lab = without_store("");
    let node = "schema = 1\n[image.web]\n[builders.\"linux/amd64\"]\naddress = \"tcp://127.0.0.1:1\"\nca = \"${BUILDER_CA}\"\n";
    lab.write(
        "docker/images.toml",
        format!("{node}[builders.\"linux/arm64\"]\naddress = \"tcp://127.0.0.1:1\"\nca = \"${{BUILDER_CA}}\"\n"),
    );
    let mut command = lab.command(&[&TEST[..], &["--dry-run"]].concat());
    let ran = Ran::from(command.env("BUILDER_CA", pem).output().unwrap());
    ran.expect(0, &["docker buildx create --name slipway-", "--driver remote", "bake --builder slipway-"]);
    assert!(!lab.secrets().exists(), "a key was written");
    assert!(!lab.repo().join("target/slipway/buildkitd.toml").exists());
}
