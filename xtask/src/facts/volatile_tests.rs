//! What no two runs or clones find the same in a context.

use super::Context;

#[test]
fn the_state_of_this_program_is_no_content() {
    let context = Context::new(&[("a", "1")]);
    let before = context.of("COPY . /");
    assert_eq!(before.always.as_deref(), Some("target is taken, which each run changes (add it to .dockerignore)"));
    context.write("target/slipway/x", "1");
    assert_eq!(before, context.of("COPY . /"));
    context.write("target/app.jar", "1");
    assert_eq!(context.of("COPY target/*.jar /").always, None);
    for steps in ["COPY target /", "COPY t* /", "RUN --mount=type=bind,target=/x y"] {
        let content = context.of(steps);
        assert!(content.always.is_some() && content.missing.is_empty(), "{steps}");
    }
    context.write(".dockerignore", "target");
    assert_eq!(context.of("COPY . /").always, None);
}

#[test]
fn what_git_keeps_is_no_content() {
    let context = Context::new(&[(".dockerignore", "target"), ("a", "1"), (".git/HEAD", "1"), (".git/index", "1")]);
    let why = ".git is taken, which is another one in each clone (add it to .dockerignore)";
    let taken = ["COPY . /", "COPY .g* /", "COPY .git /", "COPY .git/HEAD /", "COPY .git/* /", "COPY --parents **/HEAD /"];
    let all = || taken.map(|steps| context.of(steps));
    let before = all();
    for (steps, content) in taken.iter().zip(&before) {
        assert_eq!((content.always.as_deref(), content.volatile.join("; ").as_str()), (Some(why), why), "{steps}");
        assert!(content.missing.is_empty(), "{steps}");
    }
    context.write(".git/index", "2");
    context.write(".git/HEAD", "2");
    assert_eq!(before, all(), "of another clone");
    context.write("a", "2");
    assert_ne!(before, all(), "everything else counts");
    assert_eq!(context.of("COPY a /").always, None);
    // In a work tree it is a file.
    std::fs::remove_dir_all(context.path().join(".git")).unwrap();
    assert_eq!(context.of("COPY . /").always, None, "there is none");
    context.write(".git", "gitdir: /elsewhere\n");
    assert_eq!(context.of("COPY . /").always.as_deref(), Some(why));
    std::fs::remove_file(context.path().join(".git")).unwrap();
    for ignore in [".git", ".git/**", "**/.git", ".git/*\n!.git/HEAD"] {
        context.write(".dockerignore", &format!("target\n{ignore}\n"));
        for text in ["1", "2"] {
            context.write(".git/HEAD", text);
            assert_eq!(context.of("COPY . /").always, None, "{ignore}");
        }
    }
    assert_ne!(
        context.hash("COPY . /"),
        {
            context.write(".git/HEAD", "3");
            context.hash("COPY . /")
        },
        "what comes back counts"
    );
}

#[test]
fn what_a_step_excludes_is_not_taken() {
    let context = Context::new(&[("a", "1"), (".git/HEAD", "1"), ("target/x", "1")]);
    assert_eq!(context.of("COPY --exclude=.git --exclude=target . /").always, None);
    let always = |steps: &str| context.of(steps).always.unwrap();
    assert!(always("COPY --exclude=.git . /").starts_with("target is taken"));
    assert!(always("COPY --exclude=target . /").starts_with(".git is taken"));
    assert!(always("COPY --exclude=.git --exclude=!.git/HEAD --exclude=target . /").starts_with(".git is taken"));
}
