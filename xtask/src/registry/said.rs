//! What a failed registry tool meant, read from what it said. `crane` and `docker` have one exit code for everything.

/// Why a registry did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// No such tag, digest or repository.
    Absent,
    /// 401: nobody, or somebody unknown.
    NotLoggedIn,
    /// 403: somebody who may not.
    Denied,
    /// 405, or a tag where only digests can be deleted.
    Unsupported,
    /// 429, 5xx, a lost or refused connection: worth asking again.
    Transient,
    Other,
}

/// Error codes of the distribution specification, and the words of Go's HTTP client, by meaning.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
const WORDS: [(Said, &[&str]); 5] = [
    (
        Said::NotLoggedIn,
        &[
            "UNAUTHORIZED",
            "401 Unauthorized",
            "no basic auth credentials",
            "authentication required",
            "(HTTP 401)",
            "gh auth login",
            "GH_TOKEN",
        ],
    ),
    (
        Said::Denied,
        &[
            "DENIED",
            "403 Forbidden",
            "insufficient_scope",
            "access denied",
            "requested access to the resource is denied",
            "(HTTP 403)",
        ],
    ),
    (Said::Unsupported, &["UNSUPPORTED", "405 Method Not Allowed", "DIGEST_INVALID"]),
    (
        Said::Transient,
        &[
            "TOOMANYREQUESTS",
            "429 Too Many",
            "408 Request Timeout",
            "500 Internal",
            "502 Bad",
            "503 Service",
            "504 Gateway",
            "(HTTP 429)",
            "(HTTP 50",
            "UNAVAILABLE",
            ": UNKNOWN: ",
            "connection refused",
            "connection reset",
            "broken pipe",
            "EOF",
            "i/o timeout",
            "TLS handshake timeout",
            "Client.Timeout",
            "deadline exceeded",
            "no such host",
            "server misbehaving",
            "use of closed network connection",
        ],
    ),
    (Said::Absent, &["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "404 Not Found", "(HTTP 404)", ": not found"]),
];

/// `stderr` of the tool. Only its last lines decide: earlier ones tell of requests that were tried again.
pub fn said(stderr: &str) -> Said {
    let errors = stderr.lines().filter(|line| line.starts_with("Error:") || line.starts_with("ERROR:")).collect::<Vec<_>>();
    let text = if errors.is_empty() { stderr.to_owned() } else { errors.join("\n") };
    let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    found.map_or(Said::Other, |(said, _)| *said)
}

/// Whether a registry did not do it for who we are, or for nobody.
pub fn is_refused(stderr: &str) -> bool {
    matches!(said(stderr), Said::NotLoggedIn | Said::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_tools_say_it() {
        for (text, meaning) in [
            (
                "2026/11/21 10:20:47 HEAD request failed, falling back on GET: HEAD http://r/v2/a/manifests/b: unexpected status code 404 Not Found (HEAD responses have no body, use GET for details)\n\
                 Error: GET http://r/v2/a/manifests/b: MANIFEST_UNKNOWN: manifest unknown; map[Tag:b]",
                Said::Absent,
            ),
            (
                "Error: reading tags for r/a: GET http://r/v2/a/tags/list?n=1000: NAME_UNKNOWN: repository name not known to registry",
                Said::Absent,
            ),
            ("ERROR: r/a:b: not found", Said::Absent),
            ("gh: Package not found. (HTTP 404)", Said::Absent),
            ("gh: You need at least read:packages scope to list package versions. (HTTP 403)", Said::Denied),
            (
                "gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable. Example:",
                Said::NotLoggedIn,
            ),
            ("gh: Server Error (HTTP 502)", Said::Transient),
            ("Error: GET https://r/token: UNAUTHORIZED: authentication required", Said::NotLoggedIn),
            ("ERROR: failed to authorize: failed to fetch anonymous token: 401 Unauthorized", Said::NotLoggedIn),
            ("Error: PUT https://r/v2/a/manifests/b: DENIED: permission_denied: write_package", Said::Denied),
            (
                "Error: DELETE http://r/v2/a/manifests/b: DIGEST_INVALID: provided digest did not match uploaded content",
                Said::Unsupported,
            ),
            ("Error: DELETE http://r/v2/a/manifests/sha256:0: UNSUPPORTED: The operation is unsupported.", Said::Unsupported),
            ("Error: GET http://r/v2/: unexpected status code 429 Too Many Requests: slow down", Said::Transient),
            ("Error: Get \"http://r/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", Said::Transient),
            ("Error: Get \"http://r/v2/\": EOF", Said::Transient),
            ("Error: PUT http://r/v2/a/manifests/b: UNKNOWN: unknown error; map[DriverName:filesystem]", Said::Transient),
            ("Error: no child with platform linux/amd64 in index r/a:b", Said::Other),
        ] {
            assert_eq!(said(text), meaning, "{text}");
        }
    }

    #[test]
    fn a_line_about_an_earlier_request_does_not_decide() {
        let text = "HEAD request failed: 404 Not Found\nError: GET http://r/v2/a: unexpected status code 503 Service Unavailable";
        assert_eq!(said(text), Said::Transient);
    }
}
