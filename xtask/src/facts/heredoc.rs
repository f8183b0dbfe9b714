//! Here-documents that do not begin a RUN step (`RUN cat <<EOF > /x`): the parser takes their bodies for instructions.

use std::collections::BTreeMap;

use super::words::Vars;

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
            "run" | "copy" | "add" => bodies_end(&lines, end, &marks(&lines[at..end], escape)),
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

/// What a step asks for: (whether tabs go, the word that ends it). Only words as a shell cuts them count: no
/// `"<<EOF"`, and nothing in a comment between continued lines.
///
/// moby/buildkit, frontend/dockerfile/parser: `heredocsFromLine` and `ParseHeredoc`.
fn marks(lines: &[&str], escape: char) -> Vec<(bool, String)> {
    let joined = lines.iter().enumerate().filter(|(at, line)| *at == 0 || !line.trim_start().starts_with('#'));
    let joined: String = joined.map(|(_, line)| line.trim_end()).map(|line| line.strip_suffix(escape).unwrap_or(line)).collect();
    let shell = Vars { known: BTreeMap::new(), others_may_exist: false, escape };
    let mark = |word: &String| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let end = rest.replace(['"', '\''], "");
        (!end.is_empty() && !rest.contains('<')).then_some((tabs, end))
    };
    shell.split(&joined).iter().filter_map(mark).collect()
}

/// Where the bodies end that a step asks for; `from` when it asks for none, or one has no end.
fn bodies_end(lines: &[&str], from: usize, marks: &[(bool, String)]) -> usize {
    let mut at = from;
    for (tabs, word) in marks {
        let is_end = |line: &&str| {
            let line = line.trim_end_matches(['\n', '\r']);
            word == if *tabs { line.trim_start_matches('\t') } else { line }
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
            ("RUN echo \"cat <<EOF\"\nCOPY a b\nRUN <<EOF\nx\nEOF\n", "RUN echo \"cat <<EOF\"\nCOPY a b\nRUN < <EOF\n#\n#\n"),
            ("RUN a \\\n # see <<EOF\n && b\nCOPY c d\nEOF\n", "RUN a \\\n # see <<EOF\n && b\nCOPY c d\nEOF\n"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(strip(text, '\\'), expected, "{text}");
        }
    }
}
