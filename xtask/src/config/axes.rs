//! The values of the axes: lists, lines of files, folders.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::faults::Faults;
use super::names;
use super::paths::Root;
use super::placeholder;
use super::tree::Document;
use super::types::Axis;

/// Where a value of an axis stands: file (`None`: images.toml itself) and line.
type Place = (Option<String>, usize);

/// Every axis with its values in order. An axis that is wrong is there too, empty.
///
/// `dockerfiles` gives the Dockerfile paths, placeholders still in, of the images that use an axis.
pub fn resolve(
    document: &Document,
    written: &BTreeMap<String, Axis>,
    root: &Root,
    dockerfiles: &dyn Fn(&str) -> Vec<String>,
    faults: &mut Faults,
) -> BTreeMap<String, Vec<String>> {
    let mut axes: BTreeMap<String, Vec<String>> = document.bad_below("axes").map(|name| (name.to_owned(), Vec::new())).collect();
    for (name, axis) in written {
        let line = document.line(&["axes", name]);
        if let Err(said) = check_name(name) {
            faults.at(line, said);
        }
        let values = match axis {
            Axis::List(values) => {
                let place = |index: usize| (None, document.line(&["axes", name, &index.to_string()]));
                Ok(values.iter().enumerate().map(|(index, value)| (value.clone(), place(index))).collect())
            }
            Axis::File(source) => lines(root, &source.file),
            Axis::Dirs(source) => folders(root, &source.dirs, line, &dockerfiles(name)),
        };
        let values = match values {
            Ok(values) if values.is_empty() => {
                faults.at(line, format!("axis `{name}` has no values ({})", how_to_add(axis)));
                Vec::new()
            }
            Ok(values) => check_values(name, values, faults),
            Err(said) => {
                faults.at(line, format!("axis `{name}`: {said}"));
                Vec::new()
            }
        };
        axes.insert(name.clone(), values);
    }
    axes
}

/// The files that values of axes stand in, by axis.
pub fn files(written: &BTreeMap<String, Axis>, root: &Root) -> BTreeMap<String, Utf8PathBuf> {
    let file = |axis: &Axis| if let Axis::File(source) = axis { root.inside(&source.file).ok() } else { None };
    written.iter().filter_map(|(name, axis)| Some((name.clone(), file(axis)?))).collect()
}

fn how_to_add(axis: &Axis) -> String {
    match axis {
        Axis::List(_) => "write at least one".into(),
        Axis::File(source) => format!("write one a line into {}", source.file),
        Axis::Dirs(source) => format!("no folder of {} holds a Dockerfile", source.dirs),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = name.replace('-', "_");
    if !names::is_identifier(&plain) {
        return Err(format!("axis `{name}` can't be a placeholder (use letters, digits, `_` and `-`)"));
    }
    if placeholder::STATIC.contains(&name) || placeholder::EVENT.contains(&name) || name == "context" {
        return Err(format!("axis `{name}` has the name of a placeholder (call it something else)"));
    }
    Ok(())
}

fn check_values(name: &str, values: Vec<(String, Place)>, faults: &mut Faults) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::with_capacity(values.len());
    for (value, (file, line)) in values {
        let said = if let Some(first) = seen.get(&value) {
            format!("`{value}` is twice in axis `{name}` (first on line {first})")
        } else if value == "first" || value == "last" {
            format!("`{value}` can't be a value of axis `{name}` (conditions use it for the first and last value)")
        } else if !names::is_axis_value(&value) {
            format!("`{value}` can't be a value of axis `{name}` (it goes into tags: letters, digits, `_`, `.` and `-`)")
        } else {
            seen.insert(value.clone(), line);
            kept.push(value);
            continue;
        };
        match file {
            Some(file) => faults.elsewhere(&file, line, said),
            None => faults.at(line, said),
        }
    }
    kept
}

/// A line is a value; `#` begins a comment.
fn lines(root: &Root, file: &str) -> Result<Vec<(String, Place)>, String> {
    let path = root.inside(file)?;
    let text = read(root, &path)?;
    let value = |(index, line): (usize, &str)| {
        let value = line.split('#').next().unwrap_or_default().trim();
        (!value.is_empty()).then(|| (value.to_owned(), (Some(path.to_string()), index + 1)))
    };
    Ok(text.lines().enumerate().filter_map(value).collect())
}

/// The text of a file of the repository. Errors: it is not there, is no file, or not UTF-8.
pub fn read(root: &Root, path: &Utf8Path) -> Result<String, String> {
    let own = std::fs::read(root.join(path));
    let bytes = match (own, root.today()) {
        (Err(error), Some(today)) if error.kind() == std::io::ErrorKind::NotFound => std::fs::read(today.join(path)),
        (own, _) => own,
    };
    let bytes = bytes.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("file `{path}` does not exist"),
        _ => format!("file `{path}` can't be read: {error}"),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| format!("file `{path}` is not UTF-8 (save it as UTF-8)"))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// Folders at the `*` that hold the Dockerfile of an image with this axis; where it lies elsewhere, all of them.
fn folders(root: &Root, pattern: &str, line: usize, dockerfiles: &[String]) -> Result<Vec<(String, Place)>, String> {
    let (before, after) = match pattern.trim_end_matches('/').split_once('*') {
        Some((before, after))
            if !after.contains('*') && after.is_empty() | after.starts_with('/') && before.is_empty() | before.ends_with('/') =>
        {
            (before.trim_end_matches('/'), after)
        }
        _ => return Err(format!("`{pattern}` is not a pattern of folders (write one whole level as *, such as services/*)")),
    };
    let parent = root.inside(if before.is_empty() { "." } else { before })?;
    let entries = root.join(&parent).read_dir_utf8().map_err(|_| format!("folder `{parent}` does not exist"))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let folder = parent.join(format!("{name}{after}"));
        if name.starts_with('.') || !root.join(&folder).is_dir() {
            continue;
        }
        let folder = root.inside(folder.as_str())?;
        if holds(root, &folder, name, dockerfiles) {
            found.push((name.to_owned(), (None, line)));
        }
    }
    found.sort();
    Ok(found)
}

fn holds(root: &Root, folder: &Utf8Path, value: &str, dockerfiles: &[String]) -> bool {
    let default = [folder.join("Dockerfile").into_string()];
    let candidates = if dockerfiles.is_empty() { &default[..] } else { dockerfiles };
    candidates.iter().any(|text| {
        // Whatever stands in braces and is not known before the builds are: taken as this axis.
        let path = placeholder::fill(text, |_| Some(value)).unwrap_or_default();
        match root.inside(&path) {
            Ok(path) => !path.starts_with(folder) || root.join(path).is_file(),
            Err(_) => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;
    use std::fs;

    /// Axes of a TOML text in a folder with some files, or the faults.
    fn load(text: &str, dockerfiles: &[&str]) -> Result<BTreeMap<String, Vec<String>>, String> {
        let repo = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(repo.path()).unwrap();
        for (file, text) in [
            ("PYTHON_VERSIONS", "# newest last\n3.7\n\n 3.10  # slow\r\n"),
            ("TWICE", "3.7\n3.8\n3.7\n"),
            ("EMPTY", "# none\n"),
            ("services/web/Dockerfile", ""),
            ("services/api/Dockerfile", ""),
            ("services/api/Dockerfile.dev", ""),
            ("services/docs/readme.md", ""),
            ("services/.old/Dockerfile", ""),
            ("services/file", ""),
        ] {
            let path = repo.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(repo.join("LATIN1"), b"3.7\xe9\n").unwrap();
        let mut faults = Faults::new("f");
        let (document, _) = tree::parse(text, &mut faults);
        let written = serde_json::from_value(document.value["axes"].clone()).unwrap();
        let dockerfiles = |_: &str| dockerfiles.iter().map(|text| (*text).to_owned()).collect();
        let axes = resolve(&document, &written, &Root::new(repo), &dockerfiles, &mut faults);
        match faults.is_empty() {
            true => Ok(axes),
            false => Err(faults.into_error().to_string().lines().skip(1).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn values_come_from_lists_files_and_folders() {
        for (text, dockerfiles, expected) in [
            ("a = ['x', 'y']", &[][..], "x y"),
            ("a = { file = 'PYTHON_VERSIONS' }", &[], "3.7 3.10"),
            ("a = { dirs = 'services/*' }", &[], "api web"),
            ("a = { dirs = 'services/*' }", &["services/{a}/Dockerfile"], "api web"),
            ("a = { dirs = 'services/*/' }", &["services/{a}/Dockerfile.dev"], "api"),
            ("a = { dirs = 'services/*' }", &["docker/Dockerfile.{a}"], "api docs web"),
        ] {
            assert_eq!(load(&format!("[axes]\n{text}"), dockerfiles).unwrap()["a"].join(" "), expected, "{text}");
        }
    }

    #[test]
    fn faults() {
        for (text, expected) in [
            ("a = []", "f:2: axis `a` has no values (write at least one)"),
            ("a = ['x',\n'x']", "f:3: `x` is twice in axis `a` (first on line 2)"),
            ("a = ['x/y']", "f:2: `x/y` can't be a value of axis `a` (it goes into tags: letters, digits, `_`, `.` and `-`)"),
            ("a = ['x y']", "f:2: `x y` can't be a value of axis `a` (it goes into tags: letters, digits, `_`, `.` and `-`)"),
            ("a = ['']", "f:2: `` can't be a value of axis `a` (it goes into tags: letters, digits, `_`, `.` and `-`)"),
            ("a = ['last']", "f:2: `last` can't be a value of axis `a` (conditions use it for the first and last value)"),
            ("id = ['x']", "f:2: axis `id` has the name of a placeholder (call it something else)"),
            ("'a b' = ['x']", "f:2: axis `a b` can't be a placeholder (use letters, digits, `_` and `-`)"),
            ("a = { file = 'TWICE' }", "TWICE:3: `3.7` is twice in axis `a` (first on line 1)"),
            ("a = { file = 'EMPTY' }", "f:2: axis `a` has no values (write one a line into EMPTY)"),
            ("a = { file = 'NONE' }", "f:2: axis `a`: file `NONE` does not exist"),
            ("a = { file = 'LATIN1' }", "f:2: axis `a`: file `LATIN1` is not UTF-8 (save it as UTF-8)"),
            ("a = { file = '../x' }", "f:2: axis `a`: `../x` is outside the repository (write a path relative to it)"),
            ("a = { dirs = 'none/*' }", "f:2: axis `a`: folder `none` does not exist"),
            (
                "a = { dirs = 'services' }",
                "f:2: axis `a`: `services` is not a pattern of folders (write one whole level as *, such as services/*)",
            ),
        ] {
            assert_eq!(load(&format!("[axes]\n{text}"), &[]).unwrap_err(), expected, "{text}");
        }
    }
}
