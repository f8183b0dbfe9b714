//! Debian packages, downloaded and verified by apt with a package state of our own, and unpacked into a private folder.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::machine::{self, Apt};
use super::mounts::remove_tree;
use super::paths::{Paths, make_dir, remove_file, write};
use super::steps::Steps;
use crate::cmd::Cmd;
use crate::error::{Code, Fault, exit_code};
use crate::exec::Runner;

/// The suite with Docker Engine 28; what it needs from libc is in bookworm already.
const NEWER: &str = "forky";
const LIMIT: Duration = Duration::from_secs(600);

/// Programs that belong together, unpacked into one folder.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    pub name: &'static str,
    /// From [`NEWER`].
    newer: &'static [&'static str],
    /// From the machine's own suite: linked against its libraries.
    own: &'static [&'static str],
    /// Link → program, for the names that our own PATH offers.
    links: &'static [(&'static str, &'static str)],
}

pub const REGISTRY: Set =
    Set { name: "registry", newer: &["crane"], own: &["docker-registry"], links: &[("bin/crane", "usr/bin/crane")] };

pub const ENGINE: Set = Set {
    name: "engine",
    newer: &["docker.io", "docker-cli", "containerd", "docker-buildx", "docker-compose", "tini-static"],
    own: &[
        "runc",
        "mmdebstrap",
        "iptables",
        "libxtables12",
        "libnftnl11",
        "libmnl0",
        "libip4tc2",
        "libip6tc2",
        "libnetfilter-conntrack3",
        "libnfnetlink0",
        "nftables",
        "libnftables1",
        "libjansson4",
        "libedit2",
        "libbsd0",
        "libmd0",
        "libgmp10",
    ],
    links: &[
        ("bin/docker", "usr/bin/docker"),
        ("sbin/iptables", "usr/sbin/xtables-nft-multi"),
        ("sbin/iptables-save", "usr/sbin/xtables-nft-multi"),
        ("sbin/iptables-restore", "usr/sbin/xtables-nft-multi"),
        ("sbin/nft", "usr/sbin/nft"),
        ("sbin/ip6tables", "usr/sbin/xtables-nft-multi"),
    ],
};

/// Static, so that it also runs in containers.
pub const EMULATION: Set = Set { name: "emulation", newer: &[], own: &["qemu-user-static"], links: &[] };

/// Name and version of each package of a set that is unpacked, empty if it is not.
pub fn versions(paths: &Paths, set: &Set) -> BTreeMap<String, String> {
    let stamp = std::fs::read_to_string(paths.tools(set.name).join("packages")).unwrap_or_default();
    stamp.lines().filter_map(package_of).collect()
}

/// `crane_0.20.7+ds1-5_amd64.deb`: a colon in the version is written `%3a`.
fn package_of(file: &str) -> Option<(String, String)> {
    let (name, rest) = file.strip_suffix(".deb")?.split_once('_')?;
    let (version, _architecture) = rest.rsplit_once('_')?;
    Some((name.to_owned(), version.replace("%3a", ":")))
}

/// Makes sure that the sets are unpacked. What is there is kept, and needs no network.
pub fn ensure(runner: &Runner, paths: &Paths, apt: &Apt, sets: &[Set], steps: &Steps) -> Result<()> {
    let missing = |set: &&Set| {
        let found = versions(paths, set);
        !set.newer.iter().chain(set.own).all(|name| found.contains_key(*name))
    };
    let missing: Vec<&Set> = sets.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    steps.say("downloading Debian packages");
    let files = download(runner, paths, apt, &missing).map_err(|error| {
        let hint = format!("check that {} can be reached, or use `--engine host`", apt.mirror);
        match exit_code(&error) {
            Code::Failed => error.context(Fault::not_ready("cannot download Debian packages").hint(hint)),
            _ => error,
        }
    })?;
    steps.say("unpacking them");
    missing.into_iter().zip(files).try_for_each(|(set, files)| unpack(runner, paths, set, &files))
}

/// Debian's own Python for another architecture, unpacked into `place` without running anything of it; what else it
/// needs is in the base. `architecture` is Debian's name for it: `arm64`.
pub fn foreign_python(runner: &Runner, paths: &Paths, apt: &Apt, architecture: &str, place: &Utf8Path) -> Result<()> {
    let dir = paths.cache.join(format!("apt-{architecture}"));
    let foreign = |why: &str| {
        let options = ["APT::Architecture", "APT::Architectures::"].map(|name| format!("{name}={architecture}"));
        options.into_iter().fold(apt_get(&dir, why), |cmd, option| cmd.args(["-o".to_owned(), option]))
    };
    prepare(&dir, &apt.sources)?;
    runner.read(&foreign("read the package lists").args(["update", "--error-on=any"]))?;
    // With nothing installed, that is everything down to libc.
    let wanted = ["install", "--no-install-recommends", "--print-uris", "python3", "python3-distutils"];
    let listed = runner.read(&foreign("find Debian's Python").args(wanted))?;
    let files = listed.lines().filter(|line| line.starts_with('\'')).filter_map(|line| line.split(' ').nth(1));
    let names = files.filter_map(|file| file.split_once('_')).map(|(name, _)| name);
    let own = names.filter(|name| ["python3", "libpython3", "media-types"].iter().any(|begin| name.starts_with(begin)));
    // Only the files of today, should an earlier one have been updated.
    remove_tree(runner, &dir.join("archives"))?;
    make_dir(&dir.join("archives"))?;
    runner.read(&foreign("download Debian's Python").arg("download").args(own))?;
    for entry in dir.join("archives").read_dir_utf8()?.flatten() {
        let unpack = Cmd::change("dpkg", format!("unpack {}", entry.file_name()));
        runner.read(&unpack.args(["--extract", entry.path().as_str(), place.as_str()]))?;
    }
    Ok(())
}

/// The folders that apt wants, and the files that it reads.
fn prepare(dir: &Utf8Path, sources: &str) -> Result<()> {
    for sub in ["empty", "state/lists/partial", "cache/archives/partial", "archives"] {
        make_dir(&dir.join(sub))?;
    }
    write(&dir.join("debian.sources"), sources)?;
    // Pinned low: a package comes from there only where it is asked for by name.
    write(&dir.join("preferences"), &format!("Package: *\nPin: release n={NEWER}\nPin-Priority: 50\n"))?;
    write(&dir.join("status"), "")
}

/// Apt with its own lists, cache and sources, the machine's keyring and settings; as root, because `_apt` cannot read ours.
fn apt_get(dir: &Utf8Path, why: &str) -> Cmd {
    let options = [
        format!("Dir::Etc::sourcelist={dir}/debian.sources"),
        format!("Dir::Etc::sourceparts={dir}/empty"),
        format!("Dir::Etc::preferences={dir}/preferences"),
        format!("Dir::Etc::preferencesparts={dir}/empty"),
        format!("Dir::State={dir}/state"),
        format!("Dir::State::status={dir}/status"),
        format!("Dir::Cache={dir}/cache"),
        "APT::Sandbox::User=root".into(),
        "Acquire::Languages=none".into(),
        "Acquire::Retries=3".into(),
    ];
    let cmd = Cmd::change("apt-get", why).arg("--quiet").timeout(LIMIT);
    options.into_iter().fold(cmd, |cmd, option| cmd.args(["-o".to_owned(), option])).dir(dir.join("archives"))
}

/// Downloads what is missing or damaged; apt checks both. Returns the files of each set.
fn download(runner: &Runner, paths: &Paths, apt: &Apt, sets: &[&Set]) -> Result<Vec<Vec<Utf8PathBuf>>> {
    let dir = paths.cache.join("apt");
    let newer = machine::sources(&[(apt.mirror.as_str(), NEWER)]);
    prepare(&dir, &format!("{}\n{newer}", apt.sources))?;
    let update = apt_get(&dir, "read the package lists").args(["update", "--error-on=any"]);
    let updated = runner.output(&update)?;
    sets.iter()
        .map(|set| {
            download_set(runner, &dir, set).or_else(|error| {
                // Old lists are good enough while everything is there; if not, the first failure is the cause.
                runner.check(&update, &updated)?;
                Err(error)
            })
        })
        .collect()
}

fn download_set(runner: &Runner, dir: &Utf8Path, set: &Set) -> Result<Vec<Utf8PathBuf>> {
    let newer = set.newer.iter().map(|name| format!("{name}/{NEWER}"));
    let wanted: Vec<String> = newer.chain(set.own.iter().map(|&name| name.to_owned())).collect();
    // Asked in an empty folder, because apt names only what is not there yet.
    let uris = apt_get(dir, "name the packages").args(["download", "--print-uris"]).args(&wanted).dir(dir.join("empty"));
    let files = uri_files(&runner.read(&uris)?);
    if files.len() != wanted.len() {
        bail!("apt names {} packages of {}", files.len(), wanted.len());
    }
    let archives = dir.join("archives");
    let sums: String = files.iter().map(|(file, sum)| format!("{sum}  {file}\n")).collect();
    // Apt looks at the size of a file that is there, and at no more.
    let check = Cmd::probe("sha256sum", "check earlier downloads").args(["--check", "--quiet", "--ignore-missing", "-"]);
    for file in damaged(&runner.output(&check.stdin(sums).dir(archives.clone()).timeout(LIMIT))?.stdout) {
        remove_file(&archives.join(file))?;
    }
    runner.read(&apt_get(dir, "download Debian packages").arg("download").args(&wanted))?;
    Ok(files.into_iter().map(|(file, _)| archives.join(file)).collect())
}

/// (file, digest) of lines like `'ADDRESS' FILE SIZE SHA256:DIGEST`.
fn uri_files(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| line.starts_with('\''));
    let parts = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    parts.filter_map(|parts| Some(((*parts.get(1)?).to_owned(), parts.get(3)?.strip_prefix("SHA256:")?.to_owned()))).collect()
}

/// The files of lines like `FILE: FAILED`.
fn damaged(check: &str) -> impl Iterator<Item = &str> {
    check.lines().filter_map(|line| line.strip_suffix(": FAILED"))
}

/// Unpacks beside and renames into place, so that a folder of that name is always complete.
fn unpack(runner: &Runner, paths: &Paths, set: &Set, files: &[Utf8PathBuf]) -> Result<()> {
    let new = paths.tmp().join(set.name);
    make_dir(&new)?;
    for file in files {
        runner.read(&Cmd::change("dpkg", format!("unpack {file}")).args(["--extract", file.as_str(), new.as_str()]))?;
    }
    for (link, program) in set.links {
        let link = new.join(link);
        make_dir(link.parent().unwrap_or(&new))?;
        std::os::unix::fs::symlink(format!("../{program}"), &link).with_context(|| format!("cannot link {link}"))?;
    }
    let names: Vec<&str> = files.iter().filter_map(|file| file.file_name()).collect();
    write(&new.join("packages"), &(names.join("\n") + "\n"))?;
    let place = paths.tools(set.name);
    remove_tree(runner, &place)?;
    make_dir(place.parent().unwrap_or(&place))?;
    std::fs::rename(&new, &place).with_context(|| format!("cannot move {new} to {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_come_from_file_names() {
        let want = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(package_of("docker.io_28.5.2+dfsg4-5_amd64.deb"), want("docker.io", "28.5.2+dfsg4-5"));
        assert_eq!(package_of("runc_1%3a1.1-2_amd64.deb"), want("runc", "1:1.1-2"));
        assert_eq!(package_of("notes.txt"), None);
    }

    #[test]
    fn files_are_read_from_what_apt_prints() {
        let text = "Reading lists...\n'http://m.example/c_1_amd64.deb' c_1_amd64.deb 3951 SHA256:00ff\n";
        assert_eq!(uri_files(text), [("c_1_amd64.deb".to_owned(), "00ff".to_owned())]);
        assert_eq!(damaged("c_1_amd64.deb: FAILED\n").collect::<Vec<_>>(), ["c_1_amd64.deb"]);
    }

    #[test]
    fn a_set_without_its_stamp_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let paths = Paths { run: cache.clone(), cache };
        make_dir(&paths.tools("engine").join("usr/bin")).unwrap();
        assert!(versions(&paths, &ENGINE).is_empty());
    }
}
