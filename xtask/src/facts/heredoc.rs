//! The here-documents that an instruction asks for: `<<EOF`, `3<<-"EOF"`.
//!
//! moby/buildkit, frontend/dockerfile/parser: `heredocsFromLine`, `ParseHeredoc`. Words are cut as a shell does it, so
//! that `"<<EOF"` is none; where that fails, BuildKit takes the line to have none at all.

use super::words;

pub struct Heredoc {
    /// The line that ends it.
    pub name: String,
    /// `<<-`: tabs before that line do not count.
    pub chomp: bool,
}

/// Those of a line, in order.
pub fn all(line: &str) -> Vec<Heredoc> {
    if !line.contains("<<") {
        return Vec::new();
    }
    words::of_shell(line, true).unwrap_or_default().iter().filter_map(|word| one(word)).collect()
}

/// The here-document that a word asks for.
pub fn one(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    if rest.contains('<') {
        return None;
    }
    match words::of_shell(rest, false).ok()?.as_slice() {
        [name] => Some(Heredoc { name: name.clone(), chomp }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_buildkit_finds_them() {
        let table: [(&str, &[&str]); 26] = [
            ("RUN cat <<EOF > /x", &["EOF"]),
            ("RUN <<A cat <<B", &["A", "B"]),
            ("COPY 3<<EOF /x", &["EOF"]),
            ("COPY <<-EOF <<\"b c\" /x", &["-EOF", "b c"]),
            ("RUN python3 - <<-'PY' 3<<X", &["-PY", "X"]),
            ("RUN cat <<E\"O\"F", &["EOF"]),
            ("RUN cat <<\\EOF", &["EOF"]),
            ("RUN cat << EOF", &["EOF"]),
            ("RUN cat <<- EOF", &[]),
            ("RUN cat <<<word", &[]),
            ("RUN cat x<<EOF", &[]),
            ("RUN echo $((1<<2))", &[]),
            ("RUN echo \"<<EOF\" '<<EOF'", &[]),
            ("RUN echo \\<<EOF", &[]),
            ("RUN echo \\\\ <<EOF", &["EOF"]),
            ("RUN cat <<$EOF", &["$EOF"]),
            ("RUN cat <<EOF > $X ${Y:-a b} ${Z#p}", &["EOF"]),
            ("RUN cat <<EOF > ${X:-\"<<B\"}", &["EOF"]),
            // What it cannot cut has none.
            ("RUN echo it's <<EOF", &[]),
            ("RUN echo \"x <<EOF", &[]),
            ("RUN cat <<EOF ${X^^}", &[]),
            ("RUN cat <<EOF ${}", &[]),
            ("RUN cat <<EOF ${X", &[]),
            ("RUN cat <<", &[]),
            ("RUN cat <<''", &[]),
            ("RUN a", &[]),
        ];
        for (line, expected) in table {
            let found = all(line).into_iter().map(|found| if found.chomp { format!("-{}", found.name) } else { found.name });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{line}");
        }
    }
}
