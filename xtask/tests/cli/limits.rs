//! What is too large ends with a clear error, early; and planning is ended by a signal.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Ran};

/// An image with an axis of each of these sizes.
fn matrix(sizes: &[usize], more: &str) -> String {
    let values = |size: usize| (0..size).map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
    let axes: String = sizes.iter().enumerate().map(|(at, size)| format!("a{at} = [{}]\n", values(*size))).collect();
    let variant: Vec<String> = (0..sizes.len()).map(|at| format!("{{a{at}}}")).collect();
    format!("schema = 1\n[axes]\n{axes}[image.web]\nvariant = '{}'\n{more}", variant.join("-"))
}

#[test]
fn a_matrix() {
    let lab = Lab::new();
    let rows = [
        (matrix(&[12; 5], ""), "image `web` has 248832 combinations of its axes, 65536 may be"),
        (matrix(&[12; 6], ""), "image `web` has 2985984 combinations of its axes, 65536 may be"),
        (matrix(&[100; 12], ""), "image `web` has far too many combinations of its axes"),
        (matrix(&[128, 129], ""), "image `web` has 16512 builds, a file may have 16384"),
        (matrix(&[128, 128], "[image.other]\n"), "the file has 16385 builds, it may have 16384"),
    ];
    for (images, words) in rows {
        lab.write("docker/images.toml", images);
        lab.limited("ulimit -v 2000000", &["plan"]).expect(2, &["docker/images.toml:", words, "("]);
    }
    let many = matrix(&[64, 64], "exclude = ['a0>0']\n");
    lab.write("docker/images.toml", many);
    assert!(lab.run(&["plan"]).expect(0, &[]).stdout.contains("\n64 builds, "));
}

#[test]
fn a_line_without_end() {
    let lab = Lab::new();
    lab.write("say", "/usr/bin/head -c 300000000 /dev/zero | /usr/bin/tr '\\0' x; echo; echo end");
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n[check.a]\nrun = 'sh say'\ntimeout = '1h'\n");
    let ran = lab.limited("ulimit -v 1000000", &["static-checks"]);
    let ran = ran.expect(0, &["x … and 299934464 bytes more on this line\nend\n"]);
    assert!(ran.stderr.len() < 100_000);
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_planning() {
    let lab = Lab::new();
    lab.write("docker/images.toml", matrix(&[64, 64], "template = 'D.j2'\ndockerfile = 'D.{variant}'\n"));
    lab.write("D.j2", "FROM scratch\n{% for a in range(99999) %}{% endfor %}\n");
    for signal in ["-INT", "-TERM"] {
        let child = lab.command(&["plan"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        // The second thread renders.
        while std::fs::read_dir(format!("/proc/{}/task", child.id())).map_or(0, Iterator::count) < 2 {
            assert!(started.elapsed() < Duration::from_secs(300), "no template is rendered");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let ended = Instant::now();
        Ran::from(child.wait_with_output().unwrap()).expect(130, &[]);
        assert!(ended.elapsed() < Duration::from_secs(60), "{:?}", ended.elapsed());
    }
}
