//! Pushed tags: a version is asked for only where a build of the tag needs one.

use crate::lab::Lab;

const TASKS: [&[&str]; 6] =
    [&["ci-build", "--mode", "test"], &["ci-build", "--mode", "push"], &["docker-test"], &["scan"], &["ci"], &["release"]];

/// Three images, each with tags of its own; no docker is there, so that a run which starts anything ends with 3.
fn lab(version_file: bool) -> Lab {
    let lab = Lab::new();
    let file = if version_file { "version-file = 'VERSION'\n" } else { "" };
    let images = format!(
        "schema = 1\nregistry = 'localhost:1'\nnamespace = 'acme'\n{file}[image.web]\n[image.web.on.tag]\n\
         match = 'v[0-9]+.[0-9]+.[0-9]+'\n[image.api]\n[image.api.on.tag]\nmatch = 'deploy-*'\n\
         tags = ['deploy-{{sha7}}', 'deployed']\n[image.docs]\n[image.docs.on.tag]\nmatch = ['docs/**', 'ü*']\n\
         tags = ['docs']\n[check.unit]\nin = 'web'\nrun = 'true'\n"
    );
    lab.write("docker/images.toml", images);
    lab.write("VERSION", "v1.0.0\n");
    lab.git(&["init", "--quiet"]);
    lab.git(&["add", "."]);
    lab.git(&["commit", "--quiet", "-m", "first"]);
    lab
}

fn builds(lab: &Lab, tag: &str) -> Vec<String> {
    let plan = lab.run(&["plan", "--json", "--engine", "host", "--event", &format!("tag:{tag}")]).expect(0, &[]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    plan["builds"].as_array().unwrap().iter().map(|build| build["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_tag_that_no_image_takes_is_skipped_by_every_task() {
    for version_file in [false, true] {
        let lab = lab(version_file);
        for task in TASKS {
            skipped(&lab, task, "nightly");
        }
        for tag in [
            "v1",
            "v1.2",
            "chart-0.3.1",
            "helm-chart-0.1.0",
            "v1.2.3.4",
            "v1.2.3-rc.1",
            "2026.11.21",
            "release/v1.2.3",
            "日本",
            "v",
            "_",
        ] {
            skipped(&lab, &["ci"], tag);
            assert!(builds(&lab, tag).is_empty(), "{tag}");
        }
    }
}

fn skipped(lab: &Lab, task: &[&str], tag: &str) {
    let ran = lab.run(&[task, &["--engine", "host", "--event", &format!("tag:{tag}")]].concat());
    ran.expect(0, &[&format!("nothing to do: no image takes the tag {tag}: on.tag is for deploy-* only; ")]);
}

#[test]
fn a_tag_needs_no_version_where_nothing_is_made_of_it() {
    for version_file in [false, true] {
        let lab = lab(version_file);
        for (tag, taken) in [("deploy-prod", "api"), ("deploy-2026-11-21.1", "api"), ("docs/latest/x", "docs"), ("über", "docs")]
        {
            assert_eq!(builds(&lab, tag), [taken], "{tag}");
            // It gets as far as looking for an engine.
            let event = format!("tag:{tag}");
            lab.run(&["ci", "--engine", "host", "--event", &event]).expect(3, &["no Docker answers"]);
        }
        assert_eq!(builds(&lab, "v1.0.0"), ["web"]);
    }
}

#[test]
fn a_version_is_demanded_with_the_text_that_needs_it() {
    let run = |lab: &Lab, tag: &str, words: &[&str]| {
        for task in ["plan", "ci"] {
            lab.run(&[task, "--engine", "host", "--event", &format!("tag:{tag}")]).expect(2, words);
        }
    };
    let with = |keys: &str| {
        let lab = Lab::new();
        lab.write("docker/images.toml", format!("schema = 1\n{keys}"));
        lab.write("VERSION", "v1.0.0");
        lab
    };
    let plain = with("[image.web]\n");
    run(
        &plain,
        "v1",
        &["web needs a version for \"{semver}\": the tag `v1` is not a version", "hint: let [on.tag] leave v1 out"],
    );
    let filed = with("version-file = 'VERSION'\n[image.web]\n[on.tag]\nmatch = '**'\n");
    run(
        &filed,
        "helm-chart-0.1.0",
        &["the tag is helm-chart-0.1.0, but VERSION says v1.0.0", "hint: push the tag v1.0.0; or let"],
    );
    run(&filed, "v2.0.0", &["the tag is v2.0.0, but VERSION says v1.0.0", "hint: write v2.0.0 into VERSION"]);
    let on = "[image.web.on]\npull-request = false\nlocal = false\ntag = { match = 'x*', tags = ['{sha7}'] }\n";
    for (place, text) in [("args = { V = 'x{major}' }", "x{major}"), ("labels = { v = '{version}' }", "{version}")] {
        let lab = with(&format!("[image.web]\n{place}\n{on}"));
        run(&lab, "x1", &[&format!("web needs a version for \"{text}\": the tag `x1` is not a version")]);
    }
}
