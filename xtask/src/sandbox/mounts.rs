//! Mounts below our folders: found in mountinfo, taken off deepest first, and never deleted through.

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;

/// Takes off every mount below `dir`.
pub fn unmount_below(runner: &Runner, dir: &Utf8Path) -> Result<()> {
    for path in below(dir) {
        let umount =
            |args: &[&str]| Cmd::cleanup("umount", "take off a mount of the sandbox").args(args.iter().copied()).arg(&path);
        if !runner.output(&umount(&[]))?.ok() {
            // Busy: detached now, gone with its last user, and every process of ours has ended.
            runner.output(&umount(&["--lazy"]))?;
        }
    }
    Ok(())
}

/// Removes a folder with all it holds, unless something is still mounted in it.
pub fn remove_tree(runner: &Runner, dir: &Utf8Path) -> Result<()> {
    unmount_below(runner, dir)?;
    if let Some(mount) = below(dir).first() {
        let hint = format!("run `umount {mount}`, then try again");
        return Err(Fault::failed(format!("cannot remove {dir}: {mount} is still mounted")).hint(hint).into());
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {dir}")),
        _ => Ok(()),
    }
}

fn below(dir: &Utf8Path) -> Vec<String> {
    let real = dir.canonicalize_utf8().unwrap_or_else(|_| dir.to_owned());
    parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), &real)
}

/// Mount points at or below `dir`, the latest first. Field 5 of a line is the path, with `\040` for a blank.
/// <https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>
fn parse(mountinfo: &str, dir: &Utf8Path) -> Vec<String> {
    let paths = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let plain = paths.map(|path| path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
    let mut found: Vec<String> = plain.filter(|path| Utf8Path::new(path).starts_with(dir)).collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_below_and_nothing_beside() {
        let info = "22 1 0:5 / / rw - ext4 /dev/vda rw\n\
                    23 22 0:6 / /run/slipway-0/exec/netns/a rw - nsfs nsfs rw\n\
                    24 22 0:7 / /run/slipway-01/x rw - tmpfs tmpfs rw\n\
                    25 22 0:8 / /run/slipway-0/exec/a\\040b rw - tmpfs tmpfs rw\n";
        let found = parse(info, Utf8Path::new("/run/slipway-0"));
        assert_eq!(found, ["/run/slipway-0/exec/a b", "/run/slipway-0/exec/netns/a"]);
    }
}
