//! Conditions: `runtime=cuda,python<3.9`, the one language of `when`, `exclude`, `include`, `only` and `--only`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::faults::suggest;

/// One entry: comparisons that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub text: String,
    pub(super) comparisons: Vec<Comparison>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// An axis, `image` or `id`.
    pub name: String,
    operator: Operator,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Less,
    LessOrSame,
    More,
    MoreOrSame,
    First,
    Last,
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

impl Condition {
    /// # Errors
    /// Says what is wrong and lists what there is.
    pub fn parse(text: &str, axes: &BTreeMap<String, Vec<String>>) -> Result<Condition, String> {
        let comparisons = text.split(',').map(|part| comparison(part.trim(), axes)).collect::<Result<_, _>>();
        comparisons
            .map(|comparisons| Condition { text: text.to_owned(), comparisons })
            .map_err(|error| format!("\"{text}\": {error}"))
    }

    /// Like `parse`, for `include`: values that the axes do not have are fine.
    pub(super) fn parse_free(text: &str, axes: &BTreeMap<String, Vec<String>>) -> Result<Condition, String> {
        let without_values = axes.keys().map(|axis| (axis.clone(), Vec::new())).collect();
        Condition::parse(text, &without_values)
    }

    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(subject))
    }

    /// Entries about one and the same name are alternatives.
    fn about(&self) -> Vec<&str> {
        self.comparisons.iter().map(|comparison| comparison.name.as_str()).collect()
    }

    /// `axis=value` pairs, if the condition is nothing else.
    pub(super) fn point(&self) -> Option<Vec<(&str, &str)>> {
        self.comparisons.iter().map(|c| (c.operator == Operator::Is).then_some((c.name.as_str(), c.value.as_str()))).collect()
    }
}

/// Several entries about one axis: or; about two: and. An entry with a comma is about its combination of axes.
pub fn selects(conditions: &[Condition], subject: &Subject<'_>) -> bool {
    let mut groups: BTreeMap<Vec<&str>, bool> = BTreeMap::new();
    for condition in conditions {
        *groups.entry(condition.about()).or_default() |= condition.holds(subject);
    }
    groups.values().all(|&holds| holds)
}

fn comparison(text: &str, axes: &BTreeMap<String, Vec<String>>) -> Result<Comparison, String> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("!=", Operator::IsNot),
        ("<=", Operator::LessOrSame),
        (">=", Operator::MoreOrSame),
        ("<", Operator::Less),
        (">", Operator::More),
        ("=", Operator::Is),
    ];
    let at = text.find(['!', '<', '>', '=']).ok_or("a condition is like python=3.11 or python<3.9")?;
    let (name, rest) = text.split_at(at);
    let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or("after ! comes =")?;
    let (name, value) = (name.trim(), rest[sign.len()..].trim());
    let known = || axes.keys().map(String::as_str).chain(["image", "id"]);
    if !known().any(|axis| axis == name) {
        return Err(format!("there is no axis {name} ({})", suggest(name, known())));
    }
    let operator = match (operator, value) {
        (Operator::Is, "first") => Operator::First,
        (Operator::Is, "last") => Operator::Last,
        (operator, _) => operator,
    };
    let exact = matches!(operator, Operator::Is | Operator::IsNot);
    if let Some(values) =
        axes.get(name).filter(|values| exact && !values.is_empty() && !values.iter().any(|known| known == value))
    {
        return Err(format!("the axis {name} has no {value} ({})", suggest(value, values.iter().map(String::as_str))));
    }
    if value.is_empty() {
        return Err(format!("{name} is compared with nothing"));
    }
    Ok(Comparison { name: name.to_owned(), operator, value: value.to_owned() })
}

impl Comparison {
    /// A build without the axis fits no comparison with it.
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let found = match self.name.as_str() {
            "image" => Some(subject.image),
            "id" => Some(subject.id),
            axis => subject.point.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str()),
        };
        let Some(found) = found else { return false };
        let values = || subject.axes.get(&self.name);
        match self.operator {
            Operator::Is => found == self.value,
            Operator::IsNot => found != self.value,
            Operator::Less => order(found, &self.value).is_lt(),
            Operator::LessOrSame => order(found, &self.value).is_le(),
            Operator::More => order(found, &self.value).is_gt(),
            Operator::MoreOrSame => order(found, &self.value).is_ge(),
            Operator::First => values().and_then(|values| values.first()).is_some_and(|first| first == found),
            Operator::Last => values().and_then(|values| values.last()).is_some_and(|last| last == found),
        }
    }
}

/// Version order: dotted parts, numbers as numbers, so 3.9 comes before 3.10.
fn order(a: &str, b: &str) -> Ordering {
    let part = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        (part[..digits].parse::<u64>().unwrap_or(0), part[digits..].to_owned())
    };
    a.split('.').map(part).cmp(b.split('.').map(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> BTreeMap<String, Vec<String>> {
        let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        BTreeMap::from([("python".into(), values(&["3.7", "3.9", "3.10"])), ("runtime".into(), values(&["cpu", "cuda"]))])
    }

    fn select(conditions: &[&str], runtime: &str, python: &str) -> bool {
        let axes = axes();
        let conditions: Vec<Condition> = conditions.iter().map(|text| Condition::parse(text, &axes).unwrap()).collect();
        let point = [("runtime".to_owned(), runtime.to_owned()), ("python".to_owned(), python.to_owned())];
        selects(&conditions, &Subject { image: "python", id: "python-x", point: &point, axes: &axes })
    }

    #[test]
    fn or_on_one_axis_and_on_two() {
        for (conditions, runtime, python, holds) in [
            (vec!["python=3.10"], "cpu", "3.10", true),
            (vec!["python<3.10"], "cpu", "3.9", true),
            (vec!["python<3.10"], "cpu", "3.10", false),
            (vec!["python=first", "python=last"], "cpu", "3.7", true),
            (vec!["python=first", "python=last"], "cpu", "3.9", false),
            (vec!["runtime=cpu", "python=first", "python=last"], "cuda", "3.7", false),
            (vec!["runtime=cuda,python<3.9"], "cuda", "3.7", true),
            (vec!["runtime=cuda,python<3.9"], "cpu", "3.7", false),
            (vec!["runtime!=cuda", "image=python"], "cpu", "3.7", true),
            (vec!["id=python-x", "image=other"], "cpu", "3.7", false),
            (vec![], "cpu", "3.7", true),
        ] {
            assert_eq!(select(&conditions, runtime, python), holds, "{conditions:?} {runtime} {python}");
        }
    }

    #[test]
    fn faults_name_what_there_is() {
        for (text, error) in [
            ("pyton=3.9", "\"pyton=3.9\": there is no axis pyton (did you mean `python`?)"),
            ("python=3.8", "\"python=3.8\": the axis python has no 3.8 (did you mean `3.9`?)"),
            ("python", "\"python\": a condition is like python=3.11 or python<3.9"),
            ("python!3", "\"python!3\": after ! comes ="),
            ("id=", "\"id=\": id is compared with nothing"),
        ] {
            assert_eq!(Condition::parse(text, &axes()).unwrap_err(), error);
        }
    }
}
