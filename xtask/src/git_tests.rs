//! Every setting of a repository that executes something, planted, and everything asked that we ask.

use super::*;
use crate::event::{Compare, Event, Recorded};
use crate::facts::lab::Lab;
use crate::facts::lfs;
use crate::history;
use crate::worktree::WorkTree;

/// A program that leaves a file when it runs, and the file.
fn trap(lab: &Lab) -> (String, Utf8PathBuf) {
    lab.write(".", "trap.sh", &format!("#!/bin/sh\necho \"$0 $*\" >> {}/sprung\ncat\n", lab.root));
    let script = lab.root.join("trap.sh");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    (script.into_string(), lab.root.join("sprung"))
}

/// Each setting that git's documentation says to execute its value; a hook for each event.
fn plant(lab: &Lab, folder: &str, script: &str) {
    let keys = [
        "core.fsmonitor",
        "core.sshCommand",
        "core.askPass",
        "core.pager",
        "core.editor",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "credential.helper",
        "credential.https://example.org.helper",
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "filter.lfs.clean",
        "filter.lfs.process",
        "gc.recentObjectsHook",
        "gpg.program",
        "gpg.ssh.program",
        "gpg.ssh.defaultKeyCommand",
        "hook.trap.command",
        "interactive.diffFilter",
        "merge.trap.driver",
        "pager.diff",
        "pager.log",
        "remote.origin.uploadpack",
        "sequence.editor",
        "uploadpack.packObjectsHook",
        "alias.config",
        "alias.diff",
        "alias.ls-files",
    ];
    let mut text =
        String::from("\n[log]\nshowSignature = true\n[filter \"trap\"]\nrequired = true\n[protocol]\nallow = always\n");
    for event in ["post-index-change", "post-checkout", "reference-transaction"] {
        text += &format!("[hook \"trap\"]\nevent = {event}\n");
    }
    let config = lab.root.join(folder).join(".git");
    let config = if config.is_dir() { config } else { lab.root.join(folder).join(lab.git(folder, "rev-parse --git-dir")) };
    for key in keys {
        let (section, variable) = key.rsplit_once('.').unwrap();
        let head = match section.split_once('.') {
            Some((section, name)) => format!("{section} \"{name}\""),
            None => section.to_owned(),
        };
        let value = if section == "alias" { format!("!{script}") } else { script.to_owned() };
        text += &format!("[{head}]\n{variable} = {value}\n");
    }
    let old = std::fs::read_to_string(config.join("config")).unwrap();
    std::fs::write(config.join("more"), text).unwrap();
    // Settings of another file count, too.
    std::fs::write(config.join("config"), format!("{old}[include]\npath = more\n")).unwrap();
    for hook in ["post-index-change", "post-checkout", "reference-transaction", "pre-auto-gc", "post-merge", "fsmonitor-watchman"]
    {
        let path = config.join("hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _old = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(script, path).unwrap();
    }
    std::fs::create_dir_all(config.join("info")).unwrap();
    std::fs::write(config.join("info/attributes"), "* filter=trap diff=trap merge=trap\n").unwrap();
}

/// Everything that the product asks.
fn ask_all(lab: &Lab, folder: &str, first: &str) {
    let repo = lab.root.join(folder);
    let head = lab.ask(folder, |git| {
        assert!(git.dirty().is_some());
        let recorded = |event: Event, compare| Recorded { event, compare, default_branch: None };
        let push = recorded(Event::Branch { name: "main".into(), forced: false }, Compare::Before(Some(first.to_owned())));
        let (changed, _) = git.changed(&push, "main");
        assert!(matches!(changed, crate::facts::Changed::Files(_)), "{changed:?}");
        git.since_release(&Event::Tag { name: "v2.0.0".into() }, &changed, None, "main");
        git.times().unwrap();
        assert!(git.branch().is_some() && git.default_branch().is_some());
        git.source();
        git.head().unwrap().0
    });
    assert!(history::ancestry(&lab.runner, &repo, &head, first).is_ok());
    // The filter of the attributes was not run, and what it makes is not known.
    let error = WorkTree::new(&lab.runner, &repo, &head).unwrap_err();
    assert!(format!("{error:#}").contains("needs the filter trap of git"), "{error:#}");
}

#[test]
fn nothing_that_a_repository_names_is_executed() {
    let lab = Lab::cloned();
    let (script, sprung) = trap(&lab);
    let first = lab.head("work");
    lab.git(".", "init --quiet --initial-branch main part");
    lab.commit("part", "a.txt", "1");
    lab.git("work", &format!("-c protocol.file.allow=always submodule --quiet add {}/part part", lab.root));
    lab.commit("work", ".gitattributes", "* filter=trap diff=trap\n");
    lab.git("work", "tag v1.0.0");
    plant(&lab, "work", &script);
    plant(&lab, "work/part", &script);
    // Each file has to be read again.
    lab.write("work", "README.md", "other");
    lab.write("work/part", "a.txt", "other");
    let by_itself = Cmd::change("git", "prove that they would run").args(["status"]).dir(lab.root.join("work"));
    let _failed = lab.runner.output(&by_itself).unwrap();
    assert!(sprung.exists(), "git by itself runs them");
    std::fs::remove_file(&sprung).unwrap();
    ask_all(&lab, "work", &first);
    assert!(!sprung.exists(), "{}", std::fs::read_to_string(&sprung).unwrap_or_default());
}

#[test]
fn a_fetch_executes_nothing_either() {
    let lab = Lab::cloned();
    let (script, sprung) = trap(&lab);
    let first = lab.head("work");
    lab.commit("origin", "b.txt", "2");
    let origin = format!("file://{}/origin", lab.root);
    for (name, url) in [
        ("shallow", origin.clone()),
        ("server", origin),
        ("helper", format!("ext::{script} %S")),
        ("proxy", "git://127.0.0.1:1/x".to_owned()),
        ("secure", "ssh://127.0.0.1:1/x".to_owned()),
        ("web", "http://127.0.0.1:1/x".to_owned()),
    ] {
        lab.clone(name, "--depth 1");
        plant(&lab, name, &script);
        lab.git(name, &format!("config remote.origin.url {}", url.replace(' ', "\u{1}")));
        let config = lab.root.join(name).join(".git/config");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace('\u{1}', " ")).unwrap();
        if name == "shallow" {
            // Else nothing is asked of any remote.
            let more = config.with_file_name("more");
            let text = std::fs::read_to_string(&more).unwrap();
            std::fs::write(&more, text.replace("uploadpack = ", "unknown = ")).unwrap();
        }
        let _setting_up = std::fs::remove_file(&sprung);
        let known = lab.ask(name, |git| git.at_origin("main"));
        assert_eq!(known.is_ok(), name == "shallow", "{name}: {known:?}");
        let deepened = lab.ask(name, |git| git.deepen(&["HEAD"]));
        assert_eq!(deepened.is_ok(), name == "shallow", "{name}: {deepened:?}");
        assert!(!sprung.exists(), "{name}: {}", std::fs::read_to_string(&sprung).unwrap_or_default());
    }
    assert!(lab.ask("shallow", |git| git.times()).unwrap().contains_key(&first));
}

#[test]
fn a_bare_repository_among_the_files_is_not_read() {
    let lab = Lab::cloned();
    let (script, sprung) = trap(&lab);
    for folder in ["work/bare", "work/linked"] {
        lab.git(".", &format!("init --quiet --bare --initial-branch main {folder}"));
        let config = format!("[core]\nbare = false\nworktree = ..\nfsmonitor = {script}\n[alias]\nlog = !{script}\n");
        std::fs::write(lab.root.join(folder).join("config"), config).unwrap();
    }
    // Another one, whose objects and refs are elsewhere.
    for part in ["objects", "refs"] {
        std::fs::remove_dir_all(lab.root.join("work/linked").join(part)).unwrap();
    }
    lab.write("work/linked", "commondir", "../bare\n");
    lab.write("work/bare", "docker/images.toml", "x");
    for folder in ["work/bare", "work/bare/docker", "work/linked"] {
        let why = lab.ask(folder, |git| git.head()).unwrap_err();
        assert!(why.contains("is in a bare repository of git"), "{why}");
        assert_eq!(lab.ask(folder, |git| git.dirty()).as_deref(), Some("unknown"));
    }
    assert!(!sprung.exists());
    assert!(lab.ask("work", |git| git.head()).is_ok(), "around it is a checkout like any other");
}

#[test]
fn settings_and_variables_that_look_elsewhere() {
    let mut lab = Lab::cloned();
    lab.clone("clean", "");
    lab.write("work", "README.md", "edited");
    lab.git("work", &format!("config core.worktree {}/clean", lab.root));
    assert!(lab.ask("work", |git| git.dirty()).is_some(), "the files are those that are here");
    let other = lab.commit("origin", "b.txt", "2");
    for (name, value) in [("GIT_DIR", "origin/.git"), ("GIT_WORK_TREE", "clean"), ("GIT_INDEX_FILE", "nothing")] {
        lab.runner.set_env(name, lab.root.join(value).as_str());
    }
    assert_ne!(lab.ask("work", |git| git.head()).unwrap().0, other);
    assert_eq!(lab.ask("clean", |git| git.dirty()), None);
}

#[test]
fn a_setting_that_cannot_be_switched_off_is_refused() {
    let error = Named::read("local\0filter.a=b.clean\0").unwrap_err();
    assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
    let named =
        Named::read("global\0credential.helper\0local\0hook.a.b.command\0local\0filter.x.process\0local\0core.bare\0").unwrap();
    // The user's own ssh stays, that of the clone does not.
    let ssh = |scope: &str| Named::read(&format!("{scope}\0core.sshcommand\0{scope}\0core.askpass\0")).unwrap().settings;
    assert_eq!((ssh("global"), ssh("system"), ssh("command")), (vec![], vec![], vec![]));
    assert_eq!(ssh("local"), ["core.askpass=", "core.sshcommand=ssh"]);
    assert_eq!(ssh("worktree"), ssh("local"));
    assert_eq!(
        (named.settings, named.smudges),
        (vec!["filter.x.process=".into(), "hook.a.b.enabled=false".into()], vec!["x".into()])
    );
}

/// `big.bin` as Git LFS commits it; the file itself is in `work` and in its store.
fn with_lfs(lab: &Lab, content: &str) -> String {
    let path = lab.root.join("work/big.bin");
    std::fs::write(&path, content).unwrap();
    let hash = lfs::sha256(&path).unwrap();
    lab.write("work", ".gitattributes", "*.bin filter=lfs -text\n");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {}\n", content.len());
    lab.write("work", "big.bin", &pointer);
    let commit = lab.commit("work", "x.txt", content);
    let place = lfs::place(&lab.root.join("work/.git"), &hash);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, content).unwrap();
    std::fs::write(path, content).unwrap();
    commit
}

#[test]
fn files_of_git_lfs_without_its_filters() {
    let lab = Lab::cloned();
    let first = with_lfs(&lab, "large");
    assert_eq!(lab.ask("work", |git| git.dirty()), None, "it is what its pointer says");
    lab.write("work", "big.bin", "other");
    assert!(lab.ask("work", |git| git.dirty()).is_some());
    let second = with_lfs(&lab, "larger");
    for (commit, content) in [(&first, "large"), (&second, "larger")] {
        let tree = WorkTree::new(&lab.runner, &lab.root.join("work"), commit).unwrap();
        assert_eq!(std::fs::read_to_string(tree.path().join("big.bin")).unwrap(), content);
        assert_eq!(crate::facts::checkout(&lab.runner, tree.path()), (Some(commit.clone()), false));
    }
    std::fs::remove_dir_all(lab.root.join("work/.git/lfs")).unwrap();
    let error = WorkTree::new(&lab.runner, &lab.root.join("work"), &first).unwrap_err();
    let text = crate::error::render(&error);
    assert!(text.contains("big.bin of ") && text.contains("hint: run `git lfs fetch origin "), "{text}");
}
