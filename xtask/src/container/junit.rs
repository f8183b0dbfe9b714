//! JUnit XML: one suite for a log, one case for each command that ran (the format that CI systems read).

use crate::visible;

#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What ran.
    pub name: String,
    pub seconds: f64,
    /// (message, the end of the log); `None`: passed.
    pub failure: Option<(String, String)>,
}

/// The document of one suite. `suite` is the build's id.
pub fn xml(suite: &str, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    let suite = escape(suite);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{seconds:.3}\">\n",
        cases.len()
    );
    for case in cases {
        let head = format!("    <testcase classname=\"{suite}\" name=\"{}\" time=\"{:.3}\"", escape(&case.name), case.seconds);
        match &case.failure {
            None => text += &format!("{head}/>\n"),
            Some((message, log)) => {
                let (message, log) = (escape(message), escape(log));
                text += &format!("{head}>\n      <failure message=\"{message}\">{log}</failure>\n    </testcase>\n");
            }
        }
    }
    text + "  </testsuite>\n</testsuites>\n"
}

/// Text as XML 1.0 allows it: control characters cannot be written there at all, so they are shown.
fn escape(text: &str) -> String {
    let plain = visible::text(text);
    plain.chars().fold(String::with_capacity(plain.len()), |mut escaped, c| {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped += "&#10;",
            other => escaped.push(other),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_as_text() {
        let passed = Case { name: "pytest -k 'a & b'".into(), seconds: 1.5, failure: None };
        let failure = Some(("exit code 1".into(), "\u{1b}[31m<bad>\u{1b}[0m\u{0}\u{ffff}\nend ]]>".into()));
        let failed = Case { name: "x".into(), seconds: 0.25, failure };
        let golden = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="a" tests="2" failures="1" errors="0" skipped="0" time="1.750">
    <testcase classname="a" name="pytest -k 'a &amp; b'" time="1.500"/>
    <testcase classname="a" name="x" time="0.250">
      <failure message="exit code 1">&lt;bad&gt;\u{0}\u{ffff}&#10;end ]]&gt;</failure>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml("a", &[passed, failed]), golden);
    }
}
