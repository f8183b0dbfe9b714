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
