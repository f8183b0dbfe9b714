//! The flags of an instruction: words that begin with `--`, cut and freed of quotes and escapes as BuildKit does it.
//!
//! moby/buildkit, frontend/dockerfile/parser: `extractBuilderFlags`; frontend/dockerfile/instructions: `parseMount`.

use super::ignore::Ignore;

/// Name and value of each, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<(String, String)>);

impl Flags {
    /// Cuts the flags off what follows a keyword. BuildKit takes each byte for a character here, so that those of
    /// `ü` are two, and those of `à` contain white space.
    pub fn cut(line: &[u8], escape: u8) -> (Flags, &[u8]) {
        let (mut flags, mut rest) = (Flags::default(), skip_blanks(line));
        while rest.starts_with(b"--") {
            let (mut word, mut quote, mut bytes) = (String::new(), None, rest.iter());
            while let Some(&byte) = bytes.next() {
                match quote {
                    None if is_blank(&byte) => break,
                    None if byte == b'"' || byte == b'\'' => quote = Some(byte),
                    Some(open) if open == byte => quote = None,
                    _ if byte == escape => word.extend(bytes.next().map(|byte| char::from(*byte))),
                    _ => word.push(char::from(byte)),
                }
            }
            rest = skip_blanks(bytes.as_slice());
            // `--` ends them.
            if word == "--" {
                break;
            }
            let (name, value) = word[2..].split_once('=').unwrap_or((&word[2..], ""));
            flags.0.push((name.to_owned(), value.to_owned()));
        }
        (flags, rest)
    }

    pub fn get<'b>(&'b self, name: &'b str) -> Option<&'b str> {
        self.all(name).next()
    }

    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// What `--exclude` of COPY and ADD leaves out of each source, by the rules of a `.dockerignore` from there on. Nothing
    /// where a pattern may mean something else to BuildKit: then everything counts.
    pub fn excludes(&self) -> Ignore {
        let patterns: Vec<&str> = self.all("exclude").map(str::trim).collect();
        let is_plain = |pattern: &&str| {
            let inside = pattern.strip_prefix('!').unwrap_or(pattern);
            !inside.starts_with(['/', '#', '!']) && !inside.contains(['$', '\n']) && !inside.contains("..")
        };
        // With `--parents` they begin elsewhere.
        let is_known = self.get("parents").is_none() && patterns.iter().all(is_plain);
        if is_known { Ignore::parse(&patterns.join("\n")) } else { Ignore::default() }
    }

    /// Those of `--mount`; `None`: BuildKit cannot read it either.
    pub fn mounts(&self) -> impl Iterator<Item = Option<Mount>> {
        self.all("mount").map(|value| fields(value).map(Mount))
    }
}

/// White space among the characters of Latin-1.
fn is_blank(byte: &u8) -> bool {
    char::from(*byte).is_whitespace()
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| is_blank(byte)).count();
    &bytes[blanks..]
}

/// `--mount=type=bind,source=a,target=/b`, by its fields.
pub struct Mount(Vec<String>);

impl Mount {
    pub fn get(&self, name: &str) -> Option<&str> {
        // The last one counts, and `from=` is as good as none.
        self.last(&[name]).filter(|value| name != "from" || !value.is_empty())
    }

    /// `source` and `src` are one field.
    pub fn source(&self) -> Option<&str> {
        self.last(&["source", "src"])
    }

    /// `target`, `dst` and `destination` are one field.
    pub fn target(&self) -> Option<&str> {
        self.last(&["target", "dst", "destination"])
    }

    pub fn is_bind(&self) -> bool {
        // Whatever is not surely another one.
        let others = ["cache", "tmpfs", "secret", "ssh"];
        self.get("type").is_none_or(|kind| !others.iter().any(|other| kind.eq_ignore_ascii_case(other)))
    }

    fn last(&self, names: &[&str]) -> Option<&str> {
        let pairs = self.0.iter().rev().map(|field| field.split_once('=').unwrap_or((field, "")));
        pairs.into_iter().find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name))).map(|(_, value)| value)
    }
}

/// The fields of a line of CSV: `a,"b ""c"", d"`.
fn fields(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), Some(text));
    while let Some(text) = rest {
        let Some(quoted) = text.strip_prefix('"') else {
            let (field, after) = text.split_once(',').map_or((text, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return None;
            }
            fields.push(field.to_owned());
            rest = after;
            continue;
        };
        let (mut field, mut left) = (String::new(), quoted);
        let behind = loop {
            let (part, after) = left.split_once('"')?;
            field.push_str(part);
            let Some(more) = after.strip_prefix('"') else { break after };
            field.push('"');
            left = more;
        };
        fields.push(field);
        rest = if behind.is_empty() { None } else { Some(behind.strip_prefix(',')?) };
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_flags() {
        let table: [(&str, &[&str], &str); 11] = [
            ("--a=b --c x --d", &["a=b", "c="], "x --d"),
            (r#" --mount=type=bind,"source=my files",target=/s ls"#, &["mount=type=bind,source=my files,target=/s"], "ls"),
            (r#"--a='type=bind,"src=a,b"' --x="a b"'c d'\ e f"#, &[r#"a=type=bind,"src=a,b""#, "x=a bc d e"], "f"),
            (r#"--a="\"b" -- --c"#, &[r#"a="b"#], "--c"),
            (r"--a=x\\ \--b", &[r"a=x\"], r"\--b"),
            (r"--a=x\", &["a=x"], ""),
            ("--a=\"open b", &["a=open b"], ""),
            ("x --a", &[], "x --a"),
            ("--", &[], ""),
            ("--a=ü b", &["a=Ã¼"], "b"),
            ("--a=xàb c", &["a=xÃ"], "b c"),
        ];
        for (line, expected, rest) in table {
            let (flags, left) = Flags::cut(line.as_bytes(), b'\\');
            let flags: Vec<String> = flags.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(
                (flags.iter().map(String::as_str).collect::<Vec<_>>(), left),
                (expected.to_vec(), rest.as_bytes()),
                "{line}"
            );
        }
        assert_eq!(Flags::cut(b"--a=\xfc b", b'\\').0.get("a"), Some("ü"));
        assert_eq!(Flags::cut(br"--a=\``b` c", b'`').0.get("a"), Some(r"\`b c"), "escaped by a backtick");
    }

    #[test]
    fn fields_of_csv() {
        for (text, expected) in [
            ("a,b=c,", Some(vec!["a", "b=c", ""])),
            (r#""a,b",c,"d ""e""""#, Some(vec!["a,b", "c", r#"d "e""#])),
            (r#"a"b"#, None),
            (r#""a"#, None),
            (r#""a"b"#, None),
        ] {
            assert_eq!(fields(text), expected.map(|all| all.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }
}
