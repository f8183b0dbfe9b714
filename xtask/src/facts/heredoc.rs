//! Here-documents that do not begin a RUN step (`RUN cat <<EOF > /x`): the parser takes their bodies for instructions.

use std::sync::LazyLock;

use regex_lite::Regex;

/// `<<EOF`, `<<-"EOF"`, `3<<EOF` at the beginning of a word.
static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"(^|\s)[0-9]*<<(-?)["']?([^\s"'<]+)["']?"#).ok());

/// The text with comments for the bodies of here-documents in RUN steps; those of COPY and ADD stay.
pub fn strip(text: &str, escape: char) -> String {
    if !text.contains("<<") {
        return text.to_owned();
    }
    let lines = text.split_inclusive('\n').collect::<Vec<_>>();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < lines.len() {
        let end = logical_end(&lines, at, escape);
        let step = lines[at..end].concat();
        let keyword = step.split_whitespace().find(|word| !word.eq_ignore_ascii_case("onbuild")).unwrap_or_default();
        let after = match keyword.to_ascii_lowercase().as_str() {
            "run" | "copy" | "add" => bodies_end(&lines, end, &step),
            _ => end,
        };
        if after > end && keyword.eq_ignore_ascii_case("run") {
            out.push_str(&step.replace("<<", "< <"));
            // A comment for each line: errors keep their line numbers.
            out.push_str(&"#\n".repeat(after - end));
        } else {
            out.push_str(&lines[at..after].concat());
        }
        at = after;
    }
    out
}

/// Where an instruction that begins at `at` ends: after the first line that is not continued.
fn logical_end(lines: &[&str], at: usize, escape: char) -> usize {
    let comment = |line: &str| line.trim_start().starts_with('#');
    let mut end = at + 1;
    if comment(lines[at]) {
        return end;
    }
    let mut continued = lines[at].trim_end().ends_with(escape);
    while continued && end < lines.len() {
        // Comments and empty lines within an instruction do not end it.
        if !comment(lines[end]) && !lines[end].trim().is_empty() {
            continued = lines[end].trim_end().ends_with(escape);
        }
        end += 1;
    }
    end
}

/// Where the bodies end that a step asks for; `from` when it asks for none, or one has no end.
fn bodies_end(lines: &[&str], from: usize, step: &str) -> usize {
    let Some(mark) = MARK.as_ref() else { return from };
    let mut at = from;
    for found in mark.captures_iter(step) {
        let (tabs, word) = (&found[2] == "-", &found[3]);
        let is_end = |line: &&str| {
            let line = line.trim_end_matches(['\n', '\r']);
            word == if tabs { line.trim_start_matches('\t') } else { line }
        };
        match lines[at..].iter().position(is_end) {
            Some(body) => at += body + 1,
            None => return from,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_of_run_go() {
        let table = [
            ("FROM a\nRUN cat <<EOF > /x\nCOPY no no\nEOF\nRUN b\n", "FROM a\nRUN cat < <EOF > /x\n#\n#\nRUN b\n"),
            ("RUN <<EOF\nfoo()\nEOF", "RUN < <EOF\n#\n#\n"),
            ("RUN python3 - <<-'PY' 3<<X\n\tprint()\n\tPY\nx\nX\nFROM b\n", "RUN python3 - < <-'PY' 3< <X\n#\n#\n#\n#\nFROM b\n"),
            ("RUN a \\\n  # note\n\n  && b <<E\nbody\nE\nUSER x\n", "RUN a \\\n  # note\n\n  && b < <E\n#\n#\nUSER x\n"),
            ("COPY <<EOF /x\nRUN cat <<B\nEOF\nRUN y\n", "COPY <<EOF /x\nRUN cat <<B\nEOF\nRUN y\n"),
            ("RUN echo $((1<<2)) && cat <<<word\n", "RUN echo $((1<<2)) && cat <<<word\n"),
            ("RUN x <<EOF\nno end\n", "RUN x <<EOF\nno end\n"),
            ("# RUN x <<EOF\nFROM a\nEOF\n", "# RUN x <<EOF\nFROM a\nEOF\n"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(strip(text, '\\'), expected, "{text}");
        }
    }
}
