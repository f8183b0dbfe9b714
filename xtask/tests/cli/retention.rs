//! `retention`: wrong input, absent tools, and GitHub's registry, whose lists and deletions are not those of others.

use crate::lab::{GOOD, Lab};

const IMAGES: &str = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n[image.web]\n[on.tag]\ntags = [\"{version}\", \"latest\"]\n[retention]\nkeep = 1\n";

fn digest(n: u32) -> String {
    format!("sha256:{n:064}")
}

fn lab(images: &str) -> Lab {
    let lab = Lab::with_docker(GOOD);
    lab.write("docker/images.toml", images);
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab
}

const ARGS: [&str; 5] = ["retention", "--event", "tag:v1.1.0", "--engine", "host"];

/// A package with two releases, each an index of one image, and what is left of builds; `gh` says `more` to what else.
fn github(more: &str) -> Lab {
    let lab = lab(IMAGES);
    let line = |id: u32, at: &str, tags: &str| format!("{id}\\t{}\\t{at}T00:00:00Z\\t{tags}\\n", digest(id));
    let old = "2026-01-01";
    let young = "2999-01-01";
    let lines = [
        line(10, old, "v1.0.0"),
        line(20, old, "v1.1.0,latest"),
        line(11, old, ""),
        line(21, old, ""),
        line(30, old, ""),
        line(40, young, ""),
    ];
    lab.program(
        "gh",
        &format!(
            r#"case "$*" in
  "api users/acme --jq .type") echo Organization ;;
  "api --paginate orgs/acme/packages/container/web/versions?per_page=100"*) printf '{}' ;;
  "api --method DELETE orgs/acme/packages/container/web/versions/"*) {more} echo "$*" >>../deleted ;;
  *) echo "gh: unknown: $* (HTTP 404)" >&2; exit 1 ;;
esac"#,
            lines.concat()
        ),
    );
    let index = |n: u32| format!(r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "linux"}}}}]}}"#, digest(n));
    let config = r#"{"created": "2026-01-01T00:00:00Z", "config": {"Labels": {"dev.slipway.key": "k"}}}"#;
    let image = r#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}"#;
    lab.program(
        "crane",
        &format!(
            "case \"$*\" in\n  manifest*{}) echo '{}' ;;\n  manifest*{}) echo '{}' ;;\n  manifest*) echo '{image}' ;;\n  config*) echo '{config}' ;;\n  *) echo \"Error: $*\" >&2; exit 1 ;;\nesac",
            digest(10),
            index(11),
            digest(20),
            index(21)
        ),
    );
    lab
}

fn deleted(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.repo().join("../deleted")).unwrap_or_default();
    text.lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn nothing_to_keep_is_configured() {
    let none = lab(&IMAGES.replace("[retention]\nkeep = 1\n", ""));
    none.run(&ARGS).expect(2, &["docker/images.toml has no [retention]", "hint: add `[retention]`"]);
    let local = lab(&IMAGES.replace("registry = \"ghcr.io\"\n", ""));
    local.run(&ARGS).expect(2, &["images stay local", "hint: set `registry`"]);
}

#[test]
fn a_tool_that_is_absent() {
    let elsewhere = lab(&IMAGES.replace("ghcr.io", "localhost:1"));
    elsewhere.run(&ARGS).expect(3, &["cannot list the tags of localhost:1/acme/web without crane", "hint: install crane"]);
    let github = lab(IMAGES);
    github.program("crane", "exit 1");
    github.run(&ARGS).expect(3, &["cannot list the packages of ghcr.io/acme without gh", "hint: install gh"]);
}

#[test]
fn on_githubs_registry_what_has_no_tag_goes_too() {
    let lab = github("");
    let said = lab.run(&ARGS).expect(0, &["`cargo xtask retention --apply` removes these"]);
    assert!(said.stdout.contains("ghcr.io/acme/web:v1.0.0") && deleted(&lab).is_empty(), "{}", said.stdout);
    let ran = lab.run(&[&ARGS[..], &["--apply", "--json"]].concat()).expect(0, &[]);
    // An index before its image; the one that `latest` has stays, and so does what is young.
    assert_eq!(deleted(&lab), ["10", "11", "30"], "{}", ran.stdout);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((json["applied"].as_bool(), json["gone"].as_array().unwrap().len()), (Some(true), 3));
}

#[test]
fn a_run_that_publishes_nothing_deletes_nothing() {
    let lab = github("");
    let apply = |event: &str| {
        let args = ["retention", "--apply", "--event", event, "--engine", "host"];
        let ran = lab.run(&args).expect(0, &["nothing is removed: "]);
        assert_eq!((ran.stdout.as_str(), deleted(&lab)), ("", Vec::new()), "{event}");
        ran.stderr
    };
    for event in ["local", "pr:12", "merge-queue", "schedule", "branch:main"] {
        assert!(apply(event).contains("publishes nothing here"), "{event}");
    }
    // The branch publishes by a configuration of its own, which keeps less.
    let on = "[on.manual]\ntags = [\"{branch}-{sha7}\"]\n[on.branch.main]\ntags = [\"main\"]\n[on.branch.feature]\ntags = [\"feature\"]\n";
    lab.write("docker/images.toml", format!("{IMAGES}grace = \"0s\"\n{on}"));
    lab.git(&["checkout", "--quiet", "-b", "feature"]);
    assert!(apply("tag:v1.1.0").contains("changes that are not committed"));
    lab.git(&["commit", "--quiet", "--all", "-m", "two"]);
    assert!(apply("manual").contains("manual publishes nothing here"));
    assert!(apply("branch:feature").contains("this run is of branch feature, and only the [retention] of main counts"));
    assert!(apply("branch:main").contains("the checkout is of branch feature"));
    let json = lab.run(&["retention", "--apply", "--json", "--event", "branch:feature", "--engine", "host"]).expect(0, &[]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["applied"].as_bool(), deleted(&lab).len()), (Some(false), 0));
    let said = lab
        .run(&["retention", "--event", "branch:feature", "--engine", "host"])
        .expect(0, &["not this one: this run is of branch feature"]);
    assert!(said.stdout.contains("ghcr.io/acme/web:v1.0.0"), "{}", said.stdout);
    // By hand it is the default branch that cleans up.
    lab.git(&["checkout", "--quiet", "main"]);
    lab.git(&["merge", "--quiet", "feature"]);
    lab.run(&["retention", "--apply", "--event", "branch:main", "--engine", "host"]).expect(0, &[]);
    assert!(deleted(&lab).contains(&"10".to_owned()), "{:?}", deleted(&lab));
}

#[test]
fn github_refuses() {
    for (more, code, words) in [
        ("echo 'gh: Must have admin rights. (HTTP 403)' >&2; exit 1;", 3, ["denied", "the role Admin of the package"]),
        (
            "echo 'gh: set the GH_TOKEN environment variable' >&2; exit 4;",
            3,
            ["gh is not logged in", "GH_TOKEN: ${{ github.token }}"],
        ),
        ("echo 'gh: You cannot delete the last version (HTTP 400)' >&2; exit 1;", 1, ["cannot delete version 10", "HTTP 400"]),
    ] {
        let lab = github(more);
        lab.run(&[&ARGS[..], &["--apply"]].concat()).expect(code, &words);
        assert!(deleted(&lab).is_empty());
    }
}
