//! Errors of the engine that are known to go away: what fell to one is built once more, and the table says so.

/// (part of the message, where it is known from).
const KNOWN: &[(&str, &str)] = &[
    // Several images that share layers are unpacked at once while containerd collects garbage.
    ("failed to prepare extraction snapshot", "https://github.com/moby/buildkit/issues/6521"),
    ("missing lease requirement for setBlob", "https://github.com/moby/buildkit/issues/4419"),
    ("failed to stat active key during commit", "https://github.com/project-dalec/dalec/pull/1069"),
    // A registry that takes several pushes at once says so of what it was just given.
    ("blob unknown to registry", "https://github.com/moby/moby/issues/36823"),
];

/// The known error in a message.
pub fn find(message: &str) -> Option<&'static str> {
    KNOWN.iter().map(|(text, _)| *text).find(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_transient() {
        let message = r#"failed to solve: failed to prepare extraction snapshot "extract-1 sha256:a": parent snapshot sha256:b does not exist"#;
        assert_eq!(find(message), Some("failed to prepare extraction snapshot"));
        assert_eq!(find("unknown: blob unknown to registry - sha256:8999"), Some("blob unknown to registry"));
        assert_eq!(find("process \"/bin/sh -c false\" did not complete successfully: exit code: 1"), None);
        assert!(KNOWN.iter().all(|(_, source)| source.starts_with("https://")), "every entry names its source");
    }
}
