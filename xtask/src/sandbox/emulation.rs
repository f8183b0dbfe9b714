//! Programs of linux/arm64 on an amd64 machine: QEMU, registered with the kernel while the sandbox is up.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use super::machine::Apt;
use super::packages::{self, EMULATION};
use super::paths::{Paths, remove_file, write};
use super::steps::Steps;
use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;
use crate::facts;

/// The platform that the sandbox can have beside [`OWN`].
pub const FOREIGN: &str = "linux/arm64";
const OWN: &str = "linux/amd64";
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
const NAME: &str = "slipway-aarch64";
/// An ELF header of 64 bits, little-endian, for AArch64 (machine 183), and which of its bytes count.
/// <https://docs.kernel.org/admin-guide/binfmt-misc.html>, <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
const MASK: &str = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// Of these platforms, whether one is foreign.
///
/// # Errors
/// Exit code 3: there are no stand-ins for one of them.
pub fn is_needed(platforms: &BTreeSet<&str>) -> Result<bool> {
    let own = facts::host_platform();
    let is_known = |platform: &str| platform == own || (platform == FOREIGN && own == OWN);
    if let Some(other) = platforms.iter().find(|platform| !is_known(platform)) {
        let fault = Fault::not_ready(format!("the sandbox on {own} has no base images for {other}"));
        return Err(fault.hint("use a Docker of this machine with `--engine host`, or leave the platform out").into());
    }
    Ok(platforms.contains(FOREIGN) && own != FOREIGN)
}

/// Makes the kernel run programs of [`FOREIGN`], if it does not.
pub fn ensure(runner: &Runner, paths: &Paths, apt: &Apt, steps: &Steps) -> Result<()> {
    packages::ensure(runner, paths, apt, &[EMULATION], steps)?;
    if facts::emulates(FOREIGN) {
        return Ok(());
    }
    steps.say(&format!("registering an emulator of {FOREIGN}"));
    let register = Utf8Path::new(BINFMT).join("register");
    if !register.exists() {
        let mount = ["-t", "binfmt_misc", "binfmt_misc", BINFMT];
        runner.read(&Cmd::change("mount", "let the kernel know interpreters").args(mount))?;
        write(&mounted(paths), "")?;
    }
    let interpreter = paths.tools(EMULATION.name).join("usr/bin/qemu-aarch64-static");
    // F: opened now, so that it also works where that path is another file system's, as in a container.
    let line = format!(":{NAME}:M::{MAGIC}:{MASK}:{interpreter}:F");
    std::fs::write(&register, line).with_context(|| format!("cannot register {interpreter} at {register}"))
}

/// Takes back what [`ensure`] told the kernel.
pub fn remove(runner: &Runner, paths: &Paths) -> Result<()> {
    let entry = Utf8Path::new(BINFMT).join(NAME);
    if entry.exists() {
        std::fs::write(&entry, "-1").with_context(|| format!("cannot remove {entry}"))?;
    }
    if mounted(paths).exists() {
        runner.output(&Cmd::cleanup("umount", "forget the kernel's interpreters").arg(BINFMT))?;
        remove_file(&mounted(paths))?;
    }
    Ok(())
}

/// Exists while we mounted it.
fn mounted(paths: &Paths) -> camino::Utf8PathBuf {
    paths.run.join("binfmt-mounted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_without_stand_ins_is_refused() {
        let own = facts::host_platform();
        assert!(!is_needed(&[own.as_str()].into()).unwrap());
        assert_eq!(is_needed(&[own.as_str(), FOREIGN].into()).ok(), (own == OWN).then_some(true).or(Some(false)));
        let error = is_needed(&["linux/s390x"].into()).unwrap_err();
        assert_eq!(error.to_string(), format!("the sandbox on {own} has no base images for linux/s390x"));
    }
}
