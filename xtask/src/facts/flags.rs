//! The flags of an instruction: words that begin with `--`, cut and freed of quotes and escapes as BuildKit does it.
//!
//! moby/buildkit, frontend/dockerfile/parser: `extractBuilderFlags`; frontend/dockerfile/instructions: `parseMount`.

use std::borrow::Cow;

use parse_dockerfile::Flag;

use super::ignore::Ignore;

/// Name → value, in order.
pub struct Flags<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Flags<'a> {
    /// As they were parsed, where they are plain; else cut anew from what stands behind the keyword.
    pub fn new(parsed: &'a [Flag<'_>], behind: &str, escape: char) -> Flags<'a> {
        let value = |flag: &'a Flag<'_>| flag.value.as_ref().map_or("", |value| &value.value);
        let has_quotes = |text: &str| text.contains('"') || text.contains('\'') || text.contains(escape);
        let special = |flag: &'a Flag<'_>| has_quotes(value(flag)) || has_quotes(&flag.name.value);
        if !parsed.iter().any(special) {
            return Flags(parsed.iter().map(|flag| (Cow::from(&*flag.name.value), Cow::from(value(flag)))).collect());
        }
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) => (Cow::from(name.to_owned()), Cow::from(value.to_owned())),
            None => (Cow::from(word), Cow::from("")),
        };
        Flags(words(&line(behind, escape), escape).into_iter().map(pair).collect())
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
    pub fn mounts(&self) -> impl Iterator<Item = Option<Mount<'_>>> {
        self.all("mount").map(|value| fields(value).map(Mount))
    }

    /// Whether one has white space in it, of which the parser made sources of COPY.
    pub fn has_space(&self) -> bool {
        self.0.iter().any(|(name, value)| name.contains(char::is_whitespace) || value.contains(char::is_whitespace))
    }
}

/// `--mount=type=bind,source=a,target=/b`, by its fields.
pub struct Mount<'a>(Vec<Cow<'a, str>>);

impl Mount<'_> {
    pub fn get(&self, name: &str) -> Option<&str> {
        // The last one counts, and `from=` is as good as none.
        self.last(&[name]).filter(|value| name != "from" || !value.is_empty())
    }

    /// `source` and `src` are one field.
    pub fn source(&self) -> Option<&str> {
        self.last(&["source", "src"])
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

/// The line that an instruction is once its continued lines are joined.
fn line(text: &str, escape: char) -> String {
    let mut joined = String::new();
    for (at, line) in text.lines().enumerate() {
        if at > 0 && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        match line.trim_end().strip_suffix(escape) {
            Some(part) => joined.push_str(part),
            None => {
                joined.push_str(line);
                break;
            }
        }
    }
    joined
}

/// The words at the beginning of a line that begin with `--`, without that.
fn words(line: &str, escape: char) -> Vec<String> {
    let (mut words, mut chars) = (Vec::new(), line.trim_start().chars());
    while let Some(rest) = chars.as_str().trim_start().strip_prefix("--") {
        let (mut word, mut quote) = (String::new(), None);
        chars = rest.chars();
        while let Some(c) = chars.next() {
            match quote {
                None if c.is_whitespace() => break,
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if open == c => quote = None,
                _ if c == escape => word.extend(chars.next()),
                _ => word.push(c),
            }
        }
        // `--` ends them.
        if word.is_empty() {
            break;
        }
        words.push(word);
    }
    words
}

/// The fields of a line of CSV: `a,"b ""c"", d"`.
fn fields(text: &str) -> Option<Vec<Cow<'_, str>>> {
    let (mut fields, mut rest) = (Vec::new(), Some(text));
    while let Some(text) = rest {
        let Some(quoted) = text.strip_prefix('"') else {
            let (field, after) = text.split_once(',').map_or((text, None), |(field, after)| (field, Some(after)));
            fields.push(Some(Cow::from(field)).filter(|field| !field.contains('"'))?);
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
        fields.push(Cow::from(field));
        rest = if behind.is_empty() { None } else { Some(behind.strip_prefix(',')?) };
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_flags() {
        for (text, expected) in [
            ("--a=b --c x --d", vec!["a=b", "c"]),
            (r#" --mount=type=bind,"source=my files",target=/s ls"#, vec!["mount=type=bind,source=my files,target=/s"]),
            (r#"--mount='type=bind,"src=a,b"' --x="a b"'c d'\ e f"#, vec![r#"mount=type=bind,"src=a,b""#, "x=a bc d e"]),
            (r#"--a="\"b" -- --c"#, vec![r#"a="b"#]),
            ("--a=1 \\\n  # note\n\n  --b=\"c \\  \nd\" e \\\n --f\n--g", vec!["a=1", "b=c d"]),
            ("--a=\"open", vec!["a=open"]),
            ("x --a", vec![]),
        ] {
            assert_eq!(words(&line(text, '\\'), '\\'), expected, "{text}");
        }
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
            assert_eq!(fields(text), expected.map(|all| all.into_iter().map(Cow::from).collect()), "{text}");
        }
    }
}
