//! Places that lead elsewhere, and files that are none.

use std::os::unix::fs::symlink;

use super::*;
use crate::facts::lab::Lab;

/// A repository, and a file outside that must stay as it is.
fn lab() -> (Lab, Utf8PathBuf, Utf8PathBuf) {
    let lab = Lab::cloned();
    lab.write("outside", "precious", "precious");
    let (repo, outside) = (lab.root.join("work"), lab.root.join("outside"));
    (lab, repo, outside)
}

fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused, "{error:#}");
    crate::error::render(&error)
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced() {
    let (_lab, repo, outside) = lab();
    let state = repo.join(FOLDER);
    make_folder(&repo, &state).unwrap();
    let target = outside.join("precious");
    for (at, to) in [target.as_path(), Utf8Path::new("/nonexistent/x"), Utf8Path::new(".")].into_iter().enumerate() {
        let path = state.join(format!("builds-{at}.json"));
        symlink(to, &path).unwrap();
        write(&path, "new").unwrap();
        assert!(!path.is_symlink() && std::fs::read_to_string(&path).unwrap() == "new", "{path}");
        let log = repo.join(format!("log-{at}"));
        symlink(to, &log).unwrap();
        writeln!(create_in(&repo, &log).unwrap(), "line").unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "line\n");
    }
    // A second name of a file keeps what it had.
    std::fs::hard_link(&target, state.join("second")).unwrap();
    write(&state.join("second"), "new").unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    let mode = |name: &str| state.join(name).metadata().unwrap().permissions().mode() & 0o777;
    write_private(&state.join("private"), "key").unwrap();
    assert_eq!((mode("private"), mode("second") & 0o400), (PRIVATE, 0o400));
}

#[test]
fn a_folder_that_is_a_link_is_refused() {
    for at in ["target", "target/slipway", "target/slipway/logs"] {
        let (lab, repo, outside) = lab();
        let link = repo.join(at);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside, &link).unwrap();
        let log = repo.join("target/slipway/logs/a.log");
        for result in [
            write(&log, "x"),
            write_in(&repo, &log, "x"),
            write_private(&log, "x"),
            create_in(&repo, &log).map(drop),
            open(&log).map(drop),
        ] {
            let said = refused(result);
            assert!(said.contains(&format!("cannot write {link}: is a link")) && said.contains("\nhint: "), "{said}");
        }
        let prepared = prepare(&lab.runner, &repo);
        assert_eq!(prepared.is_ok(), at == "target/slipway/logs", "{prepared:?}");
        assert_eq!(outside.read_dir_utf8().unwrap().count(), 1, "{at}");
    }
}

#[test]
fn what_grows_or_is_locked_is_a_file_of_ours() {
    let (lab, repo, outside) = lab();
    let state = prepare(&lab.runner, &repo).unwrap();
    let path = state.join("lock");
    symlink(outside.join("precious"), &path).unwrap();
    assert!(refused(open(&path)).contains("is no file of ours"));
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(outside.join("precious"), &path).unwrap();
    refused(open(&path));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused(open(&path));
    std::fs::remove_dir(&path).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    if rustix::fs::mknodat(rustix::fs::CWD, path.as_std_path(), rustix::fs::FileType::Fifo, mode, 0).is_ok() {
        refused(open(&path));
        std::fs::remove_file(&path).unwrap();
    }
    for _ in 0..2 {
        writeln!(open(&path).unwrap(), "x").unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\nx\n");
    assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "precious");
}

#[test]
fn state_that_was_cloned_is_refused() {
    for tracked in ["target/slipway/receipts/web.json", "target/slipway/.gitignore"] {
        let (lab, repo, _) = lab();
        lab.write("work", tracked, "*\n");
        lab.git("work", &format!("add --force {tracked}"));
        let said = refused(prepare(&lab.runner, &repo));
        assert!(said.contains(&format!("git tracks {tracked}")), "{said}");
    }
    let (lab, repo, _) = lab();
    lab.write("work", "target/other", "x");
    lab.write("work", "target/slipway-notes.md", "x");
    lab.write("work", "target/slipway/.gitignore", "");
    lab.git("work", "add --force target/other target/slipway-notes.md");
    let folder = prepare(&lab.runner, &repo).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join(".gitignore")).unwrap(), "*\n", "what a full disk left is made good");
}

#[test]
fn configured_places_stay_in_the_repository_and_out_of_git() {
    let (_lab, repo, _) = lab();
    for (path, why) in [
        (".git/config", "is in the folder of git"),
        ("sub/.GIT/x", "is in the folder of git"),
        ("../outside/precious", "is outside the repository"),
        ("a/../../x", "is outside the repository"),
    ] {
        let path = repo.join(path);
        assert!(refused(write_in(&repo, &path, "x")).contains(why), "{path}");
        refused(create_in(&repo, &path));
    }
    refused(write_in(&repo, Utf8Path::new("/tmp/x"), "x"));
}

#[test]
fn names_of_git() {
    for path in
        [".git", ".GIT/x", "a/.Git/config", ".git./x", ".git /x", "GIT~1/x", ".g\u{200c}it/x", ".git::$INDEX_ALLOCATION/x"]
    {
        assert!(is_of_git(Utf8Path::new(path)), "{path:?}");
    }
    for path in [".gitignore", "a.git/x", ".github/x", "git/x", ".git-hooks/x", "git~10"] {
        assert!(!is_of_git(Utf8Path::new(path)), "{path:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let error = write(Utf8Path::new("/proc/slipway/x"), "x").unwrap_err();
    assert!(format!("{error:#}").contains("/proc/slipway"), "{error:#}");
}

#[test]
fn a_folder_that_cannot_be_written_is_a_matter_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Utf8Path::from_path(folder.path()).unwrap();
    std::fs::write(repo.join("target"), "").unwrap();
    let error = prepare(&Runner::default(), repo).unwrap_err();
    assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady, "{error:#}");
    for (kind, hint) in [
        (std::io::ErrorKind::StorageFull, "free space"),
        (std::io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
        (std::io::ErrorKind::PermissionDenied, "make it writable"),
    ] {
        let error = cannot("write", Utf8Path::new("target/slipway/lock"), kind.into());
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
        assert!(error.downcast_ref::<Fault>().unwrap().hint.as_ref().unwrap().contains(hint), "{error:#}");
    }
}
