//! This machine: its platform, and whose programs it runs.

use camino::Utf8Path;

/// `linux/amd64`: containers run on Linux, whatever this machine runs.
pub fn host_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{arch}")
}

/// Whether programs of a platform run here without an emulator: processors of x86-64 run those of their 32-bit ancestor.
pub fn is_native(platform: &str) -> bool {
    is_native_on(&host_platform(), platform)
}

pub(super) fn is_native_on(host: &str, platform: &str) -> bool {
    platform == host || (host, platform) == ("linux/amd64", "linux/386")
}

/// Whether programs of a platform run here, in whatever way.
pub fn runs(platform: &str) -> bool {
    is_native(platform) || emulates(platform)
}

/// Whether the kernel runs programs of a foreign platform (binfmt_misc); false where that cannot be told.
pub fn emulates(platform: &str) -> bool {
    let arch = match platform.split('/').nth(1).unwrap_or_default() {
        "arm64" => "aarch64",
        "amd64" => "x86_64",
        "386" => "i386",
        other => other,
    };
    // Docker Desktop and OrbStack emulate without a word; elsewhere the kernel lists its interpreters.
    let registered = |who: &str| Utf8Path::new("/proc/sys/fs/binfmt_misc").join(format!("{who}-{arch}")).exists();
    // The second name is the sandbox's.
    cfg!(target_os = "macos") || registered("qemu") || registered("slipway")
}
