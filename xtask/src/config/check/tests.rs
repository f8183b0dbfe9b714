//! What the walker says, and that it and a real validator accept and reject the same documents.

use super::*;
use crate::config::{schema::schema, tree};

fn faults(text: &str) -> String {
    let mut faults = Faults::new("f");
    let (mut document, broken) = tree::parse(text, &mut faults);
    check(&schema(), &mut document, |line| broken.contains(&line), &mut faults);
    if faults.is_empty() { String::new() } else { faults.into_error().to_string().lines().skip(1).collect::<Vec<_>>().join("\n") }
}

#[test]
fn every_fault_says_what_was_found_and_how_to_fix_it() {
    for (text, expected) in [
        ("schema = 1\n[image.a]\n", ""),
        ("schema = 2", "f:1: `schema` is 2 (only 1 is known)"),
        ("schema = '1'", "f:1: `schema` is text, not a whole number"),
        ("version-file = 2024-01-01", "f:1: `version-file` is a date or a number out of range, not text"),
        ("\n[image.a]\nplatform = []", "f:3: unknown key `image.a.platform` (did you mean `platforms`?)"),
        (
            "[image.a]\nplatforms = 'linux/amd64'",
            "f:2: `image.a.platforms` is text, not a list (write platforms = [\"linux/amd64\"])",
        ),
        ("[image.a]\nargs.X = 1", "f:2: `image.a.args.X` is a number, not text (write \"1\")"),
        ("[image.a]\nparent = 1", "f:2: `image.a.parent` is a number, not text or a list"),
        ("[image.a]\npublish = 'false'", "f:2: `image.a.publish` is text, not true or false (write false)"),
        ("[axes]\na = { flie = 'x' }", "f:2: unknown key `axes.a.flie` (did you mean `file`?)"),
        ("[axes]\na = {}", "f:2: `axes.a` is a table that is neither of its forms (write one of: file, dirs)"),
        ("[axes]\na = ['x', 1]", "f:2: `axes.a[1]` is a number, not text (write \"1\")"),
        (
            "[axes]\na = [3.9, 3.10]",
            "f:2: `axes.a[0]` is a number, not text (write \"3.9\")\nf:2: `axes.a[1]` is a number, not text (write \"3.10\")",
        ),
        ("[axes]\na = [1.0]", "f:2: `axes.a[0]` is a number, not text (write \"1.0\")"),
        (
            "[image.a]\nargs.X = 3.10\nargs.Y = 1_0",
            "f:2: `image.a.args.X` is a number, not text (write \"3.10\")\n\
            f:3: `image.a.args.Y` is a number, not text (write \"1_0\")",
        ),
        ("[on]\ntag = 'v*'", "f:2: `on.tag` is text, not true or false or a table"),
        ("[on.tag]\ncache = 'raed'", "f:2: `on.tag.cache` is \"raed\" (did you mean `read`?; one of: read-write, read, off)"),
        ("[on.tag]\ncache = 'x'", "f:2: `on.tag.cache` is \"x\" (one of: read-write, read, off)"),
        (
            "[on.tag]\nfresh = 'bases'",
            "f:2: `on.tag.fresh` is \"bases\" (did you mean `bases-changed`?; one of: dependencies-changed, bases-changed)",
        ),
        ("[on.tags]\n", "f:1: unknown key `on.tags` (did you mean `tag`?)"),
        (
            "[login]\npassword = 'hunter2'",
            "f:2: `login.password` has the wrong form (write \"${NAME}\", an environment variable)",
        ),
        (
            "[image.a]\nsecrets.pip = 'hunter2'",
            "f:2: `image.a.secrets.pip` has the wrong form (write \"${NAME}\", an environment variable)",
        ),
        ("[retention]\nkeep = 0", "f:2: `retention.keep` is 0 (at least 1)"),
        ("[retention]\nkeep = 'al'", "f:2: `retention.keep` is \"al\" (did you mean `all`?; one of: all)"),
        ("[retention]\nkeep = true", "f:2: `retention.keep` is true or false, not a whole number or text"),
        (
            "[builders]\n'linux/arm64' = { kubernetes = '', options = { requests.cpu = '2' } }",
            "f:2: `builders.\"linux/arm64\".options.requests` is a table, not text (write \"requests.cpu\", a name with a dot is quoted)",
        ),
        ("[on.branch.v1.2]\ntags = []", "f:1: `v1.2` is not quoted (write on.branch.\"v1.2\")"),
        ("[image.a]\non.branch.v1.2 = false", "f:2: `v1.2` is not quoted (write on.branch.\"v1.2\")"),
        ("[on.branch.main]\ntgas = []", "f:2: unknown key `on.branch.main.tgas` (did you mean `tags`?)"),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
}
