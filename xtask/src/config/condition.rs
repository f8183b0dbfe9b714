//! Conditions: `runtime=cuda,python<3.9`, the one language of `when`, `exclude`, `include`, `only` and `--only`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::faults::suggest;

/// One entry: comparisons that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub text: String,
    comparisons: Vec<Comparison>,
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub image: &'a str,
    pub id: &'a str,
    /// Axis → value.
    pub point: &'a [(String, String)],
    /// Axis → all its values in order, for `first` and `last`.
    pub axes: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    /// An axis, `image` or `id`.
    key: String,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Longer ones first, because they begin like shorter ones.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::IsNot),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::More),
    ("=", Operator::Is),
];

impl Condition {
    /// Parses `axis=value`, `!= < <= > >=`, `axis=first`, `axis=last`, `image=…`, `id=…`; a comma is "and".
    ///
    /// Errors: unknown axes and values with what exists, order on what is no version. `image` and `id` are looked up
    /// where `axes` has their values, as in [`super::Config::condition`].
    pub fn parse(text: &str, axes: &BTreeMap<String, Vec<String>>) -> Result<Condition, String> {
        let condition = Condition::parse_free(text, axes.keys().map(String::as_str))?;
        for Comparison { key, operator, value } in &condition.comparisons {
            let Some(values) = axes.get(key) else { continue };
            let name = key == "image" || key == "id";
            let named = matches!(operator, Operator::Is | Operator::IsNot) && (name || !is_place(value));
            if name && !values.contains(value) {
                return Err(format!("`{text}`: no {key} `{value}` ({})", suggest(value, values.iter().map(String::as_str))));
            }
            // An axis whose values could not be read was reported already.
            if named && !values.is_empty() && !values.contains(value) {
                let known = suggest(value, values.iter().map(String::as_str));
                let all = if known.starts_with("did") { format!("; {key}: {}", values.join(", ")) } else { String::new() };
                return Err(format!("`{text}`: axis `{key}` has no value `{value}` ({known}{all})"));
            }
        }
        Ok(condition)
    }

    /// Like `parse`, but takes values that no axis lists: `include` adds them.
    pub fn parse_free<'a>(text: &str, axes: impl Iterator<Item = &'a str> + Clone) -> Result<Condition, String> {
        let mut comparisons = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let found = part.find(['=', '!', '<', '>']).and_then(|at| {
                let operator = OPERATORS.iter().find(|(sign, _)| part[at..].starts_with(sign))?;
                Some((part[..at].trim(), operator.1, part[at + operator.0.len()..].trim()))
            });
            let Some((key, operator, value)) = found.filter(|(key, _, value)| !key.is_empty() && !value.is_empty()) else {
                return Err(format!("`{text}` is not a condition (write axis=value, such as {})", example(axes)));
            };
            if key != "image" && key != "id" && !axes.clone().any(|axis| axis == key) {
                let axes = axes.filter(|axis| *axis != "image" && *axis != "id").chain(["image", "id"]);
                return Err(format!("`{text}`: no axis `{key}` ({})", suggest(key, axes)));
            }
            let ordered = !matches!(operator, Operator::Is | Operator::IsNot);
            let version = value.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
            if ordered && !version {
                return Err(format!("`{text}`: `{value}` is not a version to compare with (use = or != here)"));
            }
            comparisons.push(Comparison { key: key.into(), operator, value: value.into() });
        }
        Ok(Condition { text: text.into(), comparisons })
    }

    /// Whether every comparison holds. An axis that the subject doesn't have never does, not even with `!=`.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(subject))
    }

    /// Axes (or `image`, `id`) that it speaks of.
    pub fn keys(&self) -> BTreeSet<&str> {
        self.comparisons.iter().map(|comparison| comparison.key.as_str()).collect()
    }

    /// The point that it names, if it is made of `axis=value` alone, each axis once.
    pub fn point(&self) -> Option<BTreeMap<&str, &str>> {
        let mut point = BTreeMap::new();
        for Comparison { key, operator, value } in &self.comparisons {
            if *operator != Operator::Is || is_place(value) || point.insert(key.as_str(), value.as_str()).is_some() {
                return None;
            }
        }
        Some(point)
    }

    /// What it asks of `key` by `=` or `!=`.
    pub fn named<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.comparisons.iter().filter(move |comparison| comparison.key == key).map(|comparison| comparison.value.as_str())
    }
}

impl Comparison {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let value = match self.key.as_str() {
            "image" => subject.image,
            "id" => subject.id,
            axis => match subject.point.iter().find(|(name, _)| name == axis) {
                Some((_, value)) => value,
                None => return false,
            },
        };
        let all = || subject.axes.get(&self.key).map(Vec::as_slice).unwrap_or_default();
        let wanted = match self.value.as_str() {
            "first" => all().first().map_or("", String::as_str),
            "last" => all().last().map_or("", String::as_str),
            other => other,
        };
        match self.operator {
            Operator::Is => value == wanted,
            Operator::IsNot => value != wanted,
            Operator::Less => version_order(value, wanted).is_lt(),
            Operator::AtMost => version_order(value, wanted).is_le(),
            Operator::More => version_order(value, wanted).is_gt(),
            Operator::AtLeast => version_order(value, wanted).is_ge(),
        }
    }
}

/// Whether a list of entries takes the subject; an empty list takes everything.
///
/// Entries that speak of the same axes are alternatives, entries that speak of different ones must all hold:
/// `runtime=cpu` + `python=first` + `python=last` is cpu with the first or the last python. An entry with a comma
/// stands beside those with the same set of axes, so `runtime=cuda,python=3.9` + `runtime=cpu,python=3.10` is two points.
pub fn selects(entries: &[Condition], subject: &Subject<'_>) -> bool {
    let mut groups: BTreeMap<BTreeSet<&str>, bool> = BTreeMap::new();
    for entry in entries {
        *groups.entry(entry.keys()).or_default() |= entry.holds(subject);
    }
    groups.values().all(|&taken| taken)
}

/// The order of versions: runs of digits by number (`3.9` before `3.10`), all else by text; a `v` in front doesn't count.
pub fn version_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.trim_start_matches('v'), b.trim_start_matches('v'));
    while !a.is_empty() && !b.is_empty() {
        let ((x, rest_a), (y, rest_b)) = (run(a), run(b));
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(x) && digits(y) {
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// Cuts the text after its first run of digits, or of anything else.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

fn is_place(value: &str) -> bool {
    value == "first" || value == "last"
}

fn example<'a>(mut axes: impl Iterator<Item = &'a str>) -> String {
    axes.find(|axis| *axis != "image" && *axis != "id").map_or("image=NAME".into(), |axis| format!("{axis}=first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> BTreeMap<String, Vec<String>> {
        let list = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        BTreeMap::from([("python".into(), list("3.7 3.9 3.10 3.13")), ("runtime".into(), list("cpu cuda"))])
    }

    fn asks(point: &str, ask: impl Fn(&Subject<'_>) -> bool) -> bool {
        let pair = |part: &str| part.split_once('=').map(|(axis, value)| (axis.to_owned(), value.to_owned()));
        let point: Vec<_> = point.split(',').filter_map(pair).collect();
        ask(&Subject { image: "python", id: "python-x", point: &point, axes: &axes() })
    }

    #[test]
    fn one_entry() {
        for (text, point, expected) in [
            ("runtime=cuda", "runtime=cuda,python=3.9", true),
            ("runtime=cuda,python<3.9", "runtime=cuda,python=3.9", false),
            ("runtime=cuda, python < 3.9", "runtime=cuda,python=3.7", true),
            ("python<3.10", "python=3.9", true),
            ("python<3.9", "python=3.10", false),
            ("python<=3.10", "python=3.10", true),
            ("python>3.9", "python=3.10", true),
            ("python>=3.13", "python=3.10", false),
            ("python!=3.9", "python=3.10", true),
            ("python=first", "python=3.7", true),
            ("python=last", "python=3.13", true),
            ("python!=last", "python=3.13", false),
            ("runtime!=cpu", "python=3.9", false),
            ("image=python", "python=3.9", true),
            ("id!=python-x", "python=3.9", false),
        ] {
            let condition = Condition::parse(text, &axes()).unwrap();
            assert_eq!(asks(point, |subject| condition.holds(subject)), expected, "{text} at {point}");
        }
    }

    #[test]
    fn several_entries() {
        for (texts, point, expected) in [
            (&["runtime=cpu", "python=first", "python=last"][..], "runtime=cpu,python=3.13", true),
            (&["runtime=cpu", "python=first", "python=last"], "runtime=cpu,python=3.9", false),
            (&["runtime=cpu", "python=first"], "runtime=cuda,python=3.7", false),
            (&["runtime=cpu,python=3.7", "runtime=cuda,python=3.9"], "runtime=cuda,python=3.9", true),
            (&["runtime=cpu,python=3.7", "runtime=cuda,python=3.9"], "runtime=cpu,python=3.9", false),
            (&[], "runtime=cpu,python=3.9", true),
        ] {
            let entries: Vec<_> = texts.iter().map(|text| Condition::parse(text, &axes()).unwrap()).collect();
            assert_eq!(asks(point, |subject| selects(&entries, subject)), expected, "{texts:?} at {point}");
        }
    }

    #[test]
    fn faults_name_what_exists() {
        for (text, expected) in [
            ("pyhton=3.9", "`pyhton=3.9`: no axis `pyhton` (did you mean `python`?)"),
            ("zzz=1", "`zzz=1`: no axis `zzz` (known: python, runtime, image, id)"),
            ("runtime=cuba", "`runtime=cuba`: axis `runtime` has no value `cuba` (did you mean `cuda`?; runtime: cpu, cuda)"),
            ("runtime=x", "`runtime=x`: axis `runtime` has no value `x` (known: cpu, cuda)"),
            ("runtime<cuda", "`runtime<cuda`: `cuda` is not a version to compare with (use = or != here)"),
            ("python", "`python` is not a condition (write axis=value, such as python=first)"),
            ("python=3.9,", "`python=3.9,` is not a condition (write axis=value, such as python=first)"),
            ("", "`` is not a condition (write axis=value, such as python=first)"),
        ] {
            assert_eq!(Condition::parse(text, &axes()).unwrap_err(), expected);
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let sorted = ["1", "1.2", "v1.2.3", "1.10", "3.9", "3.13", "3.13t", "12.4.1", "123456789012345678901234567890"];
        for (earlier, later) in sorted.iter().zip(&sorted[1..]) {
            assert!(version_order(earlier, later).is_lt() && version_order(later, earlier).is_gt(), "{earlier} {later}");
        }
    }
}
