//! The only file that starts processes: dry-run, time limits, process groups, Ctrl-C.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cmd::{Cmd, Effect};
use crate::error::Fault;
use crate::report;

/// How long a child may take to end itself after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a running child is looked at.
const TICK: Duration = Duration::from_millis(20);

/// What became of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// `None`: ended by a signal, or not started because of `--dry-run`.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub timed_out: bool,
    /// Not started because of `--dry-run`.
    pub skipped: bool,
}

impl Exit {
    /// Ended with 0, or was only printed.
    pub fn ok(&self) -> bool {
        self.skipped || (self.code == Some(0) && !self.timed_out)
    }

    /// "exit code 1", "no answer within 10s", "ended by a signal".
    pub fn reason(&self, cmd: &Cmd) -> String {
        match (self.timed_out, self.code) {
            (true, _) => format!("no answer within {}", humantime::format_duration(cmd.timeout.unwrap_or_default())),
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "ended by a signal".into(),
        }
    }
}

/// Starts commands. Cheap to clone; clones share the Ctrl-C flag.
#[derive(Clone, Debug, Default)]
pub struct Runner {
    dry_run: bool,
    verbose: bool,
    interrupted: Arc<AtomicBool>,
    env: BTreeMap<String, String>,
}

impl Runner {
    /// `verbose` echoes every command with its reason before it runs.
    pub fn new(dry_run: bool, verbose: bool) -> Runner {
        Runner { dry_run, verbose, ..Runner::default() }
    }

    /// From now on SIGINT, SIGTERM and SIGHUP end the children first; the caller then gets [`Fault::interrupted`].
    pub fn catch_signals(&self) -> Result<()> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&self.interrupted)).context("cannot catch signals")?;
        }
        Ok(())
    }

    /// Sets a variable for every command from now on (`DOCKER_HOST`, `PATH`).
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.into(), value.into());
    }

    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether every command is echoed before it runs.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// The program's path, searched the way the child would be (our own `PATH` first).
    pub fn which(&self, program: &str) -> Option<camino::Utf8PathBuf> {
        let found = match self.env.get("PATH") {
            Some(path) => which::which_in(program, Some(path), "/"),
            None => which::which(program),
        };
        found.ok()?.try_into().ok()
    }

    /// Runs to the end and returns stdout without its last newline; anything but exit code 0 is an error.
    pub fn read(&self, cmd: &Cmd) -> Result<String> {
        let exit = self.output(cmd)?;
        self.check(cmd, &exit)?;
        Ok(exit.stdout.trim_end_matches('\n').to_owned())
    }

    /// Runs to the end; the child's output goes to our stderr as it comes.
    pub fn run(&self, cmd: &Cmd) -> Result<()> {
        let exit = self.stream(cmd, report::note)?;
        self.check(cmd, &exit)
    }

    /// Runs to the end and collects stdout and stderr; any exit code is fine.
    ///
    /// # Errors
    /// The program cannot be started, or we were interrupted.
    pub fn output(&self, cmd: &Cmd) -> Result<Exit> {
        if self.skips(cmd)? {
            return Ok(Exit { skipped: true, ..Exit::default() });
        }
        if cmd.timeout.is_none() && cmd.stdin.is_none() && cmd.effect == Effect::Probe {
            return self.short(cmd);
        }
        let handle = self.expression(cmd).stdout_capture().stderr_capture().start().with_context(|| cannot_start(cmd))?;
        let (output, timed_out) =
            self.supervised(cmd, handle.pids(), &|elapsed| over(cmd.timeout, elapsed), || handle.wait().cloned())?;
        Ok(Exit {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            timed_out,
            skipped: false,
        })
    }

    /// Runs to the end and hands over each line of stdout and stderr, merged, as it comes.
    pub fn stream(&self, cmd: &Cmd, on_line: impl FnMut(&str)) -> Result<Exit> {
        self.stream_until(cmd, on_line, || false)
    }

    /// Like [`Runner::stream`]; `late` is asked all the time from another thread, and once it says yes the
    /// command is ended as if its time were up.
    pub fn stream_until(&self, cmd: &Cmd, mut on_line: impl FnMut(&str), late: impl Fn() -> bool + Sync) -> Result<Exit> {
        if self.skips(cmd)? {
            return Ok(Exit { skipped: true, ..Exit::default() });
        }
        let reader = self.expression(cmd).stderr_to_stdout().reader().with_context(|| cannot_start(cmd))?;
        let (code, timed_out) = self.supervised(cmd, reader.pids(), &|elapsed| over(cmd.timeout, elapsed) || late(), || {
            let mut lines = BufReader::new(&reader);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
                line.clear();
            }
            Ok(reader.try_wait()?.and_then(|output| output.status.code()))
        })?;
        Ok(Exit { code, timed_out, ..Exit::default() })
    }

    /// Starts a daemon in a session of its own, its output appended to `log`; it outlives us. Returns its process id.
    ///
    /// Linux only (`setsid` from util-linux). Only the sandbox needs it.
    pub fn daemon(&self, cmd: &Cmd, log: &Utf8Path) -> Result<u32> {
        if self.skips(cmd)? {
            return Ok(0);
        }
        let out = File::options().create(true).append(true).open(log).with_context(|| format!("cannot open {log}"))?;
        let mut child = Command::new("setsid");
        child.arg(&cmd.program).args(&cmd.args).envs(&self.env).envs(cmd.env.iter().cloned());
        child.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        Ok(child.spawn().with_context(|| cannot_start(cmd))?.id())
    }

    /// Adds a line to a file and returns when it is on the disk. Changes nothing under `--dry-run`.
    pub fn append(&self, path: &Utf8Path, line: &str) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        let write = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            // A crash may have cut the last line off; it stays what it is.
            let cut = std::fs::read(path).is_ok_and(|text| text.last().is_some_and(|last| *last != b'\n'));
            let mut file = File::options().create(true).append(true).open(path)?;
            file.write_all(format!("{}{line}\n", if cut { "\n" } else { "" }).as_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write {path}"))
    }

    /// Ends with an error unless the command succeeded; the error carries the end of its stderr.
    pub fn check(&self, cmd: &Cmd, exit: &Exit) -> Result<()> {
        if exit.ok() {
            return Ok(());
        }
        let said = exit.stderr.trim().lines().rev().take(3).collect::<Vec<_>>();
        let said = said.into_iter().rev().collect::<Vec<_>>().join("; ");
        let colon = if said.is_empty() { "" } else { ": " };
        bail!("cannot {}: `{cmd}`: {}{colon}{said}", cmd.why, exit.reason(cmd))
    }

    /// Questions that cannot hang.
    fn short(&self, cmd: &Cmd) -> Result<Exit> {
        let shell = xshell::Shell::new()?;
        if let Some(dir) = &cmd.dir {
            shell.change_dir(dir);
        }
        let short = shell.cmd(&cmd.program).args(&cmd.args).envs(&self.env).quiet().ignore_status();
        let short = short.envs(cmd.env.iter().map(|(name, value)| (name, value)));
        let output = short.output().with_context(|| cannot_start(cmd))?;
        self.fail_if_interrupted(cmd)?;
        Ok(Exit {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            ..Exit::default()
        })
    }

    /// The duct expression of a command: its own process group, no stdin of ours, any exit code.
    fn expression(&self, cmd: &Cmd) -> duct::Expression {
        let mut expression = duct::cmd(cmd.file(), &cmd.args).unchecked().before_spawn(|command| {
            use std::os::unix::process::CommandExt as _;
            command.process_group(0);
            Ok(())
        });
        // Merged here, because duct lets the first `env` of a name win and the command's own must.
        let mut env = self.env.clone();
        env.extend(cmd.env.iter().cloned());
        for (name, value) in env {
            expression = expression.env(name, value);
        }
        if let Some(dir) = &cmd.dir {
            expression = expression.dir(dir);
        }
        match &cmd.stdin {
            Some(text) => expression.stdin_bytes(text.as_bytes()),
            None => expression.stdin_null(),
        }
    }

    /// Waits with `wait` while a watcher ends the process group on Ctrl-C or when the time is up.
    fn supervised<T>(
        &self,
        cmd: &Cmd,
        pids: Vec<u32>,
        is_late: &(dyn Fn(Duration) -> bool + Sync),
        wait: impl FnOnce() -> std::io::Result<T>,
    ) -> Result<(T, bool)> {
        let started = Instant::now();
        let (done, ended) = channel::<()>();
        let (value, timed_out) = thread::scope(|scope| {
            let watcher = scope.spawn(move || {
                let (mut asked, mut interrupted): (Option<Instant>, Option<Instant>) = (None, None);
                let mut timed_out = false;
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                    let late = asked.is_none() && is_late(started.elapsed());
                    if self.is_interrupted() && cmd.effect != Effect::Cleanup {
                        interrupted.get_or_insert_with(Instant::now);
                    }
                    let stop = late || interrupted.is_some_and(|at| at.elapsed() >= cmd.patience);
                    match asked {
                        None if stop => {
                            timed_out = late;
                            asked = Some(Instant::now());
                            end_group(&pids, Signal::TERM);
                        }
                        Some(at) if at.elapsed() > GRACE => end_group(&pids, Signal::KILL),
                        _ => {}
                    }
                }
                timed_out
            });
            let value = wait();
            drop(done);
            (value, watcher.join().unwrap_or(false))
        });
        self.fail_if_interrupted(cmd)?;
        Ok((value.with_context(|| format!("cannot {}: lost `{}`", cmd.why, cmd.program))?, timed_out))
    }

    fn fail_if_interrupted(&self, cmd: &Cmd) -> Result<()> {
        if self.is_interrupted() && cmd.effect != Effect::Cleanup {
            return Err(Fault::interrupted().into());
        }
        Ok(())
    }

    /// Echoes the command where asked to; true if it must not run.
    fn skips(&self, cmd: &Cmd) -> Result<bool> {
        self.fail_if_interrupted(cmd)?;
        let skip = self.dry_run && cmd.effect != Effect::Probe;
        if skip || self.verbose {
            report::note(&format!("$ {cmd}  # to {}", cmd.why));
        }
        Ok(skip)
    }
}

fn over(limit: Option<Duration>, elapsed: Duration) -> bool {
    limit.is_some_and(|limit| elapsed > limit)
}

fn cannot_start(cmd: &Cmd) -> Fault {
    Fault::not_ready(format!("cannot {}: cannot start `{}`", cmd.why, cmd.program)).hint("run `cargo xtask doctor`")
}

fn end_group(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid.cast_signed())) {
        // A group that is already gone is what we want.
        let _gone = kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Cmd {
        Cmd::probe("sh", "test").args(["-c", script])
    }

    fn interrupted_soon() -> Runner {
        let runner = Runner::default();
        let flag = Arc::clone(&runner.interrupted);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            flag.store(true, Ordering::SeqCst);
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
}
