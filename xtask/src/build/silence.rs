//! A push that a registry does not answer: BuildKit waits for it without a word, so we say whom it waits for.

use std::time::Duration;

/// BuildKit reports on a push when it begins and when it ends. A push of a large image that goes well may take longer.
const LONG: Duration = Duration::from_secs(60);

/// How long a bake has said nothing.
#[derive(Debug, Default)]
pub struct Silence {
    /// When its last line came, since the bake started.
    heard: Duration,
    /// The silence that was last spoken of.
    spoken: Duration,
}

/// A build whose steps are done and whose image is not in the registry yet.
#[derive(Debug)]
pub struct Pushing<'a> {
    pub id: &'a str,
    pub candidate: &'a str,
    /// When it is given up, since the bake started.
    pub limit: Duration,
}

impl Silence {
    pub fn heard(&mut self, elapsed: Duration) {
        *self = Silence { heard: elapsed, spoken: Duration::ZERO };
    }

    /// Whether [`Silence::note`] would speak of a build.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        elapsed.saturating_sub(self.heard) >= LONG.max(self.spoken * 2)
    }

    /// What to say of builds that are being pushed: after a minute without a line, and whenever that time has doubled.
    pub fn note(&mut self, elapsed: Duration, pushing: &[Pushing<'_>]) -> Option<String> {
        let first = pushing.first().filter(|_| self.is_due(elapsed))?;
        let quiet = elapsed.saturating_sub(self.heard);
        self.spoken = quiet;
        let registry = first.candidate.split('/').next().unwrap_or_default();
        let ids: Vec<&str> = pushing.iter().map(|pushing| pushing.id).collect();
        let seconds = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        Some(format!(
            "no answer for {} while {} is pushed to {registry} (given up after {}, the timeout of {})",
            seconds(quiet),
            ids.join(", "),
            seconds(first.limit),
            first.id
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_push_is_spoken_of_less_and_less_often() {
        let seconds = Duration::from_secs;
        let pushing = [
            Pushing { id: "web", candidate: "r.example:5000/web:candidate-1", limit: seconds(3600) },
            Pushing { id: "api", candidate: "r.example:5000/api:candidate-1", limit: seconds(60) },
        ];
        let mut silence = Silence::default();
        silence.heard(seconds(10));
        let mut said: Vec<u64> = Vec::new();
        for now in 0..1000 {
            if let Some(text) = silence.note(seconds(now), &pushing) {
                assert!(
                    text.ends_with("while web, api is pushed to r.example:5000 (given up after 1h, the timeout of web)"),
                    "{text}"
                );
                said.push(now);
            }
        }
        assert_eq!(said, [70, 130, 250, 490, 970]);
        silence.heard(seconds(1000));
        assert_eq!(silence.note(seconds(1059), &pushing), None, "a line came");
        assert!(silence.note(seconds(1060), &pushing).unwrap().starts_with("no answer for 1m while "));
        assert_eq!(Silence::default().note(seconds(900), &[]), None, "a step that runs may be silent");
    }
}
