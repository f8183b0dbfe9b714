//! `[builders]`: who builds a platform, and the options of buildx's driver for Kubernetes.

use super::faults::{Faults, suggest};
use super::paths::Root;
use super::tree::Document;
use super::types::{Builder, File};
use super::{image_test, keys, names};
use crate::registry::Digest;

/// What an option of the driver may be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Truth,
    Count,
    Time,
    /// A name of Kubernetes.
    Name,
    /// `KEY=VALUE,KEY=VALUE`
    Pairs,
    OneOf(&'static [&'static str]),
    /// An image by digest.
    Pinned,
    /// Not ours to give away; with the reason.
    Refused(&'static str),
}

/// The options of the driver, `env.NAME` beside them; see <https://docs.docker.com/build/builders/drivers/kubernetes/>.
const OPTIONS: [(&str, Form); 24] = [
    ("annotations", Form::Pairs),
    ("buildkit-root-volume-memory", Form::Text),
    ("default-load", Form::Refused("what is loaded is said by the plan")),
    ("image", Form::Pinned),
    ("labels", Form::Pairs),
    ("limits.cpu", Form::Text),
    ("limits.ephemeral-storage", Form::Text),
    ("limits.memory", Form::Text),
    ("loadbalance", Form::OneOf(&["sticky", "random"])),
    ("namespace", Form::Name),
    ("nodeselector", Form::Pairs),
    ("persistent-volume-claim.requests.storage", Form::Text),
    ("qemu.image", Form::Pinned),
    ("qemu.install", Form::Truth),
    ("replicas", Form::Count),
    ("requests.cpu", Form::Text),
    ("requests.ephemeral-storage", Form::Text),
    ("requests.memory", Form::Text),
    ("requests.storage", Form::Refused("it is \"persistent-volume-claim.requests.storage\"")),
    ("rootless", Form::Truth),
    ("schedulername", Form::Name),
    ("serviceaccount", Form::Name),
    ("timeout", Form::Time),
    ("tolerations", Form::Text),
];

/// Reports what is wrong with them.
pub fn check(file: &File, root: &Root, document: &Document, faults: &mut Faults) {
    for (platform, builder) in &file.builders {
        let mut at = |path: &[&str], said: String| {
            let path = [&["builders", platform], path].concat();
            // What the schema took out was said already.
            if !document.is_bad(&path) {
                faults.at(document.line(&path), said);
            }
        };
        for said in keys::platforms(Some(std::slice::from_ref(platform))) {
            at(&[], said);
        }
        match (&builder.address, &builder.kubernetes) {
            (Some(address), None) => daemon(platform, builder, address, &mut at),
            (None, Some(context)) => cluster(platform, builder, context, &mut at),
            (Some(_), Some(_)) => {
                at(&["kubernetes"], format!("builder `{platform}` has both `address` and `kubernetes` (one builds)"));
            }
            (None, None) if ["address", "kubernetes"].iter().any(|key| document.is_bad(&["builders", platform, key])) => {}
            (None, None) => at(
                &[],
                format!("builder `{platform}` has no `address` (add address = \"tcp://host:1234\", or kubernetes = \"CONTEXT\")"),
            ),
        }
        let files = [("ca", &builder.ca), ("cert", &builder.cert), ("key", &builder.key), ("kubeconfig", &builder.kubeconfig)];
        for (key, path) in files {
            let written = path.as_ref().filter(|path| !is_variable(path));
            if let Some(said) = written.and_then(|path| root.inside(path).err()) {
                at(&[key], said);
            }
        }
    }
}

fn daemon(platform: &str, builder: &Builder, address: &str, at: &mut impl FnMut(&[&str], String)) {
    let split = address.split_once("://");
    if split.is_none_or(|(scheme, rest)| scheme.is_empty() || rest.is_empty() || scheme.starts_with("http")) {
        at(&["address"], format!("`{address}` is not an address (write such as \"tcp://host:1234\")"));
    }
    if builder.cert.is_some() != builder.key.is_some() {
        at(&[], format!("builder `{platform}` has one of cert and key without the other"));
    }
    for (key, is) in [("kubeconfig", builder.kubeconfig.is_some()), ("options", !builder.options.is_empty())] {
        if is {
            at(&[key], format!("builder `{platform}` has {key} and an address ({key} goes with kubernetes = \"CONTEXT\")"));
        }
    }
}

fn cluster(platform: &str, builder: &Builder, context: &str, at: &mut impl FnMut(&[&str], String)) {
    for (key, file) in [("ca", &builder.ca), ("cert", &builder.cert), ("key", &builder.key)] {
        if file.is_some() {
            at(&[key], format!("builder `{platform}` has {key} and is in Kubernetes ({key} goes with an address)"));
        }
    }
    if context.trim() != context || context.contains("${") {
        at(&["kubernetes"], format!("`{context}` is not the name of a context (`kubectl config get-contexts` lists them)"));
    }
    for (name, value) in &builder.options {
        if let Some(said) = option(name, value) {
            at(&["options", name], format!("builder `{platform}`: {said}"));
        }
    }
    let installs = builder.options.get("qemu.install").is_some_and(|value| value == "true");
    if installs && !builder.options.contains_key("qemu.image") {
        let said = "qemu.install runs an image with all rights (add \"qemu.image\" = \"NAME@sha256:…\")";
        at(&["options", "qemu.install"], format!("builder `{platform}`: {said}"));
    }
}

/// What is wrong with an option.
fn option(name: &str, value: &str) -> Option<String> {
    if let Some(variable) = name.strip_prefix("env.") {
        if variable.is_empty() {
            return Some("option `env.` names no variable (write such as \"env.HTTPS_PROXY\")".into());
        }
        let credentials = value.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or(rest).contains('@'));
        return credentials.then(|| format!("option `{name}` has a password (options are no place for secrets)"));
    }
    let Some((_, form)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
        let known = OPTIONS.iter().filter(|(_, form)| !matches!(form, Form::Refused(_))).map(|(known, _)| *known);
        return Some(format!("unknown option `{name}` ({})", suggest(name, known.chain(["env.NAME"]))));
    };
    let write = match form {
        Form::Refused(why) => return Some(format!("option `{name}` is not for here ({why})")),
        Form::Text => (value.trim().is_empty()).then(|| "a value".to_owned()),
        Form::Truth => (!["true", "false"].contains(&value)).then(|| "\"true\" or \"false\"".to_owned()),
        Form::Count => (!value.parse::<u16>().is_ok_and(|count| count > 0)).then(|| "a number from \"1\"".to_owned()),
        Form::Time => return image_test::duration(value).err().map(|said| format!("option `{name}`: {said}")),
        Form::Name => (!is_name(value)).then(|| "lower case letters, digits and -".to_owned()),
        Form::Pairs => (!value.split(',').all(is_pair)).then(|| "such as \"KEY=VALUE,KEY=VALUE\"".to_owned()),
        Form::OneOf(known) => (!known.contains(&value)).then(|| suggest(value, known.iter().copied())),
        Form::Pinned => (!is_pinned(value)).then(|| "\"NAME@sha256:…\", which stays the same".to_owned()),
    };
    Some(format!("option `{name}` is \"{value}\" ({}{})", if matches!(form, Form::OneOf(_)) { "" } else { "write " }, write?))
}

/// As <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/> has it.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(inner)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
}

fn is_pair(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, value)| !key.trim().is_empty() && !value.contains('='))
}

fn is_pinned(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, digest)| !name.is_empty() && Digest::parse(digest).is_ok())
}

/// `${NAME}` alone: a path, or the text of the file, that is known when the builder is used.
fn is_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(names::is_identifier)
}
