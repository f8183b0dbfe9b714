//! Paths of the configuration: relative to the repository, and never out of it, links included.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

/// The path without `.` and `..`, if it stays inside the repository.
///
/// # Errors
/// An absolute path, one that climbs out, or a link that leads out.
pub fn inside(repo: &Utf8Path, path: &str) -> Result<Utf8PathBuf, String> {
    let mut clean = Utf8PathBuf::new();
    for part in Utf8Path::new(path).components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::Normal(name) => clean.push(name),
            Utf8Component::ParentDir if clean.pop() => {}
            _ => return Err(format!("\"{path}\" leaves the repository (paths are relative to its top)")),
        }
    }
    // The deepest part that exists decides where a link leads.
    let there = |path: &&Utf8Path| repo.join(path).symlink_metadata().is_ok();
    if let Some(found) = clean.ancestors().find(there) {
        let real = repo.join(found).canonicalize_utf8();
        let top = repo.canonicalize_utf8();
        if let (Ok(real), Ok(top)) = (real, top)
            && !real.starts_with(&top)
        {
            return Err(format!("\"{path}\" is a link out of the repository"));
        }
    }
    Ok(if clean.as_str().is_empty() { ".".into() } else { clean })
}

/// The text of a file of the repository.
///
/// # Errors
/// Outside the repository, absent, a folder, not UTF-8.
pub fn read(repo: &Utf8Path, path: &str) -> Result<String, String> {
    let inside = inside(repo, path)?;
    let bytes = std::fs::read(repo.join(&inside)).map_err(|error| format!("cannot read {inside}: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{inside} is not UTF-8 in line {line} (save it as UTF-8)")
    })
}
