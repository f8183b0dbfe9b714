//! Whether a certificate of ours is still good. A daemon that refuses it often ends the connection before it can say why.

use std::time::Duration;

use camino::Utf8Path;

use crate::cmd::Cmd;
use crate::exec::Runner;

/// Since when a certificate (a PEM file) has expired; `None` if it has not, or if nobody here can tell.
pub fn expired(runner: &Runner, file: &Utf8Path) -> Option<String> {
    runner.which("openssl")?;
    let ask = Cmd::probe("openssl", format!("read until when {file} is good"));
    // Its exit code is 1 for one that has expired, and for a file that is no certificate.
    let ask = ask.args(["x509", "-noout", "-enddate", "-checkend", "0", "-in", file.as_str()]).timeout(Duration::from_secs(10));
    let exit = runner.output(&ask).ok().filter(|exit| exit.code == Some(1))?;
    Some(exit.stdout.lines().find_map(|line| line.strip_prefix("notAfter="))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBBjCBrQIBATAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0yMDAxMDEw\n\
MDAwMDBaFw0yMDAxMDIwMDAwMDBaMBIxEDAOBgNVBAMMB2V4cGlyZWQwWTATBgcq\n\
hkjOPQIBBggqhkjOPQMBBwNCAASZPzpgnEk7hjt1Es7NnzVC+ZO+N9VRgwvozhSW\n\
iXjMTyGHsZ6VfDK8lIJZDYFNcOXAJqcrIg+n6U4LF9g+pdSXMAoGCCqGSM49BAMC\n\
A0gAMEUCIHtZLE6TlyFPWVudTSvyYlZp+O0C7Z5LplhwP2AUcQXBAiEAkMjvMd/E\n\
rHnxOx7CBZKet8nV2ScgQlCzpQAf/0rqh0M=\n\
-----END CERTIFICATE-----\n";

    #[test]
    fn only_what_has_expired_has() {
        let runner = Runner::default();
        if runner.which("openssl").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("c.pem");
        let said = |text: &str| {
            std::fs::write(&file, text).unwrap();
            expired(&runner, &file)
        };
        assert_eq!(said(EXPIRED).as_deref(), Some("Jan  2 00:00:00 2020 GMT"));
        assert_eq!((said(""), said(&EXPIRED[..120])), (None, None));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(expired(&runner, &file), None);
    }
}
