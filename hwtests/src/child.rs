//! Child processes that never outlive us, and commands with a limit.
//!
//! UNSAFETY: `PR_SET_PDEATHSIG` must be set between fork and exec, and std offers that moment only through the unsafe
//! `pre_exec`. Without it a killed test would leave machines behind that hold gigabytes.

use crate::limits::LOOK_AGAIN;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child process that is killed when this value is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Tied {
    child: Child,
    name: String,
}

impl Tied {
    /// Starts a process. It gets a process group of its own, so that Ctrl-C reaches only us and we end it in order.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = tie(command)
            .spawn()
            .with_context(|| format!("cannot start {name}; scripts/setup.sh installs what the lab needs"))?;
        Ok(Self { child, name })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there; otherwise how it ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("{} ended: {status}", self.name),
            Err(error) => bail!("cannot look after {}: {error}", self.name),
        }
    }

    /// Whether it ended by a fault of its own: an assertion or a bad address.
    pub fn has_crashed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.try_wait().ok().flatten();
        let signal = status.and_then(|status| status.signal());
        signal.is_some_and(|signal| [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&signal))
    }

    /// Sends a signal that asks for an end, and waits for it. Returns the exit code.
    pub fn end(&mut self, signal: Signal, limit: Duration) -> Result<i32> {
        let id = i32::try_from(self.child.id()).context("process numbers are small")?;
        let started = Instant::now();
        kill(Pid::from_raw(id), signal).with_context(|| format!("cannot send {signal} to {}", self.name))?;
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a command")? {
                return Ok(exit_code(status));
            }
            if started.elapsed() > limit {
                bail!("{} did not end within {} s after {signal}", self.name, limit.as_secs());
            }
            std::thread::sleep(LOOK_AGAIN / 5);
        }
    }

    /// SIGKILL, and gone when this returns: for a machine, the power cable pulled.
    pub fn kill(&mut self) {
        // Both fail only when the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 + signal number if a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Finished {
    /// The output of a command that ended well; otherwise an error with all it said.
    pub fn ok(self, what: &str) -> Result<String> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        bail!("{what} failed with exit code {}:\n{}\n{}", self.code, self.stdout.trim(), self.stderr.trim())
    }
}

/// Runs a command to its end; after the limit it is killed and that is an error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tied = Tied::start(command)?;
    let out = collect(tied.child.stdout.take());
    let err = collect(tied.child.stderr.take());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = tied.child.try_wait().context("cannot wait for a command")? {
            break status;
        }
        if started.elapsed() > limit {
            tied.kill();
            let said = err.join().unwrap_or_default();
            bail!("{} did not end within {} s; it said: {}", shown(command), limit.as_secs(), said.trim());
        }
        std::thread::sleep(LOOK_AGAIN / 5);
    };
    Ok(Finished {
        code: exit_code(status),
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
    })
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The command line, for messages.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe means that the child is gone; what it wrote until then is what there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Makes a command die with the calling thread.
#[expect(unsafe_code, reason = "see UNSAFETY in the header")]
fn tie(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    let parent = std::process::id();
    let bind = move || {
        // SAFETY: prctl with these arguments changes only a flag of the calling process.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // Our threads block the signals that one thread takes (see `interrupt`); a child must hear them.
        SigSet::empty().thread_set_mask()?;
        // The parent may have gone between fork and prctl; then the signal would never come.
        if std::os::unix::process::parent_id() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls and allocates nothing, so it may run between fork and exec.
    unsafe { command.pre_exec(bind) }
}

#[cfg(test)]
mod tests {
    use super::{Tied, run};
    use nix::sys::signal::{SigSet, Signal};
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// Goal: output, complaints and the exit code come back.
    #[test]
    fn reports_how_a_command_ended() {
        let finished =
            run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(20))
                .expect("it runs");
        assert_eq!(
            (finished.code, finished.stdout.as_str(), finished.stderr.as_str()),
            (3, "out\n", "err\n")
        );
        let refusal = finished.ok("the test").expect_err("exit code 3").to_string();
        assert!(refusal.contains("exit code 3") && refusal.contains("err"), "{refusal}");
    }

    /// Goal: a command that hangs is ended at its limit, and named.
    #[test]
    fn a_hanging_command_is_ended() {
        let started = Instant::now();
        let refusal =
            run(Command::new("sleep").arg("1000"), Duration::from_millis(100)).expect_err("too long");
        assert!(refusal.to_string().contains("sleep 1000 did not end"), "{refusal}");
        assert!(started.elapsed() < Duration::from_secs(100));
    }

    /// Goal: a process that is asked to end hears it, although our threads block the signal, and tells its exit code; one that
    /// will not end is an error.
    #[test]
    fn an_end_is_asked_for() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.thread_block().expect("a valid signal");
        let limit = Duration::from_secs(20);
        let mut sleeps = Tied::start(Command::new("sleep").arg("1000")).expect("sleep exists");
        assert_eq!(sleeps.end(Signal::SIGTERM, limit).expect("it ends"), 128 + 15);
        let mut stays = Tied::start(Command::new("sleep").arg("1000")).expect("sleep exists");
        let refusal = stays.end(Signal::SIGCONT, Duration::ZERO).expect_err("it goes on").to_string();
        assert!(refusal.contains("sleep did not end"), "{refusal}");
    }

    /// Goal: no machine outlives the thread that started it, even if nobody dropped it in order.
    #[test]
    fn a_child_dies_with_its_thread() {
        let id = std::thread::spawn(|| {
            let tied = Tied::start(Command::new("sleep").arg("1000")).expect("sleep exists");
            let id = tied.id();
            std::mem::forget(tied);
            id
        })
        .join()
        .expect("no panic");
        let state = format!("/proc/{id}/stat");
        let started = Instant::now();
        // Nobody reaps it, so it stays as a zombie: state Z.
        while std::fs::read_to_string(&state).is_ok_and(|text| !text.contains(") Z")) {
            assert!(started.elapsed() < Duration::from_secs(20), "the child is still alive");
            std::thread::yield_now();
        }
    }
}
