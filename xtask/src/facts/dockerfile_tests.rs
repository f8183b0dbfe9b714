//! Dockerfiles and what they take.

use proptest::prelude::*;

use super::*;

fn read_with(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Result<Dockerfile, String> {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
    read(text.as_bytes(), &args, target, &[])
}

fn plain(text: &str) -> Dockerfile {
    read_with(text, &[], None).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn images() {
    let table: [(&str, &[&str]); 24] = [
        ("FROM python:3.11-slim", &["python:3.11-slim"]),
        ("from python AS Build\nFROM BUILD", &["python"]),
        ("FROM scratch\nCOPY x /", &[]),
        ("FROM --platform=$BUILDPLATFORM golang:1 AS b\nFROM scratch\nCOPY --from=b /x /", &["golang:1"]),
        ("FROM base AS base\nFROM base AS next", &["base"]),
        ("ARG V=3.11\nFROM python:${V}-slim", &["python:3.11-slim"]),
        ("ARG V\nFROM python:${V:-3.12}", &["python:3.12"]),
        ("ARG V=\"3.11\" R=registry.test/lib\nFROM $R/python:$V@sha256:aa", &["registry.test/lib/python:3.11@sha256:aa"]),
        ("ARG A=1\nARG B=${A}.2\nFROM x:$B", &["x:1.2"]),
        ("FROM x${UNDECLARED}", &["x"]),
        ("ARG V=vbookworm_slim\nARG W=${V#v}\nFROM debian:${W/_/-}", &["debian:bookworm-slim"]),
        ("FROM a\nCOPY --from=b:1 /x /\nRUN --mount=type=bind,from=c,source=/x,target=/x y", &["a", "b:1", "c"]),
        ("FROM a\nRUN --mount=from=d,target=/x --mount=type=cache,from=e,target=/y z", &["a", "d", "e"]),
        ("FROM a\nFROM b\nCOPY --from=0 /x /", &["a", "b"]),
        ("FROM a\nFROM b\nCOPY --from=7 /x /", &["7", "b"]),
        ("FROM a AS one\nFROM b AS unused\nFROM one", &["a"]),
        ("FROM a\nCOPY --from=late /x /y\nFROM b AS late\nFROM c\nCOPY --from=0 / /", &["a", "b", "c"]),
        ("FROM a\nRUN --mount=\"dst=/a b\" --mount=from=\"c\",dst=/c x\nCOPY --from='d' /e /", &["a", "c", "d"]),
        ("# syntax=docker/dockerfile:1.7\nFROM a", &["a", "docker/dockerfile:1.7"]),
        ("#syntax = x/y\n# escape=`\nFROM a", &["a", "x/y"]),
        ("# a comment\n# syntax=x/y\nFROM a", &["a"]),
        ("\u{feff}FROM a\r\nRUN x\r\n", &["a"]),
        ("FROM a\nRUN python - <<EOF > /x\nFROM no\nEOF\nRUN <<A\nFROM no\nA\nCOPY <<B /x\nFROM no\nB\n", &["a"]),
        ("FROM \\\n  # note\n  a \\\n  AS b", &["a"]),
    ];
    for (text, expected) in table {
        assert_eq!(plain(text).images, expected, "{text}");
    }
}

#[test]
fn sources_of_the_context() {
    let table: [(&str, Option<&[&str]>); 35] = [
        ("", Some(&[])),
        ("COPY src /app", Some(&["src"])),
        ("COPY requirements*.txt ./setup.py /pkg/ /app/", Some(&["pkg", "requirements*.txt", "setup.py"])),
        ("COPY [\"a b\", \"c\", \"/x/\"]", Some(&["a b", "c"])),
        ("COPY --chown=1:1 --chmod=755 start.sh /", Some(&["start.sh"])),
        ("COPY --from=other / /", Some(&[])),
        ("COPY . .", None),
        ("COPY ./ /app", None),
        ("COPY * /app/", Some(&["*"])),
        ("COPY <<EOF x.txt /y/\nhello\nEOF", Some(&["x.txt"])),
        ("ADD a.tar.gz /", Some(&["a.tar.gz"])),
        ("ADD https://x.test/a.tgz b /", Some(&["b"])),
        ("RUN --mount=type=bind,source=package.json,target=package.json npm i", Some(&["package.json"])),
        ("RUN --mount=src=go.sum,target=/x --mount=type=cache,target=/c --mount=type=secret,id=s x", Some(&["go.sum"])),
        ("RUN --mount=type=bind,target=. make", None),
        ("RUN --mount=type=bind,from=img,target=/x make", Some(&[])),
        ("RUN --mount=type=Bind,source=a,target=/x make", Some(&["a"])),
        ("RUN --mount=type=bind,source=b,src=a,from=,target=/x make", Some(&["a"])),
        ("RUN --mount=type=Cache,target=/x make", Some(&[])),
        ("RUN --mount=type=bind,\"source=my files\",target=/s --mount=type=bind,src=b,dst=/b ls /", Some(&["b", "my files"])),
        ("RUN --mount='type=bind,\"source=a\"b' ls", None),
        ("RUN --mount='type=bind,\"source=a,b\",dst=/s' ls", Some(&["a,b"])),
        ("RUN --mount=from=i,dst=/i \\\n # note\n --mount=\"src=a b\" ls", Some(&["a b"])),
        ("COPY --chown=\"a\" --from= c /", Some(&["c"])),
        ("COPY --chown=\"a b\" c /", Some(&["c"])),
        ("ARG BUILDARCH\nCOPY f-$BUILDARCH /x", None),
        ("RUN echo \"<<EOF\"\nCOPY a /x\nRUN <<EOF\nEOF", Some(&["a"])),
        ("ARG D=src\nCOPY $D/a /", Some(&["src/a"])),
        ("ENV D=src E=$D\nCOPY ${D}/a /", Some(&["src/a"])),
        ("ENV D my folder\nCOPY \"$D\" /", Some(&["my folder"])),
        ("ARG D\nCOPY $D /", None),
        ("COPY ${FROM_THE_BASE} /", None),
        ("ONBUILD COPY . /app", None),
        ("COPY --parents ./a/./**/go.mod /", Some(&["a/**/go.mod"])),
        ("COPY ../../outside /", Some(&["outside"])),
    ];
    for (text, expected) in table {
        let sources = plain(&format!("FROM a\n{text}\n")).sources;
        assert_eq!(
            sources.as_deref().map(|all| all.iter().map(String::as_str).collect()),
            expected.map(<[&str]>::to_vec),
            "{text}"
        );
    }
}

#[test]
fn build_arguments_are_filled_in() {
    let text =
        "ARG V=1\nARG DIR=d\nFROM a:$V AS one\nARG DIR\nARG NOT_GLOBAL=n\nCOPY $DIR/$NOT_GLOBAL /\nFROM one\nCOPY $DIR.txt /";
    let read = |args| read_with(text, args, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((read(&[]).images, read(&[]).sources), (vec!["a:1".into()], Some(vec!["d.txt".into(), "d/n".into()])));
    let given = read(&[("V", "2"), ("DIR", "x"), ("NOT_GLOBAL", "y")]);
    assert_eq!((given.images, given.sources), (vec!["a:2".into()], Some(vec!["x.txt".into(), "x/y".into()])));
}

#[test]
fn what_is_unknown_is_no_empty_text() {
    let table: [(&str, Option<&[&str]>); 5] = [
        ("FROM scratch\nARG VERSION=v1.2\nENV DIR=rel-${VERSION#v}\nCOPY ${DIR}/app* /", Some(&["rel-1.2/app*"])),
        ("ARG RAW=vx\nARG V=${RAW#v}\nFROM a AS tx\nCOPY a /\nFROM a AS t\nCOPY t /\nFROM t${V}", Some(&["a"])),
        ("FROM scratch\nARG BUILDARCH\nENV DIR=$BUILDARCH\nCOPY d$DIR /", None),
        ("FROM scratch\nARG D=${D?none}\nCOPY d$D /", None),
        ("ARG D\nFROM scratch\nARG D\nCOPY d$D /", Some(&["d"])),
    ];
    for (text, expected) in table {
        let sources = plain(text).sources;
        assert_eq!(sources, expected.map(|all| all.iter().map(|&source| source.into()).collect()), "{text}");
    }
    // It may be each of the stages above, or an image: what one of them needs is needed.
    let read = plain("ARG V=a\nARG W=${V//a/\\$}\nFROM a AS one\nFROM b AS two\nFROM t${W} AS last");
    assert_eq!(read.images, ["a", "b"]);
    let why = "FROM t${W}: `W` is not known before the build";
    assert_eq!((read.whole.as_deref(), read.always.as_deref()), (Some(why), Some(why)));
}

#[test]
fn an_argument_without_a_value_yet_is_unknown() {
    let read = |text: &str, name: &str| {
        let args = Args::from([(name.to_owned(), None)]);
        read(text.as_bytes(), &args, None, &[]).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    };
    let source = read("FROM a\nARG V=1\nCOPY x-$V y /", "V");
    let why = Some("`V` is not known before the build");
    assert_eq!((source.sources, source.whole.as_deref(), source.always.as_deref()), (None, why, None));
    let base = read("ARG V=1\nFROM a:$V", "V");
    let why = Some("FROM a:$V: `V` is not known before the build");
    assert_eq!((base.images.len(), base.whole.as_deref(), base.always.as_deref()), (0, why, why));
    let frontend = read("FROM a", "BUILDKIT_SYNTAX");
    assert_eq!(frontend.always.as_deref(), Some("BUILDKIT_SYNTAX is not known before the build"));
    let unused = read("FROM a\nARG V\nCOPY x /\nRUN y", "V");
    assert_eq!((unused.sources, unused.whole, unused.always), (Some(vec!["x".to_owned()]), None, None));
}

#[test]
fn the_image_of_the_language_is_the_argument_before_the_comment() {
    for (given, images, syntax, known) in [
        ("docker/dockerfile:1.9 arg", vec!["a", "docker/dockerfile:1.9"], Some("docker/dockerfile:1.9"), true),
        ("me/own", vec!["a", "me/own"], Some("me/own"), false),
        ("dockerfile.v0", vec!["a"], None, true),
    ] {
        let read = read_with("# syntax=other/one\nFROM a", &[("BUILDKIT_SYNTAX", given)], None).unwrap();
        assert_eq!((read.images, read.syntax.as_deref()), (images.into_iter().map(str::to_owned).collect(), syntax));
        assert_eq!(read.whole.is_none(), known, "{given}");
    }
}

#[test]
fn a_target_needs_its_own_stages_only() {
    let text = "FROM a AS base\nCOPY base /\nFROM base AS dev\nCOPY dev /\nFROM b AS tool\nFROM base AS prod\nCOPY --from=tool /t /\nCOPY prod /";
    let table: [(Option<&str>, &[&str], &[&str]); 4] = [
        (Some("dev"), &["a"], &["base", "dev"]),
        (Some("PROD"), &["a", "b"], &["base", "prod"]),
        (Some("2"), &["b"], &[]),
        (None, &["a", "b"], &["base", "prod"]),
    ];
    for (target, images, sources) in table {
        let read = read_with(text, &[], target).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.images, images, "{target:?}");
        assert_eq!(read.sources.unwrap_or_default(), sources, "{target:?}");
    }
    let error = read_with(text, &[], Some("none")).expect_err("no such stage");
    assert_eq!(error, "no stage is called `none` (stages: base, dev, tool, prod)");
}

#[test]
fn each_platform_has_its_own_stages() {
    let text = "FROM x AS base-amd64\nFROM y AS base-arm64\nFROM base-${TARGETARCH}\nARG TARGETARCH\nCOPY bin-$TARGETARCH /";
    let platforms = ["linux/amd64".to_owned(), "linux/arm64".to_owned()];
    let one = read(text.as_bytes(), &BTreeMap::new(), None, &platforms[..1]).unwrap_or_else(|error| panic!("{error}"));
    let two = read(text.as_bytes(), &BTreeMap::new(), None, &platforms).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((one.images, one.sources), (vec!["x".to_owned()], Some(vec!["bin-amd64".to_owned()])));
    assert_eq!((two.images, two.sources.map(|all| all.len())), (vec!["x".to_owned(), "y".into()], Some(2)));
}

#[test]
fn the_node_that_builds_may_be_of_any_likely_platform() {
    let tools = "FROM scratch AS tool-amd64\nCOPY a /\nFROM scratch AS tool-arm64\nCOPY b /\n";
    let sources = |text: &str| {
        let platforms = ["linux/arm64".to_owned()];
        read(format!("{text}\nCOPY c /").as_bytes(), &Args::new(), None, &platforms).unwrap().sources.unwrap().concat()
    };
    assert_eq!(sources(&format!("{tools}FROM tool-${{BUILDARCH}}")), "abc");
    assert_eq!(sources(&format!("ARG TOOL=tool-$BUILDARCH\n{tools}FROM $TOOL AS own")), "abc");
    assert_eq!(sources(&format!("{tools}FROM --platform=$BUILDPLATFORM tool-$TARGETARCH")), "bc");
    assert_eq!(sources(&format!("{tools}FROM tool-amd64 AS own\nFROM ${{TARGETSTAGE:+tool-arm64}}")), "bc");
}

#[test]
fn what_buildkit_sets_can_be_given() {
    let text = "FROM a AS default\nCOPY d /\nFROM a AS last\nCOPY l /\nFROM ${TARGETSTAGE}${TARGETOSVERSION:-x}-$TARGETARCH";
    let read = read_with(text, &[("TARGETARCH", "s390x")], None).unwrap();
    assert_eq!(read.images, ["defaultx-s390x"]);
    assert_eq!(read_with("FROM a AS One\nFROM b-$TARGETSTAGE", &[], Some("One")).unwrap().images, ["a"]);
    assert_eq!(read_with("FROM a AS one\nFROM b-$TARGETSTAGE AS Last", &[], None).unwrap().images, ["b-last"]);
}

#[test]
fn downloads_are_noted() {
    let read = plain("FROM a\nADD --checksum=sha256:aa https://x.test/a.tgz /\nADD git@github.com:o/r.git /r");
    assert_eq!(read.remotes, ["git@github.com:o/r.git", "https://x.test/a.tgz"]);
    assert_eq!(read.sources, Some(Vec::new()));
}

#[test]
fn faults() {
    let table = [
        ("", "expected at least one FROM instruction"),
        ("RUN x", ""),
        ("FROM ${X}", "FROM ${X}: no value for it (give it a default"),
        ("FROM ${X:?which}", "FROM ${X:?which}: `X`: which cannot be filled in"),
        ("ARG X=abc\nFROM ${X:%c}", "FROM ${X:%c}: `${X%…}` cannot be filled in"),
        ("FROM a\nARG I=b\nCOPY --from=$I / /", "--from=$I: BuildKit fills in no variables here"),
    ];
    for (text, expected) in table {
        let error = read_with(text, &[], None).expect_err(text);
        eprintln!("{text} → {error}");
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn files_of_the_context() {
    let some =
        |sources: &[&str]| Dockerfile { sources: Some(sources.iter().map(|&s| s.into()).collect()), ..Dockerfile::default() };
    for (context, sources, file, yes) in [
        (".", vec!["src", "requirements/*.txt"], "src/a/b.py", true),
        (".", vec!["src", "requirements/*.txt"], "requirements/base.txt", true),
        (".", vec!["src"], "README.md", false),
        ("services/web", vec!["app.py"], "services/web/app.py", true),
        ("services/web", vec!["app.py"], "services/api/app.py", false),
        ("services/web", vec!["app.py"], "services/website/app.py", false),
        (".", vec!["a"], ".dockerignore", true),
    ] {
        assert_eq!(takes(context.into(), Some(&some(&sources)), None, file.into()), yes, "{context} {sources:?} {file}");
    }
    assert!(takes(".".into(), None, None, "anything".into()), "unknown takes everything");
    let none = Dockerfile::default();
    assert!(takes("a".into(), Some(&none), None, "a/b".into()) && !takes("a".into(), None, None, "b".into()));
    let content = |ignore: &str, whole: Option<&str>| Content {
        ignore: crate::facts::ignore::Ignore::parse(ignore),
        whole: whole.map(str::to_owned),
        ..Content::default()
    };
    for (ignore, whole, file, yes) in [
        ("*.md", None, "a/src/x.md", true),
        ("**/*.md", None, "a/src/x.md", false),
        ("src\n!src/keep", None, "a/src/keep", true),
        ("src\n!src/keep", None, "a/src/x", false),
        ("", None, "a/other", false),
        ("", Some("src goes through a link"), "a/other", true),
        ("*", Some("src goes through a link"), "a/other", false),
        ("*", None, "a/.dockerignore", true),
    ] {
        let content = content(ignore, whole);
        assert_eq!(takes("a".into(), Some(&some(&["src"])), Some(&content), file.into()), yes, "{ignore:?} {whole:?} {file}");
    }
}

#[test]
fn what_cannot_be_known_is_said() {
    let commit = "0123456789012345678901234567890123456789";
    let table = [
        ("COPY . .", None, None),
        ("COPY $X .", Some("`X` is not known before the build"), None),
        ("ONBUILD COPY x .", Some("ONBUILD steps take what they need later"), None),
        ("ADD https://x.test/a.tgz /", None, Some("ADD https://x.test/a.tgz has no checksum")),
        ("ADD --checksum=sha256:aa https://x.test/a.tgz /", None, None),
        ("ARG SUM=sha256:aa\nADD --checksum=$SUM https://x.test/a.tgz /", None, None),
        ("ADD --checksum=$SUM https://x.test/a.tgz /", None, Some("ADD https://x.test/a.tgz has no checksum")),
        ("ADD git@x.test:o/r.git#main /", None, Some("ADD git@x.test:o/r.git#main has no checksum")),
        ("ADD me@x.test:o/r.git /", None, Some("ADD me@x.test:o/r.git has no checksum")),
        ("ADD $URL /", Some("`URL` is not known before the build"), Some("ADD may download what `URL` says")),
        ("ADD a@b /", None, None),
    ];
    for (text, whole, always) in table {
        let read = plain(&format!("FROM a\n{text}\n"));
        assert_eq!((read.whole.as_deref(), read.always.as_deref()), (whole, always), "{text}");
    }
    for (source, fixed) in
        [("https://x.test/r.git#COMMIT", true), ("git@x.test:r#COMMIT:a/b", true), ("https://x.test/r#COMMIT", false)]
    {
        let read = plain(&format!("FROM a\nADD {} /\n", source.replace("COMMIT", commit)));
        assert_eq!(read.always.is_none(), fixed, "{source}");
    }
    for (syntax, known) in
        [("docker/dockerfile:1", true), ("docker.io/docker/dockerfile-upstream@sha256:aa", true), ("me/dockerfile", false)]
    {
        let read = plain(&format!("# syntax={syntax}\nFROM a\n"));
        assert_eq!((read.whole.is_none(), read.sources.is_some()), (known, known), "{syntax}");
    }
    let read = plain("FROM a\nCOPY --parents x/y /\nONBUILD RUN x\n");
    assert!(read.parents && read.onbuild && !plain("FROM a\nCOPY x /\n").parents);
}

#[test]
fn install_steps_name_files() {
    for (text, expected) in [
        ("WORKDIR /app\nCOPY . .\nRUN pip install -r reqs/prod.lst", vec!["reqs/prod.lst"]),
        ("ARG R=reqs\nCOPY $R/prod.lst /tmp/list\nRUN pip install -r /tmp/list", vec!["reqs/prod.lst"]),
        ("COPY [\"my list\", \"/l\"]\nRUN [\"pip\", \"install\", \"-r\", \"/l\"]", vec!["my list"]),
        ("ADD reqs /r\nRUN <<E\nset -e\npip install -r /r/prod.lst\nE", vec!["reqs/prod.lst"]),
        ("RUN --mount=type=bind,source=deps.list,target=/d apt-get install -y $(cat /d)", vec!["deps.list"]),
        ("RUN --mount=source=deps,dst=/d \\\n  # all\n  apk add \\\n  $(cat /d/run)", vec!["deps/run"]),
        ("COPY README.md x.sh /\nRUN cat /README.md && /x.sh install", vec![]),
        ("COPY README.md /\nCMD pip install -r /README.md", vec![]),
    ] {
        assert_eq!(plain(&format!("FROM a\n{text}\n")).installs, expected, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(lines in prop::collection::vec(
        "(FROM|ARG|ENV|COPY|ADD|RUN|ONBUILD|# escape=|)[ ]?(a|--from=|--mount=|<<E|E|\\$\\{|\\}|\\$|:-|=|\"|'|`|,|\\[|\\]|ü| |\\\\){0,8}",
        0..6,
    )) {
        for text in [format!("FROM a\n{}", lines.join("\n")), lines.join("\r\n")] {
            let _either = read_with(&text, &[("a", "b")], None);
        }
    }
}
