//! The points of an image: the product of its axes without `exclude`, and `include`.

use std::collections::BTreeMap;

use super::condition::{Condition, Subject};
use super::expand::Context;
use super::faults::Faults;
use super::names;
use super::placeholder::{Piece, pieces};
use super::types::Image;

/// Builds of a configuration.
pub const MOST_BUILDS: usize = 1 << 14;
/// Combinations of the axes of an image, before `exclude`.
const MOST_POINTS: usize = 1 << 16;

/// Axis → value, in the order of the variant.
pub type Point = Vec<(String, String)>;

/// The axes in a `variant`, in their order, each once.
pub fn variant_axes(variant: &str, axes: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in pieces(variant) {
        if let Piece::Name(name) = piece
            && axes.contains_key(name)
            && !found.iter().any(|axis| axis == name)
        {
            found.push(name.to_owned());
        }
    }
    found
}

/// Whether each build has a repository of its own; if not, default tags and cache refs carry the variant.
pub fn is_apart(repository: Option<&str>, axes: &[String]) -> bool {
    let found = pieces(repository.unwrap_or("{id}"));
    let has = |name: &str| found.contains(&Piece::Name(name));
    has("id") || has("variant") || axes.iter().all(|axis| has(axis))
}

/// The matrix without `exclude`, and `include`.
pub fn points(
    cx: &Context<'_>,
    image: &str,
    axes: &[String],
    written: &Image,
    line: &dyn Fn(&str) -> usize,
    faults: &mut Faults,
) -> Vec<Point> {
    let size = axes.iter().fold(1_usize, |size, axis| size.saturating_mul(cx.axes[axis].len()));
    if size > MOST_POINTS {
        let many = if size == usize::MAX { "far too many".to_owned() } else { size.to_string() };
        let fix = "take fewer values, or make several images of it";
        faults.at(line("variant"), format!("image `{image}` has {many} combinations of its axes, {MOST_POINTS} may be ({fix})"));
        return Vec::new();
    }
    let mut points: Vec<Point> = vec![Vec::new()];
    for axis in axes {
        let values = &cx.axes[axis];
        let with = |point: Point| values.iter().map(move |value| [&point[..], &[(axis.clone(), value.clone())]].concat());
        points = points.into_iter().flat_map(with).collect();
    }
    for text in &written.exclude {
        match Condition::parse(text, cx.all_values) {
            Err(said) => faults.at(line("exclude"), said),
            Ok(condition) => {
                let before = points.len();
                points.retain(|point| !condition.holds(&Subject { image, id: "", point, axes: cx.axes }));
                let own = cx.document.exact_line(&["image", image, "exclude"]).is_some();
                // In [defaults] it may be meant for other images.
                let meant = own || condition.keys().iter().all(|key| axes.iter().any(|axis| axis == key));
                if points.len() == before && meant {
                    faults.at(line("exclude"), format!("exclude `{text}` matches no build of image `{image}` (remove it)"));
                }
            }
        }
    }
    for text in &written.include {
        match include(cx, image, axes, text) {
            Err(said) => faults.at(line("include"), said),
            Ok(point) if points.contains(&point) => {
                faults.at(line("include"), format!("include `{text}` is in the matrix already (remove it)"))
            }
            Ok(point) => points.push(point),
        }
    }
    if points.len() > MOST_BUILDS {
        let said = format!("image `{image}` has {} builds, a file may have {MOST_BUILDS} (exclude some)", points.len());
        faults.at(line("variant"), said);
        points.clear();
    }
    points
}

fn include(cx: &Context<'_>, image: &str, axes: &[String], text: &str) -> Result<Point, String> {
    let condition = Condition::parse_free(text, cx.axes.keys().map(String::as_str))?;
    let every = || match axes {
        [] => format!("image `{image}` has no axes"),
        axes => format!("write {}", axes.iter().map(|axis| format!("{axis}=…")).collect::<Vec<_>>().join(",")),
    };
    let named =
        condition.point().filter(|point| point.len() == axes.len() && axes.iter().all(|axis| point.contains_key(axis.as_str())));
    let named = named.ok_or_else(|| format!("include `{text}` does not name one value of every axis ({})", every()))?;
    if let Some(value) = named.values().find(|value| !names::is_axis_value(value)) {
        return Err(format!("include `{text}`: `{value}` can't be in a tag (letters, digits, `_`, `.` and `-`)"));
    }
    Ok(axes.iter().map(|axis| (axis.clone(), named[axis.as_str()].to_owned())).collect())
}
