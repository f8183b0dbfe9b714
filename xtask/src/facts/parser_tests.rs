//! What BuildKit's parser makes of a Dockerfile, and what of it is given up.

use super::Unread;
use crate::facts::Dockerfile;
use crate::facts::dockerfile::{Args, read};

fn read_with(text: &str, target: Option<&str>) -> Result<Dockerfile, String> {
    read(text.as_bytes(), &Args::new(), target, &[])
}

fn plain(text: &str) -> Dockerfile {
    read_with(text, None).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// What BuildKit takes, with what follows it in the same file.
#[test]
fn what_buildkit_reads_is_read() {
    let table: [(&str, &[&str]); 32] = [
        // An escape character that is escaped itself continues nothing.
        ("ENV SHARE=D:\\\\\nCOPY app.py /", &["app.py"]),
        ("ENV A=C:\\\\  \nCOPY app.py /", &["app.py"]),
        ("LABEL a=\\\\\nCOPY a /\\\\\nCOPY b /", &["a", "b"]),
        ("ARG A=\\\\\\\nCOPY a /", &["a"]),
        ("WORKDIR C:\\\\\nCOPY a /", &["a"]),
        ("CMD x \\\\\nCOPY a /", &["a"]),
        ("RUN x \\\\\nCOPY a /", &["a"]),
        ("COPY one.txt /x\\\\\nCOPY two.txt /", &["one.txt", "two.txt"]),
        ("COPY a \\\nb \\ \t\n  # note\n\n\u{a0}\n /\nCOPY c /", &["a", "b", "c"]),
        ("\\\nCOPY a /", &["a"]),
        ("COPY a\\\n.txt /", &["a.txt"]),
        ("COPY a \\\r\n b /\r\nCOPY c /\r\n", &["a", "b", "c"]),
        ("RUN x \\\n  COPY no /\nCOPY a /", &["a"]),
        ("ENTRYPOINT []\nCOPY a /", &["a"]),
        ("ENTRYPOINT\nCMD\nCOPY a /", &["a"]),
        ("\u{a0}COPY a /\n\u{2003}\u{a0}COPY b /\n\u{a0}# note", &["a", "b"]),
        ("COPY\u{b}a\t/\n\tcopy b /", &["a", "b"]),
        // Here-documents.
        ("COPY 3<<EOF /x\nCOPY no /\nEOF\nCOPY a /", &["a"]),
        ("COPY <<-\"A\"B <<C a /x/\n\tCOPY no /\n\tAB\nEOF\nC\nCOPY b /", &["a", "b"]),
        ("RUN cat <<EOF > ${X:-y}\nCOPY no /\nEOF\nCOPY a /", &["a"]),
        ("RUN echo it's <<EOF\nCOPY a /", &["a"]),
        ("RUN [\"x\", \"<<EOF\"]\nCOPY a /", &["a"]),
        ("RUN cat <<EOF\r\nCOPY no /\r\nEOF\r\nCOPY a /", &["a"]),
        ("COPY [\"<<EOF\", \"a b\", \"/\"]\nCOPY c /", &["a b", "c"]),
        // Flags and words.
        ("COPY \u{a0}--chown=a /", &["--chown=a"]),
        ("COPY --chown=x\u{e0}b c /", &["b", "c"]),
        ("COPY -- --x /", &["--x"]),
        ("COPY [ab].txt /", &["[ab].txt"]),
        ("ENV \"D\"=x\nCOPY $D/a /", &["x/a"]),
        ("ENV N=D\nENV ${N}=x\nCOPY $D/a /", &["x/a"]),
        ("COPY a$-b$1 /", &["ab"]),
        ("ADD file://x /", &["file:/x"]),
    ];
    for (text, expected) in table {
        let read = plain(&format!("FROM scratch\n{text}\n"));
        let sources: Vec<&str> = read.sources.iter().flatten().map(String::as_str).collect();
        assert_eq!((sources, &read.whole, &read.unread), (expected.to_vec(), &None, &None), "{text}");
    }
    let backticks = plain("# escape=`\nFROM scratch\nENV A=D:``\nCOPY a `\n b /\nCOPY c\\\nCOPY d /x`` \nCOPY e /");
    assert_eq!(backticks.sources.unwrap().concat(), "abde");
    let latin = b"FROM scratch\n# caf\xe9\nCOPY f\xfc g /\nRUN --mount=src=f\xfc,dst=/f x\n";
    let latin = read(latin, &Args::new(), None, &[]).unwrap();
    assert_eq!(latin.sources.unwrap(), ["f\u{fc}", "f\u{fffd}", "g"]);
}

#[test]
fn of_two_stages_of_one_name_the_later_counts() {
    let text = "FROM a AS x\nCOPY one /\nFROM x AS x\nCOPY two /\nFROM x\nCOPY three /\nFROM b AS x\nCOPY four /\nFROM c\nCOPY --from=x / /";
    let sources = |target| read_with(text, target).unwrap().sources.unwrap();
    assert_eq!(sources(Some("2")), ["one", "three", "two"]);
    assert_eq!(sources(Some("x")), ["four"]);
    assert_eq!(sources(None), ["four"]);
    // A mount names a stage, and never its number.
    assert_eq!(plain("FROM a\nFROM b\nRUN --mount=from=0,dst=/x y").images, ["0", "b"]);
}

#[test]
fn what_cannot_be_read_counts_as_everything() {
    let table = [
        ("FROM a\nNOPE x\nCOPY b /", 2, "unknown instruction `NOPE`"),
        ("FROM a\n\n\nRUN\u{a0}x\nCOPY b /", 4, "unknown instruction `RUN\u{a0}X`"),
        ("RUN x\nFROM a", 1, "RUN is not as it should be"),
        ("FROM a b c\nFROM a", 1, "FROM is not as it should be"),
        ("FROM a\nCOPY b /\nCOPY <<EOF /x\nno end", 3, "the here-document `EOF` does not end"),
        ("# escape=x\nFROM a", 1, "`# escape=` is neither a backslash nor a backtick"),
    ];
    for (text, line, why) in table {
        let Ok(read) = read_with(text, None) else {
            assert!(text.starts_with("# escape"), "{text}");
            continue;
        };
        assert_eq!(read.unread, Some(Unread { line, why: why.into() }), "{text}");
        assert_eq!((read.sources, read.images), (None, vec!["a".to_owned()]), "{text}");
        let why = format!("line {line} cannot be read: {why}");
        assert_eq!((read.whole.as_ref(), read.always.as_ref()), (Some(&why), Some(&why)), "{text}");
    }
    let long = format!("FROM a\nCOPY b /\n# {}\nCOPY c /", "x".repeat(1 << 16));
    assert_eq!(plain(&long).unread.map(|unread| unread.line), Some(3));
    // Another language is never read as a Dockerfile.
    for text in
        ["# syntax=me/yaml\napiVersion: v1\n", "// syntax=me/own\nx", "{\"syntax\": \"me/json\"}", "# syntax=me/own\nFROM $X"]
    {
        let read = plain(text);
        assert!(read.always.is_some() && read.sources.is_none() && read.images.len() == 1, "{text}: {read:?}");
    }
}

#[test]
fn onbuild_counts_where_it_takes_something() {
    for (step, counts) in [
        ("ENTRYPOINT []", false),
        ("ENTRYPOINT", false),
        ("LABEL a=b", false),
        ("RUN x", true),
        ("COPY <<EOF /x\nEOF", true),
        ("ENV A=b", true),
    ] {
        let read = plain(&format!("FROM a\nONBUILD {step}\nCOPY x /\n"));
        assert_eq!((read.onbuild, read.whole.is_some(), read.unread), (counts, counts, None), "{step}");
    }
    assert!(plain("FROM a\nONBUILD ADD https://x.test/a /\n").always.is_some());
}

#[test]
fn what_grows_without_end_is_given_up() {
    let doubled: String = (1..40).map(|n| format!("ARG A{n}=$A{0}$A{0}\n", n - 1)).collect();
    let read = plain(&format!("ARG A0=0123456789\n{doubled}FROM a:$A39"));
    assert_eq!(read.always.as_deref(), Some("FROM a:$A39: `A39` is not known before the build"));
    let nested = format!("FROM scratch\nCOPY {}x{} /", "${A:-".repeat(10_000), "}".repeat(10_000));
    assert_eq!(plain(&nested).whole.as_deref(), Some("`${` within 50 others is not known before the build"));
    let stages: String = (0..3000).map(|n| format!("FROM s{n} AS s{}\n", n + 1)).collect();
    let variables: String = (0..3000).map(|n| format!("ARG V{n}=x\n")).collect();
    let read = plain(&format!("FROM a AS s0\n{variables}{stages}"));
    assert_eq!(read.always.as_deref(), Some("its stages have more than 1000000 variables"));
}
