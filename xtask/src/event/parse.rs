//! `--event`: `local`, `pr:12`, `branch:dev`, `tag:v1.2.3` and the others.

use super::Event;

/// What may be typed; the first word of each is what a wrong one is compared with.
const FORMS: [&str; 10] = [
    "local",
    "pr:12",
    "pr:12:fork",
    "branch:dev",
    "branch:dev:forced",
    "tag:v1.2.3",
    "schedule",
    "manual",
    "manual:rebuild",
    "merge-queue",
];

/// # Errors
/// One line that says what is wrong, with the nearest form.
pub fn event(text: &str) -> Result<Event, String> {
    let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("local", None) => Ok(Event::Local),
        ("pr", Some(rest)) => pull_request(rest),
        ("branch", Some(rest)) => {
            let (name, forced) = rest.strip_suffix(":forced").map_or((rest, false), |name| (name, true));
            ref_name("branch", name).map(|()| Event::Branch { name: name.into(), forced })
        }
        ("tag", Some(name)) => ref_name("tag", name).map(|()| Event::Tag { name: name.into() }),
        ("schedule", None) => Ok(Event::Schedule { branch: None }),
        ("manual", None) => Ok(Event::Manual { rebuild: false, branch: None }),
        ("manual", Some("rebuild")) => Ok(Event::Manual { rebuild: true, branch: None }),
        ("merge-queue", None) => Ok(Event::PullRequest { number: None, fork: false, base: None }),
        _ => Err(unknown(text, kind)),
    }
}

fn pull_request(rest: &str) -> Result<Event, String> {
    let (digits, fork) = rest.strip_suffix(":fork").map_or((rest, false), |digits| (digits, true));
    match digits.parse() {
        Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Event::PullRequest { number: Some(number), fork, base: None })
        }
        _ => Err(format!("`pr:{rest}` is not a pull request (write pr:12 or pr:12:fork)")),
    }
}

fn unknown(text: &str, kind: &str) -> String {
    match kind {
        "pr" | "branch" | "tag" => {
            let form = FORMS.iter().find(|form| form.starts_with(kind)).unwrap_or(&text);
            format!("the event `{text}` needs to say which one (write it like {form})")
        }
        _ => {
            let first = |form: &str| form.split(':').next().unwrap_or_default().to_owned();
            let distance =
                |form: &&&str| strsim::damerau_levenshtein(text, form).min(strsim::damerau_levenshtein(kind, &first(form)));
            let known = FORMS.join(", ");
            match FORMS.iter().min_by_key(distance).filter(|form| distance(form) * 2 <= kind.len()) {
                Some(nearest) => format!("unknown event `{text}`, did you mean {nearest}? (known: {known})"),
                None => format!("unknown event `{text}` (known: {known})"),
            }
        }
    }
}

/// Checks a branch's or tag's name by the rules of <https://git-scm.com/docs/git-check-ref-format>.
///
/// # Errors
/// One line that names the fault.
fn ref_name(what: &str, name: &str) -> Result<(), String> {
    let component = |test: fn(&str) -> bool| name.split('/').any(test);
    let special = name.chars().find(|c| " ~^:?*[\\".contains(*c));
    let fault = if name.is_empty() {
        "it is empty".into()
    } else if let Some(special) = special {
        format!("git allows no {} in it", if special == ' ' { "space".into() } else { format!("`{special}`") })
    } else if name.chars().any(|c| c.is_ascii_control()) {
        "git allows no control character in it".into()
    } else if name.starts_with('-') {
        "it begins with `-`".into()
    } else if component(str::is_empty) {
        "it begins or ends with `/`, or has two in a row".into()
    } else if component(|part| part.starts_with('.')) {
        "a part of it begins with `.`".into()
    } else if component(|part| part.ends_with(".lock")) {
        "a part of it ends in `.lock`".into()
    } else if name.ends_with('.') {
        "it ends in `.`".into()
    } else if let Some(pair) = ["..", "@{"].iter().find(|pair| name.contains(**pair)) {
        format!("git allows no `{pair}` in it")
    } else if name == "@" || (what == "branch" && name == "HEAD") {
        "git means something else by it".into()
    } else {
        return Ok(());
    };
    Err(format!("`{name}` is not the name of a {what}: {fault}"))
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
            ("branch:feature/x:forced", r#"{"kind":"branch","name":"feature/x","forced":true}"#),
            ("branch:a-b_c@d+ü", r#"{"kind":"branch","name":"a-b_c@d+ü"}"#),
            ("tag:v1.2.3", r#"{"kind":"tag","name":"v1.2.3"}"#),
            ("schedule", r#"{"kind":"schedule","branch":null}"#),
            ("manual", r#"{"kind":"manual","rebuild":false,"branch":null}"#),
            ("manual:rebuild", r#"{"kind":"manual","rebuild":true,"branch":null}"#),
        ] {
            assert_eq!(serde_json::to_string(&event(text).unwrap()).unwrap(), json);
        }
        for form in FORMS {
            assert_eq!(event(form).unwrap().flag(), form);
        }
    }

    #[test]
    fn faults() {
        let table = [
            ("lokal", "unknown event `lokal`, did you mean local? (known: local, pr:12,"),
            ("scheduled", "unknown event `scheduled`, did you mean schedule?"),
            ("manual:rebild", "unknown event `manual:rebild`, did you mean manual"),
            ("merge-group", "unknown event `merge-group`"),
            ("local:x", "unknown event `local:x`, did you mean local?"),
            ("", "unknown event ``"),
            ("workflow_dispatch", "unknown event `workflow_dispatch` (known: "),
            ("pr", "the event `pr` needs to say which one (write it like pr:12)"),
            ("tag", "the event `tag` needs to say which one (write it like tag:v1.2.3)"),
            ("pr:", "`pr:` is not a pull request"),
            ("pr:0", "`pr:0` is not a pull request"),
            ("pr:+1", "`pr:+1` is not a pull request"),
            ("pr:12:frok", "`pr:12:frok` is not a pull request (write pr:12 or pr:12:fork)"),
            ("branch:", "`` is not the name of a branch: it is empty"),
            ("branch:feature/x y", "`feature/x y` is not the name of a branch: git allows no space in it"),
            ("branch:forced:", "`forced:` is not the name of a branch: git allows no `:` in it"),
            ("branch::forced", "`` is not the name of a branch: it is empty"),
            ("branch:a:b", "`a:b` is not the name of a branch: git allows no `:` in it"),
            ("branch:release/*", "`release/*` is not the name of a branch: git allows no `*` in it"),
            ("branch:a\tb", "`a\tb` is not the name of a branch: git allows no control"),
            ("branch:-x", "`-x` is not the name of a branch: it begins with `-`"),
            ("branch:/x", "`/x` is not the name of a branch: it begins or ends"),
            ("branch:x//y", "`x//y` is not the name of a branch: it begins or ends"),
            ("branch:x/.y", "`x/.y` is not the name of a branch: a part"),
            ("branch:x.lock/y", "`x.lock/y` is not the name of a branch: a part"),
            ("branch:x.", "`x.` is not the name of a branch: it ends in `.`"),
            ("tag:v1..2", "`v1..2` is not the name of a tag: git allows no `..` in it"),
            ("branch:x@{1}", "`x@{1}` is not the name of a branch: git allows no `@{` in it"),
            ("branch:HEAD", "`HEAD` is not the name of a branch: git means something else"),
        ];
        for (text, expected) in table {
            let error = event(text).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
