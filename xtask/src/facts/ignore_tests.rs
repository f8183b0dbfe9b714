//! `.dockerignore`, by its documentation and by what BuildKit does.

use proptest::prelude::*;

use super::*;

/// Lines (`|` between them), what they leave out, what they leave in.
#[test]
fn patterns() {
    type Row = (&'static str, &'static [&'static str], &'static [&'static str]);
    let table: &[Row] = &[
        ("", &[], &["a", "a/b"]),
        ("# comment|a", &["a", "a/b"], &["# comment", "b"]),
        (" # no comment", &["# no comment"], &["x"]),
        ("\u{feff}a|b", &["a", "b"], &[]),
        ("  a  |\t|b\r", &["a", "b"], &["  a  "]),
        ("temp?", &["tempa", "tempb/x", "tempü"], &["temp", "tempab", "x/tempa"]),
        ("*/temp*", &["somedir/temporary.txt", "somedir/temp", "somedir/temp/x"], &["temp", "a/b/temp"]),
        ("*/*/temp*", &["somedir/subdir/temporary.txt"], &["somedir/temp", "a/b/c/temp"]),
        ("**/*.go", &["a.go", "a/b.go", "a/b/c.go"], &["a.gox", "a/go"]),
        ("*.md", &["README.md", ".md"], &["docs/README.md", "README.mdx"]),
        ("*.md|!README.md", &["a.md"], &["README.md"]),
        ("*.md|!README*.md|README-secret.md", &["README-secret.md", "x.md"], &["README.md", "README-a.md"]),
        ("*.md|README-secret.md|!README*.md", &["x.md"], &["README-secret.md", "README.md"]),
        ("/foo/bar", &["foo/bar", "foo/bar/x"], &["bar", "a/foo/bar"]),
        ("foo/bar/", &["foo/bar", "foo/bar/x"], &["foo/barx", "foo"]),
        ("/", &[], &["a"]),
        (".", &[], &["a", ".a"]),
        ("./a//b/../c", &["a/c"], &["a/b", "c"]),
        ("..", &[], &["a"]),
        ("../a", &[], &["a"]),
        ("/../a", &["a"], &["b"]),
        ("*", &["a", ".a", "a/b"], &[]),
        ("*|!a", &["b", "b/a"], &["a", "a/b/c"]),
        ("*|!a/b", &["b", "a", "a/c"], &["a/b", "a/b/c"]),
        ("*|!a|a/b", &["a/b", "a/b/c", "b"], &["a", "a/c"]),
        ("**", &["a", "a/b"], &[]),
        ("**|!a.txt", &["b", "x/a.txt"], &["a.txt"]),
        ("**/a", &["a", "x/a", "x/y/a", "x/a/y"], &["xa", "ax"]),
        ("**a", &["a", "xa", "x/ya", "xa/b"], &["ab"]),
        ("**/.git", &[".git", ".git/config", "sub/.git"], &["x.git", ".github", ".gitignore"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "ab", "x/a/b"]),
        ("a**", &["a", "ab", "ab/c"], &["xa", "x/a"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/bx", "ab"]),
        ("a**/b", &["a/b", "ab", "ax/b", "ax/y/b"], &["x/a/b"]),
        ("a*b**/c", &["abc", "abbc", "abx/c", "ab/x/c", "axb/c"], &["ab", "abxc", "a/b/c", "x/abc"]),
        ("***/a", &["x/a", "x/y/a"], &["a", "xa"]),
        ("*a*/**/*b*c", &["a/bc", "xax/y/z/xbxc", "aa/bbcc", "a/b/bc"], &["a/b/c", "b/bc", "a/cb"]),
        ("**/*a/*/**/b", &["a/x/b", "y/xa/x/y/b", "a/a/a/b"], &["a/b", "b/x/b"]),
        ("a/**/b/**/c*", &["a/b/c", "a/x/b/y/cx", "a/b/b/c"], &["a/c", "a/b/xc"]),
        ("**/a/**", &["a/b", "x/a/b", "x/a/b/c"], &["a", "xa/b"]),
        ("**/a/*.py", &["a/x.py", "y/a/x.py"], &["a/b/x.py"]),
        ("**/a?/*", &["ab/c", "x/ab/c"], &["a/c"]),
        ("***", &["a", "a/b"], &[]),
        ("[a-c]x", &["ax", "bx", "cx/y"], &["dx", "ab"]),
        ("[^a-c]x", &["dx"], &["ax"]),
        ("[!a]x", &["!x", "ax"], &["bx"]),
        ("a[._]b", &["a.b", "a_b"], &["axb", "a-b"]),
        ("[a\\]]x", &["ax", "]x"], &["bx"]),
        ("a\\*b", &["a*b"], &["axb"]),
        ("\\!a", &["!a"], &["a"]),
        ("\\#a", &["#a"], &["a"]),
        ("a.b+(c)|{d}$", &["a.b+(c)|{d}$"], &["a.b+(c)", "axb+(c)|{d}$"]),
        ("*.{a}", &["x.{a}"], &["x.a"]),
        ("a$*", &["a$", "a$b"], &["a"]),
        ("A", &["A"], &["a"]),
        ("ü/*", &["ü/ö"], &["u/o", "ü"]),
        ("! a|*|! a", &["b"], &["a"]),
        ("a|!a/b|a", &["a", "a/c"], &["a/b"]),
        ("a/*|!a/b", &["a/c", "a/c/b"], &["a", "a/b", "a/b/c"]),
        ("a|!**/*.py", &["a/x", "a/b"], &["a/x.py", "a/b/c.py"]),
        ("node_modules|!node_modules/*/keep", &["node_modules/a/b"], &["node_modules/a/keep", "node_modules/a/keep/x"]),
        // Not understood, so nothing is left out.
        ("[a|\\d|x[*]|y[._-]|*[^a]b*c", &[], &["[a", "a", "0", "\\d", "xa", "y.", "xbc"]),
        ("*|![a", &[], &["a", "b/c"]),
    ];
    for &(lines, out, within) in table {
        let ignore = Ignore::parse(&if lines.contains('{') { lines.to_owned() } else { lines.replace('|', "\n") });
        for path in out {
            assert!(ignore.ignores(path), "{lines:?} should leave out {path}");
        }
        for path in within {
            assert!(!ignore.ignores(path), "{lines:?} should not leave out {path}");
        }
        let again: Ignore = Vec::<String>::from(ignore.clone()).into();
        assert_eq!(again, ignore, "{lines:?} survives its own text");
    }
}

#[test]
fn folders_that_need_no_walk() {
    let table: [(&str, &[&str], &[&str]); 7] = [
        ("**", &[], &["a"]),
        ("**|!src", &[], &[".git", "src", "a/src"]),
        ("**|!src/*.py", &["src"], &[".git", "src/a"]),
        ("**|!src/**", &["src", "src/a/b"], &[".git", "a"]),
        ("**|!s*/a/b", &["src", "src/a"], &[".git", "src/b", "src/a/b"]),
        ("**|!**/*.py", &[".git", "a/b"], &[]),
        ("**|![a", &["a"], &[]),
    ];
    for (lines, walked, skipped) in table {
        let ignore = Ignore::parse(&lines.replace('|', "\n"));
        walked.iter().for_each(|folder| assert!(ignore.may_return(folder), "{lines} needs {folder}"));
        skipped.iter().for_each(|folder| assert!(!ignore.may_return(folder), "{lines} does not need {folder}"));
    }
}

#[test]
fn what_takes_minutes_is_too_much() {
    let many = |line: &str, count: usize| Ignore::parse(&format!("{line}\n").repeat(count)).excess();
    assert_eq!(many("a", 10_001).as_deref(), Some("has 10001 patterns, and may have 10000"));
    assert_eq!(many("a", 10_000), None);
    let wide = "has 40000 bytes of patterns with wildcards, and may have 32768";
    assert_eq!(many("*a*b*c*d", 5_000).as_deref(), Some(wide));
    assert_eq!(many(&"*a".repeat(20_000), 1).as_deref(), Some(wide));
    assert_eq!(many("**/a", 9_000), None, "the end of a path is found at once");
}

#[test]
fn many_stars_end() {
    let slow = Ignore::parse(&format!("{}[z]\n{}[z]\n{}[z]", "*".repeat(9), "*a".repeat(2000), "**/*a".repeat(500)));
    for path in ["a".repeat(4000), "aa/".repeat(1300), "a".repeat(200)] {
        assert!(!slow.ignores(&path));
    }
    let ignore = Ignore::parse(&format!("{}b\n{}c", "*a".repeat(40), "**/a*".repeat(30)));
    assert!(!ignore.ignores(&"a/".repeat(500)) && !ignore.ignores(&"a".repeat(2000)));
}

proptest! {
    /// A folder that is not walked really has nothing that comes back.
    #[test]
    fn nothing_comes_back_from_a_folder_that_is_skipped(
        lines in prop::collection::vec("!?(\\*|\\*\\*|a|b|a\\*|\\[ab\\]|\\?)(/(\\*|\\*\\*|a|b|\\*b)){0,2}", 1..6),
        path in "[ab]{1,2}(/[ab]{1,2}){1,3}",
    ) {
        let ignore = Ignore::parse(&lines.join("\n"));
        for (at, _) in path.match_indices('/') {
            if ignore.ignores(&path[..at]) && !ignore.may_return(&path[..at]) {
                prop_assert!(ignore.ignores(&path), "{lines:?} {path} below {}", &path[..at]);
            }
        }
    }

    #[test]
    fn nothing_panics(text in "(\\*|\\?|\\[|\\]|\\\\|/|!|#|\\^|-|a|ü|\n| |\\.){0,20}", path in "(a|ü|/|\\.|-){1,10}") {
        let ignore = Ignore::parse(&text);
        let _either = (ignore.ignores(&path), ignore.may_return(&path));
    }
}
