//! `--event`: `local`, `pr:12`, `branch:dev`, `tag:v1.2.3` and the others.

use super::Event;

/// What may be written, for errors and help.
const FORMS: [&str; 9] =
    ["local", "pr:NUMBER", "pr:NUMBER:fork", "merge-queue", "branch:NAME", "tag:NAME", "schedule", "manual", "manual:rebuild"];

/// # Errors
/// Says what is wrong and lists the forms, or names the rule of git that a branch or tag breaks.
pub fn event(text: &str) -> Result<Event, String> {
    let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("local", None) => Ok(Event::Local),
        ("merge-queue", None) => Ok(Event::PullRequest { number: None, fork: false, base: None }),
        ("schedule", None) => Ok(Event::Schedule { branch: None }),
        ("manual", None) => Ok(Event::Manual { rebuild: false, branch: None }),
        ("manual", Some("rebuild")) => Ok(Event::Manual { rebuild: true, branch: None }),
        ("pr", Some(rest)) => {
            let (number, fork) = rest.strip_suffix(":fork").map_or((rest, false), |number| (number, true));
            let number = number
                .parse()
                .map_err(|_| format!("\"{number}\" is not the number of a pull request: write pr:12 or pr:12:fork"))?;
            Ok(Event::PullRequest { number: Some(number), fork, base: None })
        }
        ("branch", Some(name)) => ref_name(name).map(|()| Event::Branch { name: name.to_owned() }),
        ("tag", Some(name)) => ref_name(name).map(|()| Event::Tag { name: name.to_owned() }),
        _ => {
            let nearest = FORMS.iter().min_by_key(|form| strsim::damerau_levenshtein(form, text)).copied().unwrap_or_default();
            Err(format!("\"{text}\" is not an event; did you mean {nearest}? There are {}", FORMS.join(", ")))
        }
    }
}

/// The rules of `git check-ref-format`, <https://git-scm.com/docs/git-check-ref-format>.
fn ref_name(name: &str) -> Result<(), String> {
    let parts = || name.split('/');
    let fault = if name.is_empty() {
        "is empty"
    } else if name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        "has a space, a control character or one of ~ ^ : ? * [ \\"
    } else if name.contains("..") || name.contains("@{") || name == "@" {
        "has .. or @{"
    } else if parts().any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        "has an empty part, a part that starts with a dot, or one that ends with .lock"
    } else if name.ends_with('.') || name.starts_with('-') {
        "ends with a dot or starts with a dash"
    } else {
        return Ok(());
    };
    Err(format!("\"{}\" cannot be a branch or tag: it {fault}", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, json) in [
            ("local", r#"{"kind":"local"}"#),
            ("pr:12", r#"{"kind":"pull-request","number":12,"fork":false,"base":null}"#),
            ("pr:12:fork", r#"{"kind":"pull-request","number":12,"fork":true,"base":null}"#),
            ("merge-queue", r#"{"kind":"pull-request","number":null,"fork":false,"base":null}"#),
            ("branch:feature/x", r#"{"kind":"branch","name":"feature/x"}"#),
            ("tag:v1.2.3", r#"{"kind":"tag","name":"v1.2.3"}"#),
            ("schedule", r#"{"kind":"schedule","branch":null}"#),
            ("manual:rebuild", r#"{"kind":"manual","rebuild":true,"branch":null}"#),
        ] {
            assert_eq!(serde_json::to_string(&event(text).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        for (text, part) in [
            ("scheduled", "did you mean schedule?"),
            ("pr:x", "pr:12"),
            ("branch:feature/x y", "has a space"),
            ("branch:", "is empty"),
            ("tag:a..b", ".."),
            ("branch:-x", "dash"),
            ("", "is not an event"),
        ] {
            let error = event(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
