//! `[builders]` in Kubernetes with the real buildx, as far as that goes without a cluster: what it takes of our flags, and
//! what a run says of an API that is not there, is silent, refuses, or never gets a pod ready.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clone::Ran;
use crate::farm::Made;
use crate::tiny::{IMAGES, Tiny};

const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";

/// Ends the silence: buildx itself would wait for ever.
const OVER: &str = "over";

/// How it answers.
#[derive(Clone, Copy, PartialEq)]
enum Api {
    Silent,
    Refuses,
    /// It takes a deployment, whose pods are never ready.
    NeverReady,
}

/// An API on loopback, for as long as the test runs; its port, and the lines of requests.
fn serve(api: Api) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, log) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let shared = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = Arc::clone(&shared);
            std::thread::spawn(move || answer(&stream, api, &log));
        }
    });
    (port, log)
}

fn answer(stream: &TcpStream, api: Api, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
            let header = line.to_lowercase();
            length = header.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
            if request.is_empty() {
                request = line.trim().to_owned();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if request.is_empty() || reader.read_exact(&mut body).is_err() {
            return;
        }
        let made = log.lock().unwrap().iter().any(|line| line.starts_with("POST") && line.contains("/deployments"));
        log.lock().unwrap().push(request.clone());
        let status = |code: u16, reason: &str, message: &str| {
            let text = format!(
                r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"{reason}","message":"{message}","code":{code}}}"#
            );
            (code, text)
        };
        let (code, text) = match (api, request.split(' ').next().unwrap_or_default()) {
            (Api::Silent, _) => {
                while !log.lock().unwrap().iter().any(|line| line == OVER) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                return;
            }
            (Api::Refuses, _) => status(403, "Forbidden", "deployments.apps is forbidden in the namespace builds"),
            (Api::NeverReady, "POST") => (201, r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d"}}"#.into()),
            (Api::NeverReady, "GET") if made => {
                let ready = r#""metadata":{"name":"d"},"status":{"readyReplicas":0}"#;
                (200, format!(r#"{{"kind":"Deployment","apiVersion":"apps/v1",{ready}}}"#))
            }
            (Api::NeverReady, "DELETE") => (200, r#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#.into()),
            (Api::NeverReady, _) => status(404, "NotFound", "not found"),
        };
        let head = format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        let mut out = stream;
        if out.write_all(format!("{head}{text}").as_bytes()).is_err() {
            return;
        }
    }
}

/// A kubeconfig whose current context is another one.
fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\ncurrent-context: home\ncontexts:\n- name: farm\n  context: {{cluster: farm, user: me, namespace: builds}}\n\
         clusters:\n- name: farm\n  cluster: {{server: 'http://127.0.0.1:{port}'}}\nusers:\n- name: me\n  user: {{token: hunter2}}\n"
    )
}

/// Every option that the buildx of the sandbox knows.
const OPTIONS: &str = r#"namespace = "builds", replicas = "2", rootless = "true", nodeselector = "kubernetes.io/arch=amd64,pool=x",
tolerations = "key=a,operator=Exists;key=b,operator=Exists", labels = "a=b,c=d", annotations = "a=b", serviceaccount = "s",
schedulername = "s", "requests.cpu" = "1", "requests.memory" = "1Gi", "requests.ephemeral-storage" = "1Gi", "limits.cpu" = "2",
"limits.memory" = "2Gi", "limits.ephemeral-storage" = "2Gi", buildkit-root-volume-memory = "1Gi", loadbalance = "random",
"qemu.install" = "true", "qemu.image" = "IMAGE", "env.HTTPS_PROXY" = "http://p:1", "#;

fn run(tiny: &Tiny, port: u16, options: &str) -> Ran {
    let options =
        format!("image = \"moby/buildkit@{DIGEST}\", {}", options.replace("IMAGE", &format!("x@{DIGEST}")).replace('\n', " "));
    let builder = format!("kubernetes = \"farm\", kubeconfig = \"${{FARM}}\", options = {{ {options} }}");
    let images = IMAGES.replace("NAMESPACE", &tiny.namespace);
    let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    tiny.write("docker/images.toml", &format!("{images}[builders]\n\"{platform}\" = {{ {builder} }}\n"));
    tiny.write("VERSION", "0.1.0\n");
    tiny.command(&["ci-build", "--mode", "test"]).env("FARM", kubeconfig(port)).output().unwrap().into()
}

#[test]
fn a_cluster_that_cannot_be_used_is_named_with_its_cause() {
    let tiny = Tiny::new();
    let made = Made::by(&tiny);
    let node = "builder of linux/a";
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = run(&tiny, refused, OPTIONS).expect(3).stderr;
    let said =
        [&format!("cannot use the {node}"), "in the cluster of farm: dial tcp 127.0.0.1:", ": connect: connection refused"];
    assert!(said.iter().all(|said| gone.contains(said)), "{gone}");
    let kube = format!("{}-kube", made.name);
    let builder = || tiny.engine(&format!("docker buildx inspect {kube}")).stdout;
    let first = builder();
    assert!(first.contains("Driver:        kubernetes") && first.contains("pool=x") && first.contains(DIGEST), "{first}");

    // Another definition is another node; that the old one can't be removed from its cluster is told.
    let (port, log) = serve(Api::Refuses);
    let refuses = run(&tiny, port, "").expect(3).stderr;
    let said = ["in the cluster of farm: deployments.apps is forbidden in the namespace builds", "may still be in their cluster"];
    assert!(said.iter().all(|said| refuses.contains(said)), "{refuses}");
    assert!(!builder().contains("pool=x") && !refuses.contains("hunter2"), "{refuses}");
    assert!(log.lock().unwrap().iter().all(|line| line.contains("/namespaces/builds/deployments")), "the context's namespace");

    let (port, log) = serve(Api::NeverReady);
    let started = Instant::now();
    let late = run(&tiny, port, "timeout = \"3s\"").expect(3).stderr;
    let said = [
        "cannot start the",
        "its pods were not ready within 3s (expected 1 replicas to be ready, got 0)",
        "describe pods -l app=",
    ];
    assert!(said.iter().all(|said| late.contains(said)) && started.elapsed() < Duration::from_secs(60), "{late}");
    let posted = |what: &str| log.lock().unwrap().iter().any(|line| line.starts_with("POST") && line.contains(what));
    assert!(posted("/deployments") && posted("/configmaps"), "{:?}", log.lock().unwrap());
    tiny.engine(&format!("docker buildx rm --force {kube}")).expect(0);
    assert!(log.lock().unwrap().iter().any(|line| line.starts_with("DELETE")), "{:?}", log.lock().unwrap());
}

#[test]
fn a_cluster_that_does_not_answer_is_given_up() {
    let tiny = Tiny::new();
    let _made = Made::by(&tiny);
    let started = Instant::now();
    let (port, log) = serve(Api::Silent);
    let silent = run(&tiny, port, "");
    log.lock().unwrap().push(OVER.into());
    let silent = silent.expect(3).stderr;
    assert!(silent.contains("in the cluster of farm: no answer within 20s"), "{silent}");
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
}
