//! Tags of a branch after force pushes: they go where the branch goes, and every other tag goes forward only.

use std::process::Command;

use crate::clone::Ran;
use crate::tiny::Tiny;

const BRANCH: &str = "[on.branch.main]\ntags = [\"edge-{branch}\", \"stable\"]\n[on.tag]";

#[test]
fn a_tag_of_a_branch_goes_back_with_it() {
    let tiny = Tiny::of(1);
    // Without a version: two images of one version may take a tag from each other.
    tiny.edit("docker/images.toml", "version-file = \"VERSION\"\n", "");
    tiny.edit("docker/images.toml", "[on.manual]\ntags = [\"{version}\"]\n", "");
    tiny.edit("docker/images.toml", "[on.tag]", BRANCH);
    let origin = tempfile::tempdir().unwrap();
    let origin = origin.path().to_str().unwrap();
    tiny.git(&["init", "--quiet", "--bare", "--initial-branch=main", origin]);
    tiny.git(&["remote", "add", "origin", &format!("file://{origin}")]);
    let commit = |setting: u32| -> String {
        tiny.write("Dockerfile", &format!("FROM debian:bookworm-slim\nARG N\nENV SETTING={setting}\nRUN echo $N > /n\n"));
        tiny.version("v0.1.0");
        let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(tiny.path()).output().unwrap();
        String::from_utf8(head.stdout).unwrap().trim().to_owned()
    };
    let push = |flags: &[&str]| tiny.git(&[&["push", "--quiet"], flags, &["origin", "HEAD:refs/heads/main"]].concat());
    let ci = |event: &str| -> Ran { tiny.command(&["ci", "--event", event]).output().unwrap().into() };
    let tags = || ["edge-main", "stable"].map(|tag| tiny.digest("tiny-a", tag).expect(tag));

    let first = commit(1);
    push(&[]);
    ci("branch:main").expect(0);
    let [one, _] = tags();
    let second = commit(2);
    push(&[]);
    ci("branch:main").expect(0);
    let [two, stable] = tags();
    assert!(one != two && two == stable);

    tiny.git(&["reset", "--quiet", "--hard", &first]);
    push(&["--force"]);
    ci("branch:main:forced").expect(0);
    assert_eq!(tags(), [one.clone(), two.clone()], "git reset");

    // The run of what was taken off the branch ends late: this clone knew the commit on the branch.
    tiny.git(&["update-ref", "refs/remotes/origin/main", &second]);
    tiny.git(&["checkout", "--quiet", "--detach", &second]);
    ci("branch:main").expect(0);
    assert_eq!(tags(), [one, two.clone()], "it is not on the branch");

    tiny.git(&["checkout", "--quiet", "main"]);
    commit(3);
    push(&["--force"]);
    ci("branch:main").expect(0);
    let [three, stable] = tags();
    assert!(three != two && stable == two, "a push on the new history, also where nobody says that it was forced");
}
