//! What may be a name: of images, repositories, tags, platforms.

/// What `docker buildx` and the images of Docker Hub know.
pub const PLATFORMS: [&str; 8] =
    ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64"];

/// One part of a repository's path: lower case letters and digits, between them `.`, `_`, `__` or dashes.
///
/// Source: <https://github.com/distribution/reference/blob/main/regexp.go>
pub fn is_component(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separator = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner)
        && bytes.chunk_by(|one, two| inner(one) == inner(two)).all(|run| inner(&run[0]) || separator(run))
}

/// A repository without its registry: components with slashes between, at most 255 characters.
pub fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

/// At most 128 letters, digits, `_`, `.`, `-`, the first neither `.` nor `-`.
///
/// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
pub fn is_tag(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && !text.starts_with(['.', '-']) && text.bytes().all(is_tag_byte)
}

/// What an axis may hold: it becomes a piece of tags and paths.
pub fn is_axis_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tag_byte) && text != "." && text != ".."
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// A pattern of files that can match: relative, without `./`, not out of the repository.
pub fn is_pattern(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['/', '~']) && text.split('/').all(|step| step != "." && step != "..")
}

/// Whether a repository begins with a registry, which is written elsewhere: its first part has a dot or is `localhost`.
pub fn has_registry(repository: &str) -> bool {
    repository.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// `host` or `host:port`.
pub fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    !host.is_empty() && host.chars().all(name) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A name that environments, build arguments and axes take.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for text in ["a", "acme/shop", "slipway/python-cpu-py3.11", "a__b/c---d", "0/1"] {
            assert!(is_repository(text), "{text}");
        }
        for text in ["", "/a", "a/", "a//b", "Acme/x", "a..b", "a_-b", "-a", "a.", "a___b", "a b", "a:1", "ä"] {
            assert!(!is_repository(text), "{text}");
        }
    }

    #[test]
    fn tags_and_values() {
        for text in ["latest", "v1.2.3", "_x", "A-b.c_d", &"x".repeat(128)] {
            assert!(is_tag(text), "{text}");
        }
        for text in ["", ".x", "-x", "a/b", "a:b", "a b", "1.0+x", "{x}", &"x".repeat(129)] {
            assert!(!is_tag(text), "{text}");
        }
        assert!(is_axis_value("-x") && !is_axis_value("..") && !is_axis_value("a/b") && !is_axis_value(""));
    }

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("ghcr.io", true),
            ("localhost:5000", true),
            ("a:b", false),
            ("ghcr.io/acme", false),
            ("https://x", false),
            ("", false),
        ] {
            assert_eq!(is_host(text), expected, "{text}");
        }
    }
}
