//! Whatever is written, loading ends with a configuration or with faults that name a line.

use proptest::prelude::*;

use super::*;
use crate::error::{Code, exit_code};

const GRAMMAR: &str = include_str!("../../../tests/fixtures/config/grammar.toml");

/// Pieces that mean something to the language, where they don't belong.
const PIECES: [&str; 16] =
    ["{", "}", "{{", "${X}", "{version}", "{zz}", "\"", "=", "\n", "..", "/", ":", "first", "[image.x]\n", "é", "0"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_never_a_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3usize, prop::sample::select(&PIECES[..])), 1..4),
    ) {
        let repo = Repo::new(&[("PYTHON_VERSIONS", "3.8\n3.12\n"), ("VERSION", "v1.0.0\n"), ("services/a/Dockerfile", "")]);
        // Without its comments, which nothing can damage.
        let lines = GRAMMAR.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut text: Vec<char> = lines.flat_map(|line| line.chars().chain(['\n'])).collect();
        for (at, cut, piece) in edits {
            let at = at.index(text.len());
            let end = text.len().min(at + cut);
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = load_text(repo.path(), Utf8Path::new("f"), &text, &Env::new()) {
            prop_assert_eq!(exit_code(&error), Code::Usage, "{:#}", error);
            let error = error.to_string();
            prop_assert!(error.lines().skip(1).all(|line| line.starts_with("f:") || line.contains(":1: ")), "{}", error);
        }
    }
}
