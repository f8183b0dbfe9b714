//! `explain`: what is in and what is left out, and what a file is for, however it is named.

use crate::lab::{Lab, Ran};

#[test]
fn what_a_file_is_for_is_told_however_it_is_written() {
    let lab = Lab::new();
    lab.write("Dockerfile", "FROM scratch\nCOPY src /\n");
    lab.write("src/x", "x");
    for (file, expected) in [
        ("./Dockerfile", "web  built and tested again"),
        ("docker/../src/x", "web  built and tested again"),
        ("docker/images.toml", "web  selected, as every build is; built again if that makes another image"),
        ("./README.md", "README.md: no image takes it, no test mounts it"),
    ] {
        let ran = lab.run(&["explain", "--if", file]).expect(0, &[]);
        assert_eq!(ran.stdout.trim_end(), expected, "{file}");
    }
    for file in ["../x", "/x"] {
        lab.run(&["explain", "--if", file]).expect(2, &["outside the repository", "hint: write a path relative to it"]);
    }
}

#[test]
fn a_file_is_found_from_the_current_folder_and_by_its_whole_path() {
    let lab = Lab::new();
    lab.write("Dockerfile", "FROM scratch\nCOPY a docs/b /\n");
    for file in ["a", "docs/a", "docs/b"] {
        lab.write(file, "x");
    }
    let (repo, taken, other) = (lab.repo().display().to_string(), "web  built and tested again", "no image takes it");
    for (file, flags, expected) in [
        ("../a", &[][..], taken),
        ("b", &[], taken),
        ("docs/b", &[], taken),
        ("a", &[], "docs/a: no image takes it"),
        ("new", &[], "docs/new: no image takes it"),
        ("../new", &[], "new: no image takes it"),
        ("new", &["--repo", ".."], "new: no image takes it"),
        (&format!("{repo}/a"), &[], taken),
        (&format!("{repo}/docs/a"), &[], other),
    ] {
        let ran = lab.command(&[&["explain", "--if", file], flags].concat()).current_dir(lab.repo().join("docs")).output();
        let ran = Ran::from(ran.unwrap()).expect(0, &[]);
        assert!(ran.stdout.contains(expected), "{file}: {}", ran.stdout);
    }
    let elsewhere = std::env::temp_dir();
    let ran = lab.command(&["explain", "--if", "a", "--repo", &repo]).current_dir(elsewhere).output().unwrap();
    assert!(Ran::from(ran).expect(0, &[]).stdout.contains(taken));
}

#[test]
fn all_that_is_left_out_is_explained_also_by_its_image() {
    let lab = Lab::new();
    let app = "[image.app]\nvariant = \"{n}\"\ncontext = \"{n}\"\n";
    lab.write("docker/images.toml", format!("schema = 1\n[axes]\nn = [\"1\", \"2\"]\n{app}[image.tool]\n"));
    for n in ["1", "2"] {
        lab.write(&format!("{n}/Dockerfile"), "FROM scratch\nCOPY a /\n");
        lab.write(&format!("{n}/a"), "1");
    }
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let said = |args: &[&str]| {
        let ran = lab.run(&[&["explain", "--event", "pr:1"], args].concat()).expect(0, &[]).stdout;
        ran.lines().filter_map(|line| Some(line.split_once(": left out by pr:1: ")?.0.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(said(&[]), ["app-1", "app-2", "tool"]);
    assert_eq!(said(&["app"]), ["app-1", "app-2"]);
    assert_eq!(said(&["app-2"]), ["app-2"]);
    lab.write("2/a", "2");
    assert_eq!(said(&["app"]), ["app-1"], "the other is in");
    let ran = lab.run(&["explain", "app", "--event", "pr:1", "--json"]).expect(0, &[]);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(told[0]["id"] == "app-2" && told[0]["reasons"].is_array() && told[1]["skipped"].is_array(), "{told:#}");
    assert_eq!(said(&["--only", "id=app-2"]), [""; 0], "nobody asked");
}
