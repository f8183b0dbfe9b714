//! The only file that starts processes: dry-run, time limits, process groups, Ctrl-C.

mod child;
mod signals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::cmd::{Cmd, Effect};
use crate::error::Fault;
use crate::{files, report};
use child::{Child, Lines, Patience};
use signals::Signals;

/// How long a child may take to end itself after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 300 } else { 10 });
/// Bytes of a line of output for people.
const LONGEST: usize = 1 << 16;
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
    /// It was ended because it printed more than it may.
    pub overflowed: bool,
    /// Not started because of `--dry-run`.
    pub skipped: bool,
}

impl Exit {
    /// Ended with 0, or was only printed.
    pub fn ok(&self) -> bool {
        self.skipped || (self.code == Some(0) && !self.timed_out && !self.overflowed)
    }

    /// "exit code 1", "no answer within 10s", "ended by a signal".
    pub fn reason(&self, cmd: &Cmd) -> String {
        if self.overflowed {
            return format!("an answer of more than {}", report::bytes(cmd.most.unwrap_or_default() as u64));
        }
        match (self.timed_out, self.code) {
            (true, _) => format!("no answer within {}", humantime::format_duration(cmd.timeout.unwrap_or_default())),
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "ended by a signal".into(),
        }
    }
}

/// Starts commands. Cheap to clone; clones share what was signalled.
#[derive(Clone, Debug, Default)]
pub struct Runner {
    dry_run: bool,
    verbose: bool,
    signals: Signals,
    env: BTreeMap<String, String>,
}

impl Runner {
    /// `verbose` echoes every command with its reason before it runs.
    pub fn new(dry_run: bool, verbose: bool) -> Runner {
        Runner { dry_run, verbose, ..Runner::default() }
    }

    /// From now on SIGINT, SIGTERM and SIGHUP end the children first; the caller then gets [`Fault::interrupted`]. The
    /// second one leaves them no time.
    pub fn catch_signals(&self) -> Result<()> {
        self.signals.catch()
    }

    /// Runs what only reads and reckons, and may take long: an interrupt ends it at once, with exit code 130.
    pub fn while_planning<T>(&self, work: impl FnOnce() -> T) -> T {
        self.signals.while_planning(work)
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
        self.signals.count() > 0
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
    /// The end is the command's own: what it left behind may hold its pipes, and is neither waited for nor ended.
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
        let (mut said, full) = ([Vec::new(), Vec::new()], AtomicBool::new(false));
        let is_full = || full.load(Ordering::SeqCst);
        let (status, timed_out) = self.supervised(cmd, false, &is_full, |output, bytes| {
            // What comes after its end was asked for is thrown away.
            let fits = cmd.most.is_none_or(|most| said[output].len() + bytes.len() <= most);
            if fits && !is_full() { said[output].extend_from_slice(bytes) } else { full.store(true, Ordering::SeqCst) }
        })?;
        let [stdout, stderr] = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let overflowed = is_full();
        Ok(Exit { code: status.code(), stdout, stderr, timed_out: timed_out && !overflowed, overflowed, skipped: false })
    }

    /// Runs to the end and hands over stdout as it comes, which may be no text. The end is that of [`Runner::output`].
    pub fn bytes(&self, cmd: &Cmd, mut on_bytes: impl FnMut(&[u8])) -> Result<Exit> {
        if self.skips(cmd)? {
            return Ok(Exit { skipped: true, ..Exit::default() });
        }
        let mut said = Vec::new();
        let (status, timed_out) = self.supervised(cmd, false, &|| false, |output, bytes| match output {
            0 => on_bytes(bytes),
            _ => said.extend_from_slice(bytes),
        })?;
        let stderr = String::from_utf8_lossy(&said).into_owned();
        Ok(Exit { code: status.code(), stderr, timed_out, ..Exit::default() })
    }

    /// Runs to the end and hands over each line of stdout and stderr, merged, as it comes. The end is that of
    /// [`Runner::output`].
    pub fn stream(&self, cmd: &Cmd, on_line: impl FnMut(&str)) -> Result<Exit> {
        self.lines(cmd, LONGEST, on_line, || false)
    }

    /// Like [`Runner::stream`]; `late` is asked all the time from another thread, and once it says yes the
    /// command is ended as if its time were up.
    pub fn stream_until(&self, cmd: &Cmd, on_line: impl FnMut(&str), late: impl Fn() -> bool + Sync) -> Result<Exit> {
        self.lines(cmd, LONGEST, on_line, late)
    }

    /// The same for lines that a program reads, such as BuildKit's progress, whose messages have up to 16 MiB before they
    /// are written as JSON.
    pub fn statuses(&self, cmd: &Cmd, on_line: impl FnMut(&str), late: impl Fn() -> bool + Sync) -> Result<Exit> {
        self.lines(cmd, 1 << 25, on_line, late)
    }

    fn lines(&self, cmd: &Cmd, longest: usize, mut on_line: impl FnMut(&str), late: impl Fn() -> bool + Sync) -> Result<Exit> {
        if self.skips(cmd)? {
            return Ok(Exit { skipped: true, ..Exit::default() });
        }
        let mut lines = Lines::new(longest);
        let (status, timed_out) = self.supervised(cmd, true, &late, |_, bytes| lines.feed(bytes, &mut on_line))?;
        lines.end(&mut on_line);
        Ok(Exit { code: status.code(), timed_out, ..Exit::default() })
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
        let mut file = files::open(path)?;
        let mut write = || {
            // A crash may have cut the last line off; it stays what it is.
            let cut = std::fs::read(path).is_ok_and(|text| text.last().is_some_and(|last| *last != b'\n'));
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
        let short = cmd.unset.iter().fold(short, |short, name| short.env_remove(name));
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
        env.retain(|name, _| !cmd.unset.contains(&name.as_str()));
        env.extend(cmd.env.iter().cloned());
        for name in cmd.unset.iter().filter(|name| !env.contains_key(**name)) {
            expression = expression.env_remove(name);
        }
        for (name, value) in env {
            expression = expression.env(name, value);
        }
        if let Some(dir) = &cmd.dir {
            expression = expression.dir(dir);
        }
        match (&cmd.stdin, &cmd.stdin_file) {
            // What is told to it comes through a pipe of our own.
            (Some(_), _) => expression,
            (None, Some(path)) => expression.stdin_path(path),
            (None, None) => expression.stdin_null(),
        }
    }

    /// Runs a command while a watcher ends its process group on Ctrl-C or when the time is up.
    ///
    /// What has left the group lives on, and holds nobody up: see [`Child::wait`].
    fn supervised(
        &self,
        cmd: &Cmd,
        merged: bool,
        late: &(dyn Fn() -> bool + Sync),
        on_output: impl FnMut(usize, &[u8]),
    ) -> Result<(ExitStatus, bool)> {
        let child = Child::start(&self.expression(cmd), cmd.stdin.as_deref(), merged).with_context(|| cannot_start(cmd))?;
        let group = child.group();
        let (done, ended) = channel::<()>();
        let (asked, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (status, timed_out) = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let ended = ended;
                self.watch(cmd, group, late, (&asked, &killed), || ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout))
            });
            // Those of a group that is being ended get the same time as the child.
            let is_over = || !asked.load(Ordering::SeqCst) || killed.load(Ordering::SeqCst) || is_gone(group);
            let status = child.wait(Patience::default(), is_over, on_output);
            drop(done);
            (status, watcher.join().unwrap_or(false))
        });
        self.fail_if_interrupted(cmd)?;
        Ok((status.with_context(|| format!("cannot {}: lost `{}`", cmd.why, cmd.program))?, timed_out))
    }

    /// Ends a group when it is due; true if its time was up. `(asked, killed)`: what was done to it.
    fn watch(
        &self,
        cmd: &Cmd,
        group: Option<Pid>,
        late: &(dyn Fn() -> bool + Sync),
        (asked, killed): (&AtomicBool, &AtomicBool),
        runs: impl Fn() -> bool,
    ) -> bool {
        let (started, mut ending, mut interrupted) = (Instant::now(), None::<Instant>, None::<Instant>);
        let mut timed_out = false;
        while runs() {
            let late = ending.is_none() && (cmd.timeout.is_some_and(|limit| started.elapsed() > limit) || late());
            let signals = if cmd.effect == Effect::Cleanup { 0 } else { self.signals.count() };
            if signals > 0 {
                interrupted.get_or_insert_with(Instant::now);
            }
            let stop = late || interrupted.is_some_and(|at| at.elapsed() >= cmd.patience);
            match ending {
                None if stop => {
                    timed_out = late;
                    ending = Some(Instant::now());
                    asked.store(true, Ordering::SeqCst);
                    end_group(group, Signal::TERM);
                }
                Some(at) if at.elapsed() > GRACE || signals > 1 => {
                    end_group(group, Signal::KILL);
                    killed.store(true, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        timed_out
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

fn cannot_start(cmd: &Cmd) -> Fault {
    Fault::not_ready(format!("cannot {}: cannot start `{}`", cmd.why, cmd.program)).hint("run `cargo xtask doctor`")
}

fn end_group(group: Option<Pid>, signal: Signal) {
    // A group that is already gone is what we want.
    let _gone = group.map(|group| kill_process_group(group, signal));
}

fn is_gone(group: Option<Pid>) -> bool {
    group.is_none_or(|group| test_kill_process_group(group).is_err())
}
