//! `[builders]` in Kubernetes: what buildx is given, and what is said of a kubeconfig or a cluster that can't be used.

use std::process::Command;

use crate::lab::{Lab, Ran};

const TEST: [&str; 5] = ["ci-build", "--mode", "test", "--engine", "host"];
const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
const KUBECONFIG: &str = "apiVersion: v1
current-context: home
contexts:
- name: farm
  context: {cluster: farm, user: me, namespace: builds}
clusters:
- name: farm
  cluster: {server: 'https://farm.example:6443', certificate-authority: ca.crt}
users:
- name: me
  user: {token: hunter2}
";

/// An image for `platforms`, `[builders]`, and a kubeconfig at home; `boots` is what starting the pods says.
fn lab(platforms: &str, builders: &str, boots: &str) -> Lab {
    let lab = Lab::with_docker(&format!(
        r#"echo "KUBECONFIG=$KUBECONFIG $*" >>../said
case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{{"ServerVersion": "28.0.0", "DockerRootDir": "/", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}}' ;;
  "buildx version") echo "github.com/docker/buildx v0.29.1" ;;
  "buildx imagetools inspect"*moby/buildkit*) echo {DIGEST} ;;
  "buildx imagetools inspect"*) echo "ERROR: not found" >&2; exit 1 ;;
  "buildx create"*) ;;
{boots}
  *) echo "ERROR: nothing of the kind" >&2; exit 1 ;;
esac"#
    ));
    lab.write(
        "docker/images.toml",
        format!(
            "{}[image.web]\nplatforms = {platforms}\n[on.local]\nplatforms = {platforms}\n[builders]\n{builders}",
            "schema = 1\n"
        ),
    );
    lab.write("../.kube/config", KUBECONFIG);
    lab
}

fn said(lab: &Lab) -> String {
    std::fs::read_to_string(lab.repo().join("../said")).unwrap_or_default()
}

const ARM: &str = "\"linux/arm64\" = { kubernetes = \"farm\", options = { namespace = \"x\", \"requests.cpu\" = \"2\", timeout = \"1m 30s\" } }\n";

#[test]
fn what_buildx_is_given() {
    let lab = lab("[\"linux/arm64\", \"linux/s390x\"]", &format!("{ARM}\"linux/s390x\" = {{ kubernetes = \"farm\" }}\n"), "");
    let ran = lab.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["--driver kubernetes --platform linux/s390x"]);
    let line = ran.stderr.lines().find(|line| line.contains("--platform linux/arm64")).unwrap();
    let (start, options) = line.split_once(" --driver-opt ").unwrap();
    assert!(
        start.contains(".cache/slipway-secrets/") && start.contains(".kubeconfig docker buildx create --name slipway-"),
        "{line}"
    );
    let options = options.split(" --buildkitd-config ").next().unwrap();
    let image = format!("'image=docker.io/moby/buildkit@{DIGEST}'");
    assert_eq!(
        options,
        format!("{image} --driver-opt 'namespace=x' --driver-opt 'requests.cpu=2' --driver-opt 'timeout=90s'"),
        "{line}"
    );
    assert!(ran.stderr.contains("buildx create --append --name slipway-"), "{}", ran.stderr);
    assert!(!lab.secrets().exists(), "credentials were written");
}

#[test]
fn what_is_not_in_the_cluster_is_built_by_a_container_of_ours_at_the_same_time() {
    let lab = lab("[\"linux/amd64\", \"linux/arm64\"]", ARM, "");
    let ran = lab.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["--driver kubernetes", "--driver docker-container"]);
    let bakes: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("buildx bake")).collect();
    assert_eq!(bakes.len(), 2, "{}", ran.stderr);
    assert!(bakes.iter().any(|line| line.contains("-kube --file")), "{bakes:?}");

    let node = "\"linux/amd64\" = { address = \"tcp://127.0.0.1:1\" }\n";
    let both = self::lab("[\"linux/amd64\", \"linux/arm64\"]", &format!("{ARM}{node}"), "");
    let ran = both.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["--driver kubernetes", "--driver remote"]);
    assert_eq!(ran.stderr.matches("docker buildx bake --builder slipway-").count(), 2, "{}", ran.stderr);
}

#[test]
fn a_kubeconfig_that_does_not_do() {
    let arm = |more: &str| lab("[\"linux/arm64\"]", &format!("\"linux/arm64\" = {{ {more} }}\n"), "");
    let of = |context: &str| format!("cannot use the builder of linux/arm64 in the cluster of {context}: ");
    let fram = arm("kubernetes = \"fram\"");
    fram.run(&TEST)
        .expect(3, &[&of("fram"), ".kube/config has no context `fram` (did you mean `farm`?)", "hint: `kubectl config"]);
    let home = arm("kubernetes = \"\"");
    home.run(&TEST).expect(3, &[&of("the current context"), "has no context `home`"]);
    let doctor = home.run(&["doctor", "--engine", "host"]).stdout;
    assert!(doctor.contains(&of("the current context")) && doctor.contains("`kubectl config get-contexts`"), "{doctor}");
    let farm = arm("kubernetes = \"farm\"").run(&["doctor", "--engine", "host"]).stdout;
    assert!(farm.contains("linux/arm64 in the cluster of farm: https://farm.example:6443 by farm"), "{farm}");
    std::fs::remove_file(home.repo().join("../.kube/config")).unwrap();
    home.run(&TEST).expect(3, &["there is no kubeconfig at ", "/.kube/config", "hint: export KUBECONFIG="]);
    // In a pod there need not be one.
    let mut command = home.command(&[&TEST[..], &["--dry-run"]].concat());
    let ran = Ran::from(command.env("KUBERNETES_SERVICE_HOST", "10.0.0.1").output().unwrap());
    ran.expect(0, &["KUBECONFIG='' docker buildx create --name slipway-"]);

    let named = arm("kubernetes = \"farm\", kubeconfig = \"${FARM}\"");
    named.run(&TEST).expect(3, &["${FARM} is not set", "hint: export FARM=…"]);
    let with = |value: &str, args: &[&str]| Ran::from(named.command(args).env("FARM", value).output().unwrap());
    let broken = with("contexts: [\n- hunter2: {", &TEST).expect(3, &["${FARM} is no kubeconfig: it is not YAML"]);
    assert!(!broken.stderr.contains("hunter2"), "{}", broken.stderr);
    with(KUBECONFIG, &[&TEST[..], &["--dry-run"]].concat()).expect(0, &["--driver kubernetes"]);
}

#[test]
fn pods_that_are_not_ready_are_named_with_those_that_are() {
    let boots = r##"  "buildx inspect slipway-"*-kube)
    a=$(sed -n 's/.*--node \([^ ]*s390x[^ ]*\).*/\1/p' ../said | tail -1)
    b=$(sed -n 's/.*--node \([^ ]*arm64[^ ]*\).*/\1/p' ../said | tail -1)
    if [ -z "$a" ]; then echo 'ERROR: no builder found' >&2; exit 1; fi
    printf 'Name: b\nDriver: kubernetes\n\nNodes:\n'
    printf 'Name: %s\nStatus: stopped\n\nName: %s\nStatus: running\n\nName: %s\nStatus: running\n' "$b" "$a" "$a" ;;
  "buildx inspect --bootstrap"*)
    a=$(sed -n 's/.*--node \([^ ]*s390x[^ ]*\).*/\1/p' ../said | tail -1)
    b=$(sed -n 's/.*--node \([^ ]*arm64[^ ]*\).*/\1/p' ../said | tail -1)
    echo "#1 [$a internal] booting buildkit" >&2
    echo "#2 [$b internal] booting buildkit" >&2
    echo "#1 DONE 1.0s" >&2
    echo "#2 waiting for 1 pods to be ready, timeout: 90 seconds" >&2
    echo "#2 ERROR: expected 1 replicas to be ready, got 0" >&2
    echo "ERROR: expected 1 replicas to be ready, got 0" >&2
    exit 1 ;;"##;
    let lab = lab("[\"linux/arm64\", \"linux/s390x\"]", &format!("{ARM}\"linux/s390x\" = {{ kubernetes = \"farm\" }}\n"), boots);
    let sed = ["/usr/bin/sed", "/bin/sed"].into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
    let tail = sed.replace("sed", "tail");
    for program in [sed, tail.as_str()] {
        lab.program(program.rsplit('/').next().unwrap(), &format!("exec {program} \"$@\""));
    }
    let ran = lab.run(&TEST).expect(
        3,
        &[
            "cannot start the builder of linux/arm64 in the cluster of farm: its pods were not ready within 1m 30s (expected 1 replicas \
             to be ready, got 0) (linux/s390x in the cluster of farm can be reached)",
            "hint: `kubectl --context farm --namespace x describe pods -l app=slipway-",
        ],
    );
    // What is there and does not run is only printed too.
    lab.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["docker buildx inspect --bootstrap slipway-"]);
    assert!(!ran.stderr.contains("hunter2") && !said(&lab).contains("hunter2"), "{}", ran.stderr);
    // One context, for its owner alone, with paths that hold from anywhere.
    let found = Command::new("find").arg(lab.secrets()).args(["-name", "*arm64*.kubeconfig", "-perm", "600"]).output().unwrap();
    let file = String::from_utf8(found.stdout).unwrap();
    let text = std::fs::read_to_string(file.trim()).unwrap();
    assert!(text.contains("\"current-context\": \"farm\"") && text.contains("/.kube/ca.crt"), "{text}");
}

#[test]
fn a_registry_on_loopback_is_not_the_clusters() {
    let lab = lab("[\"linux/arm64\"]", ARM, "");
    let images = std::fs::read_to_string(lab.repo().join("docker/images.toml")).unwrap();
    let push = "registry = \"127.0.0.1:5000\"\nnamespace = \"n\"\n";
    lab.write(
        "docker/images.toml",
        images.replace("schema = 1\n", &format!("schema = 1\n{push}")) + "[on.tag]\ntags = [\"{version}\"]\n",
    );
    let ran = lab.run(&[&TEST[..], &["--event", "tag:v1.0.0"]].concat());
    ran.expect(3, &["cannot use the builder of linux/arm64 in the cluster of farm: 127.0.0.1:5000 is this machine's own"]);
}
