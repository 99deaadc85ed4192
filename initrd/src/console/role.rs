//! The process `init console TTY`: one console device, from the first key to the next silence.

use super::command::{Command, parse};
use super::editor::{Editor, Event};
use super::pages::{self, EngineFacts, NodeFacts};
use super::{log, table};
use crate::clock::uptime_ms;
use crate::journal::busy_file;
use crate::limits::{CONSOLE_IDLE, LOG_LINES_MAX};
use crate::service_log::error;
use crate::sys;
use bus::{EngineClient, InitClient};
use control::ControlError;
use nix::sys::termios::{ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout};

const PROMPT: &str = "ironbay> ";
/// Between two looks at the node's address, for the banner.
const BANNER_LOOK: Duration = Duration::from_secs(1);
/// The banner comes without an address after this time.
const BANNER_PATIENCE: Duration = Duration::from_secs(30);
/// A device that takes no bytes for so long has no terminal behind it; the output is dropped.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Runs until the device is gone.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let [tty] = arguments else {
        error("the console needs one device", "usage: init console ttyS0");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            error(&format!("the console on {tty} cannot start: {e}"), "");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(tty)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error(&format!("the console on {tty} ended: {e}"), "");
            ExitCode::FAILURE
        }
    }
}

async fn serve(tty: &str) -> io::Result<()> {
    let mut console = Console {
        device: sys::watch(open(tty)?)?,
        busy: busy_file(tty),
        init: InitClient::at(bus::INIT_SOCKET),
        engine: EngineClient::at(bus::ENGINE_SOCKET),
    };
    loop {
        let (editor, bytes) = console.silence().await?;
        // Without the file init's lines go between ours: ugly, not wrong.
        let _ = File::create(&console.busy);
        let result = console.talk(editor, bytes).await;
        // It may be gone already; init removes it too.
        let _ = std::fs::remove_file(&console.busy);
        result?;
    }
}

/// Opens the device for typing: no echo and no editing by the kernel, line ends made for terminals.
fn open(tty: &str) -> io::Result<File> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    let path = Path::new("/dev").join(tty);
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut settings = tcgetattr(&file)?;
    settings.input_flags.remove(
        InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IGNCR | InputFlags::IXON | InputFlags::ISTRIP,
    );
    settings
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
    settings.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
    // No modem lines: a terminal server may not drive them.
    settings.control_flags.insert(ControlFlags::CLOCAL | ControlFlags::CREAD);
    tcsetattr(&file, SetArg::TCSANOW, &settings)?;
    Ok(file)
}

struct Console {
    device: AsyncFd<File>,
    busy: PathBuf,
    init: InitClient,
    engine: EngineClient,
}

/// What is asked before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirm {
    Reboot,
    PowerOff,
}

impl Console {
    /// The plain log: waits for a key; prints the banner when the node has an address, and when that changes. Gives what was typed
    /// with that key: a program types faster than we look.
    async fn silence(&self) -> io::Result<(Editor, Vec<u8>)> {
        let began = Instant::now();
        let mut editor = Editor::default();
        let mut shown: Option<String> = None;
        loop {
            let look = Instant::now() + BANNER_LOOK;
            let mut buffer = [0; 64];
            tokio::select! {
                read = self.read(&mut buffer) => {
                    let length = read?;
                    if let Some(rest) = editor.wakes(buffer.get(..length).unwrap_or_default()) {
                        return Ok((editor, rest.to_vec()));
                    }
                }
                () = sleep_until(look) => {
                    let is_late = began.elapsed() >= BANNER_PATIENCE;
                    if let Some(banner) = self.banner(is_late).await && shown.as_ref() != Some(&banner) {
                        self.write(&banner).await?;
                        shown = Some(banner);
                    }
                }
            }
        }
    }

    /// The banner, if init answers and there is an address or no more patience.
    async fn banner(&self, is_late: bool) -> Option<String> {
        let network = self.init.network().await.ok()?;
        if pages::first_address(&network).is_none() && !is_late {
            return None;
        }
        let (version, hostname) = (self.init.version().await.ok()?, self.init.hostname().await.ok()?);
        Some(pages::banner(&version, &hostname, &network))
    }

    /// A conversation: ends with `quit` or with silence.
    async fn talk(&mut self, mut editor: Editor, mut bytes: Vec<u8>) -> io::Result<()> {
        let mut confirm = None;
        self.write("\nIronbay console. Type `help` for the commands.\n").await?;
        self.write(PROMPT).await?;
        self.write(editor.line()).await?;
        loop {
            for byte in std::mem::take(&mut bytes) {
                let mut echo = String::new();
                let event = editor.on_byte(byte, &mut echo);
                self.write(&echo).await?;
                match event {
                    None => continue,
                    Some(Event::Cancel) => confirm = None,
                    Some(Event::Line(line)) => {
                        if !self.on_line(&line, &mut confirm).await? {
                            return Ok(());
                        }
                    }
                }
                self.write(if confirm.is_some() { "confirm> " } else { PROMPT }).await?;
            }
            let mut buffer = [0; 64];
            match timeout(CONSOLE_IDLE, self.read(&mut buffer)).await {
                Ok(length) => bytes.extend(buffer.get(..length?).unwrap_or_default()),
                Err(_) => {
                    self.write("\n(nobody types: the log goes on; press Enter for the console)\n").await?;
                    return Ok(());
                }
            }
        }
    }

    /// Carries out a line; `false` ends the conversation.
    async fn on_line(&self, line: &str, confirm: &mut Option<Confirm>) -> io::Result<bool> {
        if let Some(what) = confirm.take() {
            let text = self.confirmed(line, what).await;
            self.write(&text).await?;
            return Ok(true);
        }
        let command = match parse(line) {
            Ok(command) => command,
            Err(problem) => {
                self.write(&format!("{problem}\n")).await?;
                return Ok(true);
            }
        };
        let text = match command {
            Command::Nothing => String::new(),
            Command::Quit => {
                self.write("(the log goes on; press Enter for the console)\n").await?;
                return Ok(false);
            }
            Command::Reboot | Command::PowerOff => {
                let what = if command == Command::Reboot { Confirm::Reboot } else { Confirm::PowerOff };
                *confirm = Some(what);
                self.question(what).await
            }
            Command::Help => pages::help(),
            Command::Log { lines } => {
                log::tail(lines.min(LOG_LINES_MAX)).unwrap_or_else(|e| format!("{e}\n"))
            }
            Command::Status
            | Command::Drives
            | Command::Volumes
            | Command::Pools
            | Command::Network
            | Command::Hosts
            | Command::Phases
            | Command::Services => self.page(command).await.unwrap_or_else(|e| pages::failure(&e)),
        };
        self.write(&text).await?;
        Ok(true)
    }

    async fn page(&self, command: Command) -> Result<String, ControlError> {
        Ok(match command {
            Command::Status => pages::status(&self.node_facts().await?, &self.engine_facts().await),
            Command::Drives => {
                pages::drives(&self.engine.drives().await?, &self.engine.pools().await.unwrap_or_default())
            }
            Command::Volumes => pages::volumes(&self.engine.volumes().await?),
            Command::Pools => pages::pools(&self.engine.pools().await?),
            Command::Network => pages::network(&self.init.network().await?),
            Command::Hosts => pages::hosts(&self.engine.sessions().await?),
            Command::Phases => pages::phases(&self.init.phases().await?),
            Command::Services => pages::services(&self.init.services().await?),
            Command::Nothing
            | Command::Log { .. }
            | Command::Reboot
            | Command::PowerOff
            | Command::Help
            | Command::Quit => String::new(),
        })
    }

    async fn node_facts(&self) -> Result<NodeFacts, ControlError> {
        Ok(NodeFacts {
            version: self.init.version().await?,
            hostname: self.init.hostname().await?,
            is_insecure: self.init.is_insecure().await?,
            uptime_ms: uptime_ms(),
            network: self.init.network().await?,
            phases: self.init.phases().await?,
            services: self.init.services().await?,
        })
    }

    async fn engine_facts(&self) -> Result<EngineFacts, ControlError> {
        Ok(EngineFacts {
            engine: self.engine.status().await?,
            drives: self.engine.drives().await?,
            pools: self.engine.pools().await?,
            volumes: self.engine.volumes().await?,
            sessions: self.engine.sessions().await?,
        })
    }

    async fn question(&self, what: Confirm) -> String {
        let hostname = self.init.hostname().await.unwrap_or_default();
        let word = if what == Confirm::Reboot { "restarts" } else { "switches off" };
        let sessions = match self.engine.sessions().await {
            Ok(sessions) if sessions.is_empty() => "No host is connected.".to_owned(),
            Ok(sessions) => format!("Connected controllers of hosts that will wait: {}.", sessions.len()),
            Err(_) => "The engine does not answer.".to_owned(),
        };
        let hostname = table::plain(&hostname);
        format!("This {word} the node. {sessions}\nType the host name ({hostname}) or `yes` to go on:\n")
    }

    async fn confirmed(&self, line: &str, what: Confirm) -> String {
        let hostname = self.init.hostname().await.unwrap_or_default();
        let answer = line.trim();
        if answer != "yes" && (hostname.is_empty() || answer != hostname) {
            return "not confirmed, nothing is done\n".to_owned();
        }
        let result = match what {
            Confirm::Reboot => self.init.reboot("asked for at the console").await,
            Confirm::PowerOff => self.init.power_off("asked for at the console").await,
        };
        match result {
            Ok(()) => "the node stops its services now\n".to_owned(),
            Err(e) => pages::failure(&e),
        }
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.device.readable().await?;
            match ready.try_io(|device| device.get_ref().read(buffer)) {
                // A terminal that hung up reads as ended, for ever.
                Ok(Ok(0)) => return Err(io::Error::other("the device hung up")),
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes all of a text, unless the device takes nothing for a long time.
    async fn write(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let Ok(ready) = timeout(WRITE_PATIENCE, self.device.writable()).await else { return Ok(()) };
            match ready?.try_io(|device| device.get_ref().write(rest)) {
                Ok(written) => rest = rest.get(written?..).unwrap_or_default(),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}
