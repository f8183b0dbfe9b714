//! The first scheduled run after a repository got its docker/images.toml: the released commit has none.

use crate::lab::Lab;

const IMAGES: &str = "schema = 1\nregistry = 'localhost:1'\nnamespace = 'acme'\nversion-file = 'VERSION'\n\
    [axes]\npython = { file = 'PYTHONS' }\n[image.web]\nvariant = '{python}'\n\
    [on.schedule]\ncron = '0 3 * * 0'\ntags = ['{version}-{variant}']\nreplace = true\n\
    [on.manual]\ntags = ['{version}-{variant}']\nreplace = true\n";

/// v1.0.0 was released from `released`; then everything was added that is here now.
fn adopted(released: &[(&str, &str)]) -> Lab {
    let lab = Lab::new();
    std::fs::remove_dir_all(lab.repo()).unwrap();
    for (path, text) in released {
        lab.write(path, text);
    }
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    let commit = |message: &str| {
        lab.git(&["add", "--all"]);
        lab.git(&["commit", "--quiet", "-m", message]);
    };
    commit("before");
    lab.git(&["tag", "v1.0.0"]);
    lab.write("docker/images.toml", IMAGES);
    lab.write("VERSION", "v1.0.0\n");
    lab.write("PYTHONS", "3.12\n3.13\n");
    lab.write("Dockerfile", "FROM scratch\nCOPY new /\n");
    lab.write("new", "");
    lab.write(".gitignore", "/target\n");
    commit("adopt");
    lab
}

fn plan(lab: &Lab, event: &str, note: &str) -> Vec<(String, Vec<String>, bool)> {
    let plan = lab.run(&["plan", "--json", "--engine", "host", "--event", event]).expect(0, &[note]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let builds = plan["builds"].as_array().unwrap().iter().map(|build| {
        let tags: Vec<String> = serde_json::from_value(build["push"]["tags"].clone()).unwrap();
        let takes_new = build["inputs"].to_string().contains("copy:new");
        (build["id"].as_str().unwrap().to_owned(), tags, takes_new)
    });
    builds.collect()
}

#[test]
fn a_version_of_before_the_file_is_rebuilt_with_todays() {
    let note = "v1.0.0 is released: its own source is built, commit ";
    let today = "with today's docker/images.toml, for it has none";
    let build = |python: &str| (format!("web-{python}"), vec![format!("localhost:1/acme/web-{python}:v1.0.0-{python}")], false);
    for event in ["schedule", "manual"] {
        let lab = adopted(&[("Dockerfile", "FROM scratch\n")]);
        let builds = plan(&lab, event, today);
        assert_eq!(builds, [build("3.12"), build("3.13")], "the old Dockerfile, today's values");
        plan(&lab, event, note);
        // The file of an axis counts as it was; the version is the one that is rebuilt.
        let lab = adopted(&[("Dockerfile", "FROM scratch\n"), ("PYTHONS", "3.12\n"), ("VERSION", "0.9\n")]);
        assert_eq!(plan(&lab, event, today), [build("3.12")]);
    }
}

#[test]
fn a_version_that_cannot_be_rebuilt_is_named() {
    let run = |released: &[(&str, &str)], words: &[&str]| {
        adopted(released).run(&["plan", "--engine", "host", "--event", "schedule"]).expect(2, words);
    };
    let today = "cannot rebuild the released source by today's docker/images.toml, for it has none";
    run(&[("README.md", "")], &[today, "`Dockerfile` of `web-3.12` does not exist", "hint: release a new version"]);
    let own = "cannot rebuild the released source by its own docker/images.toml";
    let old = "schema = 1\n[image.web]\nsbom = true\n";
    run(&[("Dockerfile", "FROM scratch\n"), ("docker/images.toml", old)], &[own, "unknown key", "hint: release a new version"]);
    run(&[("Dockerfile", "FROM scratch\n"), ("docker/images.toml", "schema = 0\n[image.web]\n")], &[own, "only 1 is known"]);
}
