//! Names, lines and outputs of others in everything that is printed: shown, and never a command to a terminal or to GitHub.

use crate::lab::{Lab, Ran};

/// Characters that would do something, and what may not be printed as it is.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{200b}\r::warning::y\n::error::z ##[error]w";

fn in_actions(lab: &Lab, args: &[&str]) -> Ran {
    let mut command = lab.command(args);
    command.env("GITHUB_ACTIONS", "true").output().unwrap().into()
}

/// Panics if a line that was printed is a command, or has a character that does more than to be read.
fn is_harmless(ran: Ran, code: i32, words: &[&str]) -> Ran {
    let all = format!("{}\n{}", ran.stdout, ran.stderr);
    for line in all.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        let is_ours = line.starts_with("::group::") || line.starts_with("::endgroup::");
        assert!(is_ours || !line.trim_start().starts_with("::"), "{line:?} in {all:?}");
        assert!(!line.contains("##["), "{line:?}");
    }
    let hidden = all.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{200b}'..='\u{202e}').contains(c));
    assert_eq!(hidden, None, "{all:?}");
    ran.expect(code, words)
}

#[test]
fn what_a_check_prints() {
    let lab = Lab::new();
    let script = "printf 'a\\r::warning::x\\n  ::add-mask::y\\nb ##[error]z\\n\\033[31mred\\033[0m \\033[2Jgone \\302\\233 \\342\\200\\256'";
    lab.write("say", script);
    lab.write("docker/images.toml", "schema = 1\n[image.web]\ntest.run = 'true'\n[check.a]\nrun = 'sh say'\n");
    let ran = is_harmless(
        in_actions(&lab, &["static-checks", "--event", "local"]),
        0,
        &[r"a\r::warning::x", r"  \::add-mask::y", r"b ##\[error]z"],
    );
    assert!(ran.stderr.contains(r"red \u{1b}[2Jgone \u{9b} \u{202e}"), "{}", ran.stderr);
}

#[test]
fn names_in_plans_and_errors() {
    let lab = Lab::new();
    lab.write(&format!("src/{HOSTILE}"), "1");
    lab.write(
        "docker/images.toml",
        "schema = 1\nregistry = 'r.example'\nnamespace = 'n'\n[image.web]\n[on.branch.main]\ntags = ['latest']\n",
    );
    lab.write("Dockerfile", "FROM scratch\nCOPY src /\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    let before = std::process::Command::new("git").current_dir(lab.repo()).args(["rev-parse", "HEAD"]).output().unwrap().stdout;
    let event = serde_json::json!({ "env": { "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main" },
        "event": { "before": String::from_utf8(before).unwrap().trim() } });
    std::fs::write(lab.repo().join("../event.json"), event.to_string()).unwrap();
    let event = ["--event-file", "../event.json"];
    lab.write(&format!("src/{HOSTILE}"), "2");
    lab.git(&["commit", "--quiet", "--all", "-m", "two"]);
    let plan = is_harmless(in_actions(&lab, &[&["plan"][..], &event].concat()), 0, &[]);
    assert!(plan.stdout.contains(r"\u{202e}\u{200b}\r::warning::y\n::error::z ##\[error]w changed"), "{}", plan.stdout);
    let json = is_harmless(in_actions(&lab, &[&["plan", "--json"][..], &event].concat()), 0, &[]).stdout;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value["builds"][0]["reasons"][0].as_str().unwrap().contains(HOSTILE), "the same value: {json}");
    is_harmless(in_actions(&lab, &["explain", "--event", "local", "--if", &format!("src/{HOSTILE}")]), 0, &[]);
    is_harmless(in_actions(&lab, &["explain", "--event", "local", HOSTILE]), 2, &[]);
    is_harmless(in_actions(&lab, &["plan", "--event", "local", "--only", HOSTILE]), 2, &["error: "]);
    is_harmless(in_actions(&lab, &["plan", "--event", &format!("branch:{HOSTILE}")]), 2, &["error: "]);
    is_harmless(in_actions(&lab, &[HOSTILE]), 2, &["error: "]);
    is_harmless(in_actions(&lab, &["plan", "--plan", HOSTILE]), 2, &["error: cannot read the plan "]);
    // A line of a Dockerfile and a key of the configuration.
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n\"a\\u001b\\n::error::b\" = 1\n");
    is_harmless(in_actions(&lab, &["plan", "--event", "local"]), 2, &["error: "]);
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n");
    lab.write("Dockerfile", "FROM scratch\n\u{1b}[2J::error::x ##[y]\n");
    is_harmless(in_actions(&lab, &["plan", "--event", "local"]), 0, &["Dockerfile:2: unknown instruction "]);
}

#[test]
fn elsewhere_lines_are_not_commands() {
    let lab = Lab::new();
    lab.write("say", "printf '::notice::x\\n\\033[2J##[y]\\n'");
    lab.write("docker/images.toml", "schema = 1\n[image.web]\ntest.run = 'true'\n[check.a]\nrun = 'sh say'\n");
    lab.run(&["static-checks"]).expect(0, &["\n::notice::x\n", "\\u{1b}[2J##[y]\n"]);
}
