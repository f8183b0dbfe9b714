//! `{…}` placeholders and `${…}` variables.

use super::Env;
use super::faults::suggest;

/// Names that stand for something of the event; filled by the planner.
pub const EVENT: [&str; 11] =
    ["sha", "sha7", "timestamp", "date", "branch", "number", "version", "semver", "major", "minor", "patch"];

/// Replaces every `{name}`; `value` says what for.
///
/// # Errors
/// A name without a value, a brace that is not closed, a `${…}` where no variable may stand.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    replace(text, |name| value(name).ok_or_else(|| format!("{{{name}}} has no value here")))
}

/// Fills what `value` knows and leaves placeholders of the event as they are.
pub fn fill_known<'a>(text: &str, known: &[(&'a str, &'a str)]) -> Result<String, String> {
    replace(text, |name| match known.iter().find(|(other, _)| *other == name) {
        Some((_, value)) => Ok((*value).to_owned()),
        None if EVENT.contains(&name) => Ok(format!("{{{name}}}")),
        None => {
            let names = known.iter().map(|(name, _)| *name).chain(EVENT);
            Err(format!("nothing is called {{{name}}} here ({})", suggest(name, names)))
        }
    })
}

fn replace(text: &str, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        if after.starts_with('}') {
            return Err("a } without its {".into());
        }
        if before.ends_with('$') {
            return Err("environment variables may stand in registry, namespace, login and secrets only".into());
        }
        let (name, after) = after[1..].split_once('}').ok_or("a { without its }")?;
        out.push_str(before);
        out.push_str(&value(name)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The event placeholders in a text.
pub fn event_names(text: &str) -> Vec<&'static str> {
    let names = text.split('{').skip(1).filter_map(|part| part.split('}').next());
    names.filter_map(|name| EVENT.into_iter().find(|event| *event == name)).collect()
}

/// Replaces every `${NAME}` by the variable. `Err(NAME)`: it is not set, or set to nothing.
pub fn variables(text: &str, env: &Env) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        let value = env.get(name).filter(|value| !value.is_empty()).ok_or_else(|| name.to_owned())?;
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_filled_and_the_events_stay() {
        let known = [("python", "3.11"), ("runtime", "cpu")];
        assert_eq!(fill_known("{runtime}-py{python}:{sha7}", &known).unwrap(), "cpu-py3.11:{sha7}");
        for (text, error) in [
            ("{pyton}", "nothing is called {pyton} here (did you mean `python`?)"),
            ("{python", "a { without its }"),
            ("python}", "a } without its {"),
            ("${HOME}", "environment variables may stand in registry, namespace, login and secrets only"),
        ] {
            assert_eq!(fill_known(text, &known).unwrap_err(), error);
        }
    }

    #[test]
    fn variables_come_from_the_environment() {
        let env = Env::from([("A".into(), "x".into()), ("EMPTY".into(), String::new())]);
        assert_eq!(variables("${A}/y", &env).unwrap(), "x/y");
        assert_eq!(variables("${B}", &env).unwrap_err(), "B");
        assert_eq!(variables("${EMPTY}", &env).unwrap_err(), "EMPTY");
    }
}
