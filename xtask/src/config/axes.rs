//! The values of the axes: written in the file, the lines of another, or folders.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::faults::Faults;
use super::paths;
use super::tree::Document;
use super::types::Axis;

/// Axis → values in their order. Faults of one axis do not hide those of another.
pub fn load(
    repo: &Utf8Path,
    document: &Document,
    axes: &BTreeMap<String, Axis>,
    faults: &mut Faults,
) -> BTreeMap<String, Vec<String>> {
    let mut loaded = BTreeMap::new();
    for (name, axis) in axes {
        let line = document.line(&["axes", name]);
        let bad = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        if name.contains(bad) || super::placeholder::EVENT.contains(&name.as_str()) || RESERVED.contains(&name.as_str()) {
            faults.at(line, format!("an axis cannot be called {name} (a-z, 0-9, - and _, and no name of a placeholder)"));
        }
        let values: Vec<(Place, String)> = match axis {
            Axis::List(values) => {
                let at = |at: usize| document.line(&["axes", name, &at.to_string()]);
                values.iter().enumerate().map(|(index, value)| (Place::Here(at(index)), value.clone())).collect()
            }
            Axis::File(axis) => match read_lines(repo, &axis.file) {
                Ok(values) => values.into_iter().map(|(line, value)| (Place::File(axis.file.clone(), line), value)).collect(),
                Err(error) => {
                    faults.at(line, format!("axes.{name}: {error}"));
                    continue;
                }
            },
            Axis::Dirs(axis) => match folders(repo, &axis.dirs) {
                Ok(values) => values.into_iter().map(|value| (Place::Here(line), value)).collect(),
                Err(error) => {
                    faults.at(line, format!("axes.{name}: {error}"));
                    continue;
                }
            },
        };
        if values.is_empty() {
            faults.at(line, format!("axes.{name} has no values (give it one, or take the axis out)"));
        }
        let mut seen = BTreeSet::new();
        for (place, value) in &values {
            if !seen.insert(value) {
                place.fault(faults, format!("axes.{name}: {value} is there twice (take one out)"));
            }
            if let Err(error) = allowed(value) {
                place.fault(faults, format!("axes.{name}: \"{}\" {error}", value.escape_debug()));
            }
        }
        loaded.insert(name.clone(), values.into_iter().map(|(_, value)| value).collect());
    }
    loaded
}

/// Placeholders that are not axes.
const RESERVED: [&str; 5] = ["image", "variant", "id", "namespace", "repository"];

enum Place {
    Here(usize),
    File(String, usize),
}

impl Place {
    fn fault(&self, faults: &mut Faults, text: String) {
        match self {
            Place::Here(line) => faults.at(*line, text),
            Place::File(file, line) => faults.elsewhere(file, *line, text),
        }
    }
}

/// Values become parts of tags, ids and file names.
fn allowed(value: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match value {
        "first" | "last" => Err("means the first or last value in conditions (call it otherwise)"),
        "" => Err("is empty"),
        value if !value.chars().all(good) => Err("has a character that cannot be in a tag (letters, digits, . _ - only)"),
        value if value.starts_with(['.', '-']) => Err("starts with . or - (start it with a letter or digit)"),
        _ => Ok(()),
    }
}

/// (line, value) of each line that is not empty and no comment.
fn read_lines(repo: &Utf8Path, file: &str) -> Result<Vec<(usize, String)>, String> {
    let text = paths::read(repo, file)?;
    let value = |line: &str| line.split_once('#').map_or(line, |(value, _)| value).trim().to_owned();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, value(line)));
    Ok(lines.filter(|(_, value)| !value.is_empty()).collect())
}

/// The names that `*` stands for in `services/*`, sorted; hidden folders are left out.
fn folders(repo: &Utf8Path, pattern: &str) -> Result<Vec<String>, String> {
    let (parent, rest) =
        pattern.split_once('*').ok_or_else(|| format!("\"{pattern}\" has no * (write it like \"services/*\")"))?;
    if rest.contains('*') || !(parent.is_empty() || parent.ends_with('/')) || !(rest.is_empty() || rest.starts_with('/')) {
        return Err(format!("\"{pattern}\" may have one *, for a whole folder name (write it like \"services/*\")"));
    }
    let folder = paths::inside(repo, if parent.is_empty() { "." } else { parent })?;
    let entries = repo.join(&folder).read_dir_utf8().map_err(|error| format!("cannot read {folder}: {error}"))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().starts_with('.') && Utf8PathBuf::from(format!("{}{rest}", entry.path())).is_dir())
        .map(|entry| entry.file_name().to_owned())
        .collect();
    names.sort();
    Ok(names)
}
