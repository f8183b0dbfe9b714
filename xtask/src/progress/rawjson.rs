//! One line of `--progress rawjson`: BuildKit's `SolveStatus` as JSON, or something else that was printed.
//!
//! The fields are those of `client.SolveStatus`, <https://pkg.go.dev/github.com/moby/buildkit/client>. Fields
//! that we don't know, or whose type changed, never lose the rest of a line.

use serde_json::Value;

/// What one line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub vertexes: Vec<Vertex>,
    pub statuses: Vec<Step>,
    pub logs: Vec<Log>,
}

/// A node of the build graph. The same one comes many times, each time with what is known by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vertex {
    pub digest: String,
    pub name: String,
    /// RFC 3339, "" while it has not.
    pub started: String,
    pub completed: bool,
    pub cached: bool,
    /// "" for none.
    pub error: String,
}

/// Progress inside a vertex: a layer that is pulled, "naming to …".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub id: String,
    /// Digest of its vertex.
    pub vertex: String,
    pub current: u64,
    pub completed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Digest of its vertex.
    pub vertex: String,
    pub text: String,
}

/// `None`: the line is no status (buildx prints its errors as plain lines).
pub fn parse(line: &str) -> Option<Status> {
    let value: Value = serde_json::from_str(line.trim()).ok()?;
    let known = ["vertexes", "statuses", "logs", "warnings"];
    if !value.as_object()?.keys().any(|key| known.contains(&key.as_str())) {
        return None;
    }
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    Some(Status {
        vertexes: list("vertexes").iter().map(vertex).collect(),
        statuses: list("statuses").iter().map(step).collect(),
        logs: list("logs").iter().map(log).collect(),
    })
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn vertex(value: &Value) -> Vertex {
    Vertex {
        digest: text(value, "digest"),
        name: text(value, "name"),
        started: text(value, "started"),
        completed: value["completed"].is_string(),
        cached: value["cached"].as_bool().unwrap_or(false),
        error: text(value, "error"),
    }
}

fn step(value: &Value) -> Step {
    Step {
        id: text(value, "id"),
        vertex: text(value, "vertex"),
        current: value["current"].as_u64().unwrap_or(0),
        completed: value["completed"].is_string(),
    }
}

fn log(value: &Value) -> Log {
    let bytes = decode(value["data"].as_str().unwrap_or_default());
    Log { vertex: text(value, "vertex"), text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// Base64 as Go writes bytes in JSON (RFC 4648 §4); stops at the first character that is none of it.
fn decode(text: &str) -> Vec<u8> {
    let digit = |c: u8| -> Option<u32> {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        Some(value.into())
    };
    let digits: Vec<u32> = text.bytes().map_while(digit).collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend([first, second, third].iter().take(group.len() - 1));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm!v", "f")] {
            assert_eq!(decode(text), bytes.as_bytes(), "{text}");
        }
    }

    #[test]
    fn garbage_is_no_status() {
        for line in ["", "ERROR: target a: failed to solve", "{", "{\"vertexes\":[{\"digest\":", "[1]", "null", "{\"a\":1}"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn unknown_and_odd_fields_lose_nothing() {
        let line = r#"{"vertexes":[{"digest":"sha256:a","name":"[a 1/2] RUN x","started":"2025-01-01T00:00:00Z","cached":"odd","new":{}},7],
            "statuses":[{"id":"sha256:b","vertex":"sha256:a","current":-1}],"logs":[{"vertex":"sha256:a","data":"aGk="}],"more":1}"#;
        let status = parse(line).unwrap();
        assert_eq!(status.vertexes[0].name, "[a 1/2] RUN x");
        assert!(!status.vertexes[0].started.is_empty() && !status.vertexes[0].completed && !status.vertexes[0].cached);
        assert_eq!(status.statuses[0].current, 0);
        assert_eq!(status.logs[0].text, "hi");
    }
}
