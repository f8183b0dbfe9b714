//! The web address of a repository, from the address that git fetches it by.

/// `git@github.com:a/b.git`, `https://token@github.com/a/b` → `https://github.com/a/b`; `None` for a path, or a
/// name that only this machine's ssh knows.
pub fn web_address(url: &str) -> Option<String> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest.to_owned()),
        None => {
            let (authority, path) = url.split_once(':').filter(|(authority, _)| !authority.contains('/'))?;
            ("ssh", format!("{authority}/{}", path.trim_start_matches('/')))
        }
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = match scheme {
        "https" | "http" => host,
        // Their ports are not those of the web server.
        "ssh" | "git" | "git+ssh" | "ssh+git" => host.split(':').next().unwrap_or(host),
        _ => return None,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path).trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let named = host.contains('.') || host.starts_with("localhost");
    let scheme = if scheme == "http" { "http" } else { "https" };
    (named && !path.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_credentials() {
        for (url, web) in [
            ("git@github.com:a/b.git", Some("https://github.com/a/b")),
            ("github.com:a/b", Some("https://github.com/a/b")),
            ("git@git.example.org:/a/b.git/", Some("https://git.example.org/a/b")),
            ("https://github.com/a/b.git", Some("https://github.com/a/b")),
            ("https://user:to@ken@github.com/a/b.git", Some("https://github.com/a/b")),
            ("https://x-access-token:ghs_abc@ghe.example.org:8443/a/b", Some("https://ghe.example.org:8443/a/b")),
            ("https://example.org/a/b?token=abc#x", Some("https://example.org/a/b")),
            ("http://localhost:3000/a/b.git", Some("http://localhost:3000/a/b")),
            ("ssh://git@host.example:2222/a/b", Some("https://host.example/a/b")),
            ("git://host.example/a/b.git", Some("https://host.example/a/b")),
            ("work:a/b.git", None),
            ("/srv/git/a", None),
            ("../a:b", None),
            ("file:///srv/a", None),
            ("https://github.com/", None),
            ("", None),
        ] {
            assert_eq!(web_address(url).as_deref(), web, "{url}");
        }
    }
}
