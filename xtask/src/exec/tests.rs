//! Time limits, signals and outputs of real processes.

use super::*;

fn sh(script: &str) -> Cmd {
    Cmd::probe("sh", "test").args(["-c", script])
}

fn interrupted_soon() -> Runner {
    let runner = Runner::default();
    let signals = runner.signals.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        signals.raise();
    });
    runner
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let started = Instant::now();
    let exit = Runner::default().output(&sh("sleep 60 & sleep 60").timeout(Duration::from_millis(100))).unwrap();
    assert!(exit.timed_out && !exit.ok());
    assert!(started.elapsed() < Duration::from_secs(5), "the grandchild kept the pipe open");
}

#[test]
fn what_left_the_group_holds_nobody_up() {
    let runner = Runner::default();
    let started = Instant::now();
    let daemon = sh("sleep 20 & echo started");
    let exit = runner.output(&daemon.clone().timeout(Duration::from_secs(10))).unwrap();
    assert_eq!((exit.ok(), exit.stdout.as_str()), (true, "started\n"), "a daemon is not waited for");
    assert!(runner.stream(&daemon, |line| assert_eq!(line, "started")).unwrap().ok());
    if runner.which("setsid").is_some() {
        let late = sh("setsid sleep 20 & wait").timeout(Duration::from_millis(100));
        assert!(runner.output(&late).unwrap().timed_out);
        let interrupted = interrupted_soon().stream(&sh("setsid sleep 20 & wait"), |_| {}).unwrap_err();
        assert_eq!(crate::error::exit_code(&interrupted), crate::error::Code::Interrupted);
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_second_interrupt_leaves_no_time() {
    let (runner, started) = (interrupted_soon(), Instant::now());
    let signals = runner.signals.clone();
    let again = thread::spawn(move || {
        thread::sleep(Duration::from_millis(600));
        signals.raise();
    });
    assert!(runner.stream(&sh("trap '' TERM; sleep 20; sleep 20"), |_| {}).is_err());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    again.join().unwrap();
}

#[test]
fn an_interrupt_ends_the_child_and_is_code_130() {
    let runner = interrupted_soon();
    let streamed = runner.stream(&sh("sleep 60"), |_| {}).unwrap_err();
    let unlimited = interrupted_soon().output(&Cmd::change("sleep", "test").arg("60")).unwrap_err();
    assert!([streamed, unlimited].iter().all(|error| crate::error::exit_code(error) == crate::error::Code::Interrupted));
    let cleanup = Cmd::cleanup("true", "tidy");
    assert!(runner.output(&cleanup).unwrap().ok(), "clean-up still runs");
}

#[test]
fn what_must_not_be_cut_off_ends_before_the_interrupt_does() {
    let mut lines = Vec::new();
    let write = Cmd { patience: Duration::from_secs(10), ..sh("sleep 0.3; echo done") };
    assert!(interrupted_soon().stream(&write, |line| lines.push(line.to_owned())).is_err());
    assert_eq!(lines, ["done"]);
}

#[test]
fn a_commands_own_variable_wins_over_the_runners() {
    let mut runner = Runner::default();
    runner.set_env("WHO", "runner");
    for limit in [None, Some(Duration::from_secs(10))] {
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
