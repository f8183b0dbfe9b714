//! A child that is read while it lives, and no longer: its descendants may keep its pipes for as long as they like.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Result, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Pid;

use super::TICK;

/// How long what a child that has ended left in its pipes, and the last words of what it started, are waited for.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Until nothing has come for so long …
    silence: Duration,
    /// … or a descendant has talked on for so long.
    last_words: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { silence: Duration::from_millis(200), last_words: Duration::from_secs(2) }
    }
}

/// A running process.
pub struct Child {
    process: duct::Handle,
    /// What it has still to be told.
    input: Option<(PipeWriter, Vec<u8>)>,
    /// stdout and stderr, or both in one; `None` at their end.
    outputs: Vec<Option<PipeReader>>,
}

impl Child {
    /// `merged`: stderr comes with stdout. Pipes of our own, because duct waits for everybody who holds one of its.
    pub fn start(expression: &duct::Expression, stdin: Option<&str>, merged: bool) -> Result<Child> {
        let (stdout, writer) = std::io::pipe()?;
        let mut outputs = vec![Some(stdout)];
        let mut expression = if merged {
            expression.stderr_to_stdout().stdout_file(writer)
        } else {
            let (stderr, other) = std::io::pipe()?;
            outputs.push(Some(stderr));
            expression.stdout_file(writer).stderr_file(other)
        };
        let mut input = None;
        if let Some(text) = stdin {
            let (reader, writer) = std::io::pipe()?;
            fcntl_setfl(&writer, OFlags::NONBLOCK)?;
            expression = expression.stdin_file(reader);
            input = Some((writer, text.as_bytes().to_vec()));
        }
        // With the expression our copies of the child's ends are closed.
        Ok(Child { process: expression.start()?, input, outputs })
    }

    pub fn group(&self) -> Option<Pid> {
        Pid::from_raw(self.process.pids().first()?.cast_signed())
    }

    /// Reads to the end; `on_output` is told which output it was. What comes from descendants after the child has ended
    /// and `is_over` is lost, as with any pipe that nobody reads.
    pub fn wait(
        mut self,
        patience: Patience,
        is_over: impl Fn() -> bool,
        mut on_output: impl FnMut(usize, &[u8]),
    ) -> Result<ExitStatus> {
        let mut buffer = vec![0; 1 << 16];
        let mut ended: Option<(ExitStatus, Instant)> = None;
        let mut heard = Instant::now();
        while self.input.is_some() || self.outputs.iter().any(Option::is_some) {
            for at in self.ready()? {
                if self.read(at, &mut buffer, &mut on_output)? {
                    heard = Instant::now();
                }
            }
            match ended {
                Some((status, at)) => {
                    let silent = at.max(heard).elapsed() > patience.silence;
                    if (silent || at.elapsed() > patience.last_words) && is_over() {
                        return Ok(status);
                    }
                }
                None => ended = self.process.try_wait()?.map(|output| (output.status, Instant::now())),
            }
        }
        ended.map_or_else(|| Ok(self.process.wait()?.status), |(status, _)| Ok(status))
    }

    /// Waits for at most a tick; tells what can be read, and writes what can be written.
    fn ready(&mut self) -> Result<Vec<usize>> {
        let open: Vec<(usize, &PipeReader)> =
            self.outputs.iter().enumerate().filter_map(|(at, pipe)| Some((at, pipe.as_ref()?))).collect();
        let mut pipes: Vec<PollFd<'_>> =
            open.iter().map(|(_, pipe)| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)).collect();
        pipes.extend(self.input.iter().map(|(pipe, _)| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        match poll(&mut pipes, Some(&tick)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let mut is_ready = pipes.iter().map(|pipe| !pipe.revents().is_empty()).collect::<Vec<_>>().into_iter();
        let ready = open.iter().zip(&mut is_ready).filter(|(_, ready)| *ready).map(|((at, _), _)| *at).collect();
        if is_ready.next() == Some(true) {
            self.write()?;
        }
        Ok(ready)
    }

    /// True if there was something.
    fn read(&mut self, at: usize, buffer: &mut [u8], on_output: &mut impl FnMut(usize, &[u8])) -> Result<bool> {
        let Some(pipe) = &mut self.outputs[at] else { return Ok(false) };
        match pipe.read(buffer) {
            Ok(0) => self.outputs[at] = None,
            Ok(size) => {
                on_output(at, &buffer[..size]);
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    /// Writes as much as goes into the pipe.
    fn write(&mut self) -> Result<()> {
        let Some((pipe, text)) = &mut self.input else { return Ok(()) };
        match pipe.write(text) {
            Ok(size) => drop(text.drain(..size)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // Nobody has to read what he is told.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => text.clear(),
            Err(error) => return Err(error),
        }
        if text.is_empty() {
            self.input = None;
        }
        Ok(())
    }
}

/// Output cut into lines.
pub struct Lines {
    rest: Vec<u8>,
    /// Bytes of a line; the rest of a longer one is left out.
    longest: usize,
    left_out: usize,
}

impl Lines {
    pub fn new(longest: usize) -> Lines {
        Lines { rest: Vec::new(), longest, left_out: 0 }
    }

    /// Hands over the lines that end in `bytes`.
    pub fn feed(&mut self, bytes: &[u8], on_line: &mut impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = part.ends_with(b"\n");
            let text = &part[..part.len() - usize::from(ended)];
            let taken = text.len().min(self.longest - self.rest.len());
            self.rest.extend_from_slice(&text[..taken]);
            self.left_out += text.len() - taken;
            if ended {
                self.rest.push(b'\n');
                self.end(on_line);
            }
        }
    }

    /// Hands over what has no line end.
    pub fn end(&mut self, on_line: &mut impl FnMut(&str)) {
        if !self.rest.is_empty() {
            let text = String::from_utf8_lossy(&self.rest);
            let line = text.trim_end_matches(['\n', '\r']);
            match self.left_out {
                0 => on_line(line),
                more => on_line(&format!("{line} … and {more} bytes more on this line")),
            }
            self.rest.clear();
            self.left_out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    fn told(script: &str, stdin: &str, patience: Patience) -> (Option<i32>, usize, String) {
        let (mut size, mut last) = (0, Vec::new());
        let child = Child::start(&duct::cmd!("sh", "-c", script).unchecked(), Some(stdin), true).unwrap();
        let status = child.wait(
            patience,
            || true,
            |_, bytes| {
                size += bytes.len();
                last = bytes.to_vec();
            },
        );
        (status.unwrap().code(), size, String::from_utf8_lossy(&last).into_owned())
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_comes_out() {
        let text = "x".repeat(1 << 20);
        assert_eq!(told("cat", &text, Patience::default()).1, 1 << 20);
        let unread = told("exec <&-; echo done; exit 3", &text, Patience::default());
        assert_eq!(unread, (Some(3), 5, "done\n".into()));
    }

    #[test]
    fn who_talks_on_is_not_listened_to_for_ever() {
        let patient = Patience { silence: LONG, last_words: LONG };
        let (code, size, _) = told("{ for i in 1 2 3 4 5 6 7 8 9 0; do echo $i; sleep 0.1; done; } & exit 4", "", patient);
        assert_eq!((code, size), (Some(4), 20), "its last words are heard");
        let silent = Patience { silence: Duration::ZERO, ..patient };
        assert_eq!(told("sleep 60 & exit 5", "", silent).0, Some(5));
        let hurried = Patience { last_words: Duration::from_millis(10), ..patient };
        // It ends once nobody reads.
        let (code, ..) = told("{ while echo x; do sleep 0.1; done; } & exit 6", "", hurried);
        assert_eq!(code, Some(6));
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let (mut lines, mut all) = (Lines::new(3), Vec::new());
        let mut on_line = |line: &str| all.push(line.to_owned());
        for part in ["a", "b\r\n\nc", "\n12", "345", "67\nd"] {
            lines.feed(part.as_bytes(), &mut on_line);
        }
        lines.end(&mut on_line);
        assert_eq!(all, ["ab", "", "c", "123 … and 4 bytes more on this line", "d"]);
    }
}
