//! The commands: each one or two calls of the API, then something to print.

use super::args::{Arguments, Command, DriveCommand, Output, PoolCommand, SessionCommand, VolumeCommand};
use super::{Failure, check, io, json, text};
use api::v1::{get_pool_request::Key as PoolKey, get_volume_request::Key as VolumeKey};
use api::{Client, Timeouts, v1};
use control::{ControlError, ErrorKind};
use serde_json::{Value, json};
use std::io::Write;
use uuid::Uuid;

/// What a command says when it is done.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
    json: Value,
    /// Exit code.
    code: u8,
}

impl Answer {
    pub(crate) fn new(text: String, json: Value) -> Self {
        Self::with_code(text, json, 0)
    }

    pub(crate) fn with_code(text: String, json: Value, code: u8) -> Self {
        Self { text, json, code }
    }

    fn list<T>(items: &[T], text: impl Fn(&[T]) -> String, json: impl Fn(&T) -> Value) -> Self {
        Self::new(text(items), items.iter().map(json).collect())
    }

    fn print(&self, output: Output) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match output {
            Output::Table => stdout.write_all(self.text.as_bytes())?,
            Output::Json => writeln!(stdout, "{}", self.json)?,
        }
        stdout.flush()
    }
}

/// Runs one command and prints its answer; gives the exit code.
pub(crate) fn execute(arguments: Arguments) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ControlError::new(ErrorKind::Internal, format!("cannot start: {error}")))?;
    let output = arguments.output;
    let (endpoint, limit) = (&arguments.endpoint, arguments.timeout);
    let answer = match &arguments.command {
        Command::Check(paths) => check::execute(paths)?,
        Command::Io(io) => {
            let place = runtime.block_on(io::place(io, endpoint, timeouts(limit)))?;
            io::execute(io, &place, limit.unwrap_or(api::limits::ASK_TIMEOUT))?
        }
        Command::Node | Command::Drive(_) | Command::Pool(_) | Command::Volume(_) | Command::Session(_) => {
            runtime.block_on(async {
                let client = Client::connect(endpoint, timeouts(limit)).await?;
                call(&client, arguments.command).await
            })?
        }
    };
    let code = answer.code;
    match answer.print(output) {
        // Whoever reads us has seen enough: `ironbay volume list | head -1`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(code),
        result => result
            .map(|()| code)
            .map_err(|error| ControlError::new(ErrorKind::Internal, format!("cannot print: {error}")).into()),
    }
}

fn timeouts(limit: Option<std::time::Duration>) -> Timeouts {
    limit.map_or_else(Timeouts::default, |limit| Timeouts { ask: limit, change: limit })
}

async fn call(client: &Client, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Node => {
            let node = client.node().await?;
            Ok(Answer::new(text::node(&node), json::node(&node)))
        }
        Command::Drive(DriveCommand::List) => {
            Ok(Answer::list(&client.drives().await?, text::drives, json::drive))
        }
        Command::Drive(DriveCommand::Wipe { serial, confirm }) => {
            let drive = client.wipe_drive(v1::WipeDriveRequest { serial, confirm }).await?;
            Ok(Answer::new(format!("drive {} is blank\n", drive.serial), json::drive(&drive)))
        }
        Command::Session(SessionCommand::List) => {
            Ok(Answer::list(&client.sessions().await?, text::sessions, json::session))
        }
        Command::Pool(command) => call_pool(client, command).await,
        Command::Volume(command) => call_volume(client, command).await,
        Command::Io(_) | Command::Check(_) => {
            Err(ControlError::new(ErrorKind::Internal, "this is no call of the API").into())
        }
    }
}

async fn call_pool(client: &Client, command: PoolCommand) -> Result<Answer, Failure> {
    let shown = |pool: v1::Pool| Answer::new(text::pool(&pool), json::pool(&pool));
    match command {
        PoolCommand::List => Ok(Answer::list(&client.pools().await?, text::pools, json::pool)),
        PoolCommand::Create { name, drives, overwrite_foreign_data, id } => {
            let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
            let request = v1::CreatePoolRequest { id, name, drive_serials: drives, overwrite_foreign_data };
            Ok(shown(client.create_pool(request).await?))
        }
        PoolCommand::Get { pool } => Ok(shown(pool_named(client, pool).await?)),
        PoolCommand::Delete { pool } => {
            let v1::Pool { id, name, .. } = pool_named(client, pool).await?;
            client.delete_pool(v1::DeletePoolRequest { id: id.clone() }).await?;
            Ok(Answer::new(format!("pool {name} is deleted\n"), json!({ "deleted": id })))
        }
    }
}

async fn call_volume(client: &Client, command: VolumeCommand) -> Result<Answer, Failure> {
    let shown = |volume: v1::Volume| Answer::new(text::volume(&volume), json::volume(&volume));
    match command {
        VolumeCommand::List => Ok(Answer::list(&client.volumes().await?, text::volumes, json::volume)),
        VolumeCommand::Create { name, pool, size, block_size, allow_hosts, id } => {
            let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
            let allowed_hosts = (!allow_hosts.is_empty()).then_some(v1::AllowedHosts { nqns: allow_hosts });
            let request =
                v1::CreateVolumeRequest { id, name, pool, size_bytes: size, block_size, allowed_hosts };
            Ok(shown(client.create_volume(request).await?))
        }
        VolumeCommand::Get { volume } => Ok(shown(volume_named(client, volume).await?)),
        VolumeCommand::Resize { volume, size } => {
            let id = volume_named(client, volume).await?.id;
            Ok(shown(client.resize_volume(v1::ResizeVolumeRequest { id, size_bytes: size }).await?))
        }
        VolumeCommand::Hosts { volume, allow_hosts, nobody: _, no_list } => {
            let id = volume_named(client, volume).await?.id;
            let allowed_hosts = (!no_list).then_some(v1::AllowedHosts { nqns: allow_hosts });
            Ok(shown(client.set_volume_hosts(v1::SetVolumeHostsRequest { id, allowed_hosts }).await?))
        }
        VolumeCommand::Delete { volume, force } => {
            let v1::Volume { id, name, .. } = volume_named(client, volume).await?;
            client.delete_volume(v1::DeleteVolumeRequest { id: id.clone(), force }).await?;
            Ok(Answer::new(format!("volume {name} is deleted\n"), json!({ "deleted": id })))
        }
    }
}

/// What people type may be an id or a name; a name may look like an id.
async fn pool_named(client: &Client, text: String) -> Result<v1::Pool, Failure> {
    if Uuid::try_parse(&text).is_ok_and(|id| !id.is_nil()) {
        match client.pool(PoolKey::Id(text.clone())).await.map_err(Failure::from) {
            Err(failure) if failure.is_not_found() => {}
            found => return found,
        }
    }
    Ok(client.pool(PoolKey::Name(text)).await?)
}

/// As [`pool_named`].
pub(crate) async fn volume_named(client: &Client, text: String) -> Result<v1::Volume, Failure> {
    if Uuid::try_parse(&text).is_ok_and(|id| !id.is_nil()) {
        match client.volume(VolumeKey::Id(text.clone())).await.map_err(Failure::from) {
            Err(failure) if failure.is_not_found() => {}
            found => return found,
        }
    }
    Ok(client.volume(VolumeKey::Name(text)).await?)
}
