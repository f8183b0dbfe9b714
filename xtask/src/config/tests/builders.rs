//! What is said of wrong `[builders]`, and that what is right is taken.

use super::*;

fn faults(lines: &str) -> String {
    said(&format!("[image.a]\n[builders]\n{lines}"))
}

/// Of one option in a cluster.
fn option(name: &str, value: &str) -> String {
    let said = faults(&format!("'linux/arm64' = {{ kubernetes = 'farm', options = {{ \"{name}\" = '{value}' }} }}"));
    said.replace("f:3: builder `linux/arm64`: ", "")
}

#[test]
fn a_daemon_or_a_cluster() {
    for (lines, expected) in [
        ("arm64.address = 'tcp://x:1'", "f:3: platform `arm64` is not known (did you mean `linux/arm64`?)"),
        ("'linux/arm64'.address = 'x'", "f:3: `x` is not an address (write such as \"tcp://host:1234\")"),
        (
            "'linux/arm64' = {}",
            "f:3: builder `linux/arm64` has no `address` (add address = \"tcp://host:1234\", or kubernetes = \"CONTEXT\")",
        ),
        (
            "'linux/arm64' = { address = 'tcp://x:1', cert = 'c' }",
            "f:3: builder `linux/arm64` has one of cert and key without the other",
        ),
        (
            "'linux/arm64' = { address = 'tcp://x:1', kubernetes = '' }",
            "f:3: builder `linux/arm64` has both `address` and `kubernetes` (one builds)",
        ),
        (
            "'linux/arm64' = { address = 'tcp://x:1', options.replicas = '2' }",
            "f:3: builder `linux/arm64` has options and an address (options goes with kubernetes = \"CONTEXT\")",
        ),
        (
            "'linux/arm64' = { kubernetes = 'farm', ca = 'ca.pem' }",
            "f:3: builder `linux/arm64` has ca and is in Kubernetes (ca goes with an address)",
        ),
        (
            "'linux/arm64'.kubernetes = '${FARM}'",
            "f:3: `${FARM}` is not the name of a context (`kubectl config get-contexts` lists them)",
        ),
        (
            "'linux/arm64' = { kubernetes = '', kubeconfig = '/etc/kube' }",
            "f:3: `/etc/kube` is outside the repository (write a path relative to it)",
        ),
        ("'linux/arm64'.kubernetes = 1", "f:3: `builders.\"linux/arm64\".kubernetes` is a number, not text (write \"1\")"),
        ("'linux/arm64' = { kubernetes = '', kubeconfig = '${FARM_KUBECONFIG}' }", ""),
        // Each of its own kind: which of them a run needs, it knows.
        ("'linux/arm64'.kubernetes = 'farm'\n'linux/amd64'.address = 'tcp://x:1'", ""),
    ] {
        let said = faults(lines);
        assert_eq!(said, expected, "{lines}");
    }
}

#[test]
fn options_of_the_driver() {
    let digest = "0123456789".repeat(7)[..64].to_owned();
    for (name, value, expected) in [
        ("namespce", "x", "unknown option `namespce` (did you mean `namespace`?)"),
        ("namespace", "My Builds", "option `namespace` is \"My Builds\" (write lower case letters, digits and -)"),
        ("replicas", "0", "option `replicas` is \"0\" (write a number from \"1\")"),
        ("rootless", "yes", "option `rootless` is \"yes\" (write \"true\" or \"false\")"),
        ("nodeselector", "arch", "option `nodeselector` is \"arch\" (write such as \"KEY=VALUE,KEY=VALUE\")"),
        ("loadbalance", "rand", "option `loadbalance` is \"rand\" (did you mean `random`?)"),
        ("timeout", "10", "option `timeout`: `10` is not a time (write such as \"90s\", \"10m\" or \"1h 30m\")"),
        (
            "image",
            "moby/buildkit:latest",
            "option `image` is \"moby/buildkit:latest\" (write \"NAME@sha256:…\", which stays the same)",
        ),
        ("default-load", "true", "option `default-load` is not for here (what is loaded is said by the plan)"),
        ("qemu.install", "true", "qemu.install runs an image with all rights (add \"qemu.image\" = \"NAME@sha256:…\")"),
        (
            "env.HTTPS_PROXY",
            "http://me:hunter2@p:1",
            "option `env.HTTPS_PROXY` has a password (options are no place for secrets)",
        ),
        ("env.HTTPS_PROXY", "http://p:1/a@b", ""),
        ("limits.memory", "", "option `limits.memory` is \"\" (write a value)"),
        ("nodeselector", "kubernetes.io/arch=arm64,pool=x", ""),
        ("image", &format!("r.example:5000/buildkit:v1@sha256:{digest}"), ""),
        ("timeout", "1h 30m", ""),
    ] {
        assert_eq!(option(name, value), expected, "{name} = {value}");
    }
}
