//! Builders other than the engine's own: a container that we make, and BuildKit daemons of `[builders]`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::clone::Ran;
use crate::farm::{Farm, Made};
use crate::tiny::{IDS, IMAGES, Tiny, platforms};

/// Images with a test, and `more` lines.
fn images(tiny: &Tiny, more: &str) {
    let images = IMAGES.replace("NAMESPACE", &tiny.namespace);
    tiny.write("docker/images.toml", &format!("{images}{more}"));
}

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
const TESTED: &str = "[image.tiny.test]\nrun = \"grep -q {n} /n\"\n";

/// A base without a step for linux/arm64, which nothing here could run.
const DOCKERFILE: &str = "ARG TARGETARCH
FROM debian:bookworm-slim AS amd64
RUN sleep SECONDS
FROM scratch AS arm64
FROM ${TARGETARCH}
ARG N
LABEL n=$N
COPY file /
";

/// Two platforms, of which each has a node.
fn spread(tiny: &Tiny, table: &str, seconds: u8) {
    images(tiny, table);
    tiny.edit("docker/images.toml", "variant =", "platforms = [\"linux/amd64\", \"linux/arm64\"]\nvariant =");
    tiny.write("Dockerfile", &DOCKERFILE.replace("SECONDS", &seconds.to_string()));
    // Its time is in the layer.
    if !tiny.path().join("file").exists() {
        tiny.write("file", "the same everywhere\n");
    }
}

fn ci(tiny: &Tiny, version: &str, more: &[&str]) -> Ran {
    tiny.run(&[&["ci"], more].concat(), version)
}

/// Runs the test stage, and does something once a line of its progress has `word`.
fn during(tiny: &Tiny, version: &str, more: &[&str], word: &str, then: impl FnOnce()) -> Ran {
    let mut command = tiny.command(&["ci-build", "--mode", "test", "--event", &format!("tag:{version}")]);
    let mut child = command.args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(word) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "no {word:?} in {said}");
    }
    then();
    stderr.read_to_string(&mut said).unwrap();
    Ran { code: child.wait().unwrap().code(), stdout: String::new(), stderr: said }
}

fn diff_ids(tiny: &Tiny, name: &str, platform: &str) -> serde_json::Value {
    let config = tiny.crane(&["config", "--platform", platform, name]).unwrap();
    serde_json::from_str::<serde_json::Value>(&config).unwrap()["rootfs"]["diff_ids"].clone()
}

#[test]
fn through_a_container_of_our_own_a_tag_is_published_and_a_second_run_writes_nothing() {
    let tiny = Tiny::new();
    let made = Made::by(&tiny);
    images(&tiny, TESTED);
    tiny.version("v0.1.0");
    ci(&tiny, "v0.1.0", &["--builder", "container"]).expect(0);
    for id in IDS {
        let receipt = format!("target/slipway/receipts/digest-{}.txt", &id[5..]);
        let tested = Some(std::fs::read_to_string(tiny.path().join(receipt)).unwrap().trim().to_owned());
        assert_eq!((tiny.digest(id, "v0.1.0"), tiny.digest(id, "latest")), (tested.clone(), tested), "{id}");
    }
    let builder = tiny.engine(&format!("docker buildx inspect {}", made.name)).expect(0).stdout;
    assert!(builder.contains("Driver:        docker-container") && builder.contains("moby/buildkit@sha256:"), "{builder}");
    let doctor: Ran = tiny.command(&["doctor"]).output().unwrap().into();
    assert!(doctor.stdout.contains(&made.name), "{}", doctor.stdout);

    tiny.proxy.pass();
    let again = ci(&tiny, "v0.1.0", &["--builder", "container"]).expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());

    // An event that writes nothing loads; what is there with the same key is not built again.
    let local = |task: &[&str]| -> Ran { tiny.command(task).args(["--builder", "container"]).output().unwrap().into() };
    local(&["ci-build", "--mode", "test"]).expect(0);
    let kept = local(&["ci-build", "--mode", "test"]).expect(0);
    assert!(kept.stderr.contains("3 of 3 images are in the engine already"), "{}", kept.stderr);
    local(&["docker-test"]).expect(0);

    // Its cache can be emptied, for it is of this checkout alone; of images those of earlier builds go, by our names only.
    let by_hand = format!("{}:by-hand", tiny.namespace);
    let planned = local(&["plan", "--json"]).expect(0).json();
    let name = planned["builds"][0]["test"]["load"][0].as_str().unwrap();
    tiny.engine(&format!("docker tag {name} {by_hand}")).expect(0);
    tiny.edit("Dockerfile", "SETTING=1", "SETTING=2");
    local(&["ci-build", "--mode", "test"]).expect(0);
    let du = || local(&["cache", "du", "--json"]).expect(0).json();
    let before = du();
    assert!(before["builders"][0]["name"] == made.name.as_str() && before["builders"][0]["own"] == true, "{before}");
    assert!(before["builders"][0]["usage"]["reclaimable"].as_u64().unwrap() > 1_000_000, "{before}");
    assert_eq!((&before["images"]["newest"]["count"], &before["images"]["older"]["count"]), (&3.into(), &3.into()));
    local(&["cache", "prune"]).expect(0);
    let after = du();
    assert_eq!(after["builders"][0]["usage"]["bytes"], 0, "{after}");
    assert_eq!((&after["images"]["newest"]["count"], &after["images"]["older"]["count"]), (&3.into(), &0.into()));
    tiny.engine(&format!("docker image rm {by_hand}")).expect(0);
    let kept = local(&["ci-build", "--mode", "test"]).expect(0);
    assert!(kept.stderr.contains("3 of 3 images are in the engine already"), "{}", kept.stderr);
}

#[test]
fn a_parent_is_linked_and_a_builder_that_is_killed_is_named_and_comes_back() {
    let tiny = Tiny::new();
    let made = Made::by(&tiny);
    images(
        &tiny,
        "[image.child]\ndockerfile = \"Child\"\nparent = \"tiny\"\nvariant = \"{n}\"\ntest.run = \"grep -q {n} /n /child\"\n",
    );
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nARG N\nRUN sleep 3; echo $N > /n\n");
    tiny.write("Child", "FROM tiny\nRUN cp /n /child\n");
    tiny.version("v0.1.0");
    let container = ["--builder", "container"];
    let lost = during(&tiny, "v0.1.0", &container, "RUN sleep", || {
        tiny.engine(&format!("docker kill {}", made.container())).expect(0);
    })
    .expect(3);
    assert!(lost.stderr.contains(&format!("lost the builder {}", made.name)), "{}", lost.stderr);
    assert_eq!(tiny.state(), BTreeMap::new());
    ci(&tiny, "v0.1.0", &container).expect(0);
    assert_eq!(tiny.digest("tiny-c", "latest"), tiny.digest("tiny-c", "v0.1.0"));
}

#[test]
fn platforms_on_two_nodes_are_one_index_with_the_layers_of_one_node() {
    let tiny = Tiny::new();
    let (farm, _made) = (Farm::new(&tiny, 2), Made::by(&tiny));
    spread(&tiny, &farm.table(&[("linux/amd64", 0), ("linux/arm64", 1)], "client"), 0);
    tiny.write(".gitignore", "/target\n/certs\n");
    tiny.version("v0.1.0");
    ci(&tiny, "v0.1.0", &[]).expect(0);
    let targets = |version: &str| {
        let bake = tiny.run(&["plan", "--format", "bake"], version).expect(0).json();
        bake["target"].as_object().unwrap().len()
    };
    assert_eq!(targets("v0.1.0"), 2 * IDS.len());
    // Both platforms on one node: one target, one candidate.
    images(&tiny, "");
    spread(&tiny, &farm.table(&[("linux/amd64", 1), ("linux/arm64", 1)], "client"), 0);
    tiny.version("v0.2.0");
    assert_eq!(targets("v0.2.0"), IDS.len());
    ci(&tiny, "v0.2.0", &[]).expect(0);
    for id in IDS {
        let (two, one) = (tiny.name(id, "v0.1.0"), tiny.name(id, "v0.2.0"));
        for name in [&two, &one] {
            assert_eq!(platforms(&tiny, name), PLATFORMS, "{name}");
        }
        for platform in PLATFORMS {
            assert_eq!(diff_ids(&tiny, &two, platform), diff_ids(&tiny, &one, platform), "{id} {platform}");
        }
        assert_eq!(tiny.digest(id, "v0.2.0"), tiny.digest(id, "latest"), "{id}");
    }
}

#[test]
fn a_node_that_is_gone_or_refuses_us_is_named_and_nothing_is_published() {
    let tiny = Tiny::new();
    let (farm, _made) = (Farm::new(&tiny, 2), Made::by(&tiny));
    tiny.write(".gitignore", "/target\n/certs\n");
    let of = [("linux/amd64", 0), ("linux/arm64", 1)];
    let (amd, arm) = (farm.title("linux/amd64", 0), farm.title("linux/arm64", 1));

    farm.certificate("old", "20200102000000Z");
    spread(&tiny, &farm.table(&of, "old"), 4);
    tiny.version("v0.1.0");
    let expired = ci(&tiny, "v0.1.0", &[]).expect(3).stderr;
    let said = ["old.pem", "`cert` of the builder of linux/amd64: it has expired, on Jan  2 00:00:00 2020 GMT"];
    assert!(said.iter().all(|said| expired.contains(said)), "{expired}");

    let table = farm.table(&of, "client");
    spread(&tiny, &table.replace("certs/ca.pem", "certs/client.pem"), 4);
    tiny.version("v0.1.0");
    let wrong = ci(&tiny, "v0.1.0", &[]).expect(3).stderr;
    assert!(wrong.contains("its certificate is not signed by the authority in `ca`"), "{wrong}");

    spread(&tiny, &table.replace("\"certs/client-key.pem\"", "\"${FARM_KEY}\""), 4);
    tiny.version("v0.1.0");
    let unset = ci(&tiny, "v0.1.0", &[]).expect(3).stderr;
    assert!(unset.contains("cannot use `key` of the builder of linux/amd64: ${FARM_KEY} is not set"), "{unset}");

    spread(&tiny, &table, 4);
    tiny.version("v0.1.0");
    farm.stop(1);
    let unreachable = ci(&tiny, "v0.1.0", &[]).expect(3).stderr;
    let said = format!("cannot reach the builder of {arm}: connection refused ({amd} can be reached)");
    assert!(unreachable.contains(&said), "{unreachable}");
    farm.start(1);

    let lost = during(&tiny, "v0.1.0", &[], "RUN sleep", || farm.stop(0)).expect(3).stderr;
    let said = format!("lost the builder of {amd}: connection refused ({arm} can be reached)");
    assert!(lost.contains(&said), "{lost}");
    assert_eq!(tiny.state(), BTreeMap::new());
    farm.start(0);
    ci(&tiny, "v0.1.0", &[]).expect(0);
    for id in IDS {
        assert_eq!(platforms(&tiny, &tiny.name(id, "latest")), PLATFORMS);
        assert_eq!(tiny.digest(id, "latest"), tiny.digest(id, "v0.1.0"));
    }
}

#[test]
fn an_engine_without_the_containerd_store_gets_a_container_by_itself() {
    let tiny = Tiny::new();
    let made = Made::by(&tiny);
    images(&tiny, TESTED);
    tiny.version("v0.1.0");
    // The same engine by another address, through a client that tells of another store.
    tiny.engine("mkdir -p target && ln -s ${DOCKER_HOST#unix://} target/docker.sock").expect(0);
    let shim =
        "#!/bin/sh\ncase $1 in\ninfo) REAL \"$@\" | sed s/io.containerd.snapshotter.v1/none/ ;;\n*) exec REAL \"$@\" ;;\nesac\n";
    let real = tiny.engine("command -v docker").stdout;
    tiny.write("target/bin/docker", &shim.replace("REAL", real.trim()));
    let path = tiny.engine("chmod +x target/bin/docker; printf %s \"$PATH\"").stdout;
    let config = tiny.engine("printf %s \"$DOCKER_CONFIG\"").stdout;
    let on_host = |task: &[&str]| -> Ran {
        let mut command = tiny.command(task);
        command.args(["--engine", "host", "--event", "tag:v0.1.0"]).env("DOCKER_CONFIG", &config);
        command.env("DOCKER_HOST", format!("unix://{}/target/docker.sock", tiny.path().display()));
        command.env("PATH", format!("{}/target/bin:{path}", tiny.path().display())).output().unwrap().into()
    };
    let built = on_host(&["ci-build", "--mode", "test"]).expect(0);
    assert!(built.stderr.contains(&format!("making the builder {}", made.name)), "{}", built.stderr);
    on_host(&["docker-test"]).expect(0);
    assert!(!made.container().is_empty());
}

#[test]
fn several_builders_share_the_images_and_make_the_layers_of_one() {
    let tiny = Tiny::new();
    let farm = Farm::new(&tiny, 2);
    let names = farm.builders();
    images(&tiny, "");
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nARG N\nLABEL n=$N\nCOPY file /\n");
    tiny.write("file", "the same everywhere\n");
    tiny.version("v0.1.0");
    let shared = ["--builders", &names.join(",")];
    ci(&tiny, "v0.1.0", &shared).expect(0);
    for name in &names {
        let records = tiny.engine(&format!("docker buildx du --builder {name}")).expect(0).stdout;
        assert!(records.lines().count() > 3, "{name} built nothing: {records}");
    }
    // The next version by one builder alone.
    tiny.version("v0.2.0");
    ci(&tiny, "v0.2.0", &["--builder", &names[0]]).expect(0);
    for id in IDS {
        let [many, one] = ["v0.1.0", "v0.2.0"].map(|version| diff_ids(&tiny, &tiny.name(id, version), "linux/amd64"));
        assert_eq!(many, one, "{id}");
    }

    let state = tiny.state();
    tiny.version("v0.3.0");
    farm.stop(1);
    let lost = ci(&tiny, "v0.3.0", &shared).expect(3);
    let words = [format!("the builder {}", names[1]), format!("({} can be reached)", names[0])];
    words.iter().for_each(|word| assert!(lost.stderr.contains(word), "no {word:?} in {}", lost.stderr));
    assert_eq!(tiny.state(), state);
    farm.start(1);
    ci(&tiny, "v0.3.0", &shared).expect(0);
    assert_eq!(tiny.digest("tiny-c", "latest"), tiny.digest("tiny-c", "v0.3.0"));

    tiny.version("v0.4.0");
    let unknown = ci(&tiny, "v0.4.0", &["--builders", &format!("{},none", names[0])]).expect(3);
    assert!(unknown.stderr.contains("cannot use the builders none"), "{}", unknown.stderr);
}
