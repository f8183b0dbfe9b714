//! Time limits, signals and outputs of real processes.

use super::*;

fn sh(script: &str) -> Cmd {
    Cmd::probe("sh", "test").args(["-c", script])
}

/// A runner, and what interrupts it.
fn interrupted() -> (Runner, Signals) {
    let runner = Runner::default();
    let signals = runner.signals.clone();
    (runner, signals)
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let started = Instant::now();
    let exit = Runner::default().output(&sh("sleep 600 & sleep 600").timeout(Duration::from_millis(100))).unwrap();
    assert!(exit.timed_out && !exit.ok());
    assert!(started.elapsed() < Duration::from_secs(300), "the grandchild kept the pipe open");
}

#[test]
fn what_left_the_group_holds_nobody_up() {
    let runner = Runner::default();
    let started = Instant::now();
    let daemon = sh("sleep 90 & echo started");
    let exit = runner.output(&daemon.clone().timeout(Duration::from_secs(300))).unwrap();
    assert_eq!((exit.ok(), exit.stdout.as_str()), (true, "started\n"), "a daemon is not waited for");
    assert!(runner.stream(&daemon, |line| assert_eq!(line, "started")).unwrap().ok());
    if runner.which("setsid").is_some() {
        let late = sh("setsid sleep 90 & wait").timeout(Duration::from_millis(100));
        assert!(runner.output(&late).unwrap().timed_out);
        let (runner, signals) = interrupted();
        let error = runner.stream(&sh("setsid sleep 90 & echo begun; wait"), |_| signals.raise()).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Interrupted);
    }
    assert!(started.elapsed() < Duration::from_secs(80), "{:?}", started.elapsed());
}

#[test]
fn a_second_interrupt_leaves_no_time() {
    let ((runner, signals), started) = (interrupted(), Instant::now());
    // The first one is answered by the trap, and the loop goes on.
    let deaf = sh("trap 'echo asked' TERM; echo begun; while :; do sleep 0.1; done");
    assert!(runner.stream(&deaf, |_| signals.raise()).is_err());
    assert!(started.elapsed() < GRACE, "{:?}", started.elapsed());
}

#[test]
fn an_interrupt_ends_the_child_and_is_code_130() {
    let (runner, signals) = interrupted();
    let streamed = runner.stream(&sh("echo begun; sleep 600"), |_| signals.raise()).unwrap_err();
    let (unlimited, signals) = interrupted();
    signals.raise();
    let unlimited = unlimited.output(&Cmd::change("sleep", "test").arg("600")).unwrap_err();
    assert!([streamed, unlimited].iter().all(|error| crate::error::exit_code(error) == crate::error::Code::Interrupted));
    let cleanup = Cmd::cleanup("true", "tidy");
    assert!(runner.output(&cleanup).unwrap().ok(), "clean-up still runs");
}

#[test]
fn what_must_not_be_cut_off_ends_before_the_interrupt_does() {
    let mut lines = Vec::new();
    let write = Cmd { patience: Duration::from_secs(300), ..sh("echo begun; sleep 0.3; echo done") };
    let (runner, signals) = interrupted();
    let on_line = |line: &str| {
        signals.raise();
        lines.push(line.to_owned());
    };
    assert!(runner.stream(&write, on_line).is_err());
    assert_eq!(lines, ["begun", "done"]);
}

#[test]
fn a_commands_own_variable_wins_over_the_runners() {
    let mut runner = Runner::default();
    runner.set_env("WHO", "runner");
    for limit in [None, Some(Duration::from_secs(300))] {
        let cmd = Cmd { timeout: limit, ..sh("echo $WHO").env("WHO", "command") };
        assert_eq!(runner.read(&cmd).unwrap(), "command");
    }
}

#[test]
fn dry_run_runs_probes_only() {
    let runner = Runner::new(true, false);
    assert_eq!(runner.read(&sh("echo hi")).unwrap(), "hi");
    let exit = runner.output(&Cmd::change("false", "break")).unwrap();
    assert!(exit.skipped && exit.ok());
}

#[test]
fn a_failure_says_what_why_and_the_last_words() {
    let error = Runner::default().read(&sh("echo no >&2; exit 3")).unwrap_err();
    assert_eq!(error.to_string(), "cannot test: `sh -c 'echo no >&2; exit 3'`: exit code 3: no");
}

#[test]
fn a_missing_program_is_not_ready() {
    let error = Runner::default().read(&Cmd::probe("no-such-program", "look")).unwrap_err();
    assert_eq!(crate::error::exit_code(&error), crate::error::Code::NotReady);
}

#[test]
fn lines_come_merged_and_in_order() {
    let mut lines = Vec::new();
    let exit = Runner::default().stream(&sh("echo a; echo b >&2; printf c"), |line| lines.push(line.to_owned())).unwrap();
    assert_eq!((exit.code, lines), (Some(0), vec!["a".to_owned(), "b".into(), "c".into()]));
}

#[test]
fn an_answer_that_is_too_long_is_none() {
    let cmd =
        Cmd::probe("sh", "talk").args(["-c", "while :; do echo 0123456789; done"]).timeout(Duration::from_secs(60)).most(1000);
    let exit = Runner::default().output(&cmd).unwrap();
    assert!(exit.overflowed && !exit.ok() && !exit.timed_out && exit.stdout.len() <= 1000, "{}", exit.stdout.len());
    assert_eq!(exit.reason(&cmd), "an answer of more than 1.0 kB");
}
