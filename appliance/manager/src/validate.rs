//! Requests from foreign hands: checked once, completely, into what an engine takes.
//!
//! Each refusal names the field as the API calls it, and what would be right.

use api::v1;
use control::limits::{
    ALLOWED_HOSTS_MAX, BLOCK_SIZE_DEFAULT, BLOCK_SIZES, NAME_LEN_MAX, NQN_LEN_MAX, POOL_DRIVES_MAX,
    SERIAL_LEN_MAX, SIZE_STEP_BYTES,
};
use control::{
    AllowedHosts, ControlError, CreatePool, DeletePool, DeleteVolume, ErrorKind, ResizeVolume,
    SetVolumeHosts, WipeDrive,
};
use uuid::Uuid;

fn wrong(field: &str, message: String, remedy: impl Into<String>) -> ControlError {
    ControlError::new(ErrorKind::InvalidArgument, message).field(field).remedy(remedy)
}

/// Foreign text as it may be repeated: short, and without control characters that would confuse a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_LEN_MAX + 1).flat_map(char::escape_debug).collect();
    if text.chars().nth(NAME_LEN_MAX + 1).is_some() {
        short.push('…');
    }
    short
}

/// The same in quotes, for a message.
pub(crate) fn shown(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// An object's name.
pub(crate) fn name(text: &str) -> Result<String, ControlError> {
    if !control::is_name(text) {
        let remedy = format!("use 1 to {NAME_LEN_MAX} of the characters a to z, 0 to 9 and -");
        return Err(wrong("name", format!("{} is no name", shown(text)), remedy));
    }
    Ok(text.to_owned())
}

/// An id that must be there.
pub(crate) fn id(text: &str) -> Result<Uuid, ControlError> {
    let parsed = Uuid::try_parse(text).ok().filter(|uuid| !uuid.is_nil());
    parsed.ok_or_else(|| {
        let remedy =
            "use a UUID like 0191b1c2-7d3e-4f5a-8b6c-1d2e3f4a5b6c; the list commands show those that exist";
        wrong("id", format!("{} is no id", shown(text)), remedy)
    })
}

/// An id chosen by the client, or a random one.
pub(crate) fn id_or_new(text: &str) -> Result<Uuid, ControlError> {
    if text.is_empty() { Ok(Uuid::new_v4()) } else { id(text) }
}

/// A size of a volume.
pub(crate) fn size_bytes(bytes: u64) -> Result<u64, ControlError> {
    if bytes != 0 && bytes.is_multiple_of(SIZE_STEP_BYTES) {
        return Ok(bytes);
    }
    let remedy = match bytes.max(1).checked_next_multiple_of(SIZE_STEP_BYTES) {
        Some(next) => format!("use a multiple of {SIZE_STEP_BYTES} (1 MiB); the next is {next}"),
        None => format!("use a smaller multiple of {SIZE_STEP_BYTES} (1 MiB)"),
    };
    Err(wrong("size_bytes", format!("{bytes} bytes is no size for a volume"), remedy))
}

/// The size of a volume's logical blocks; not said, it is the default.
pub(crate) fn block_size(bytes: u32) -> Result<u32, ControlError> {
    match bytes {
        0 => Ok(BLOCK_SIZE_DEFAULT),
        bytes if BLOCK_SIZES.contains(&bytes) => Ok(bytes),
        bytes => Err(control::no_block_size(bytes)),
    }
}

/// A request to make a pool.
pub(crate) fn create_pool(request: v1::CreatePoolRequest) -> Result<CreatePool, ControlError> {
    let uuid = id_or_new(&request.id)?;
    let name = name(&request.name)?;
    let serials = request.drive_serials;
    if serials.is_empty() {
        let remedy = "name the serial number of at least one drive; \"ironbay drive list\" shows them";
        return Err(
            wrong("drive_serials", "a pool needs a drive".into(), remedy).object(format!("pool/{name}"))
        );
    }
    if serials.len() > POOL_DRIVES_MAX {
        let remedy = format!("use at most {POOL_DRIVES_MAX} drives in one pool");
        let message = format!("{} drives are too many for a pool", serials.len());
        return Err(wrong("drive_serials", message, remedy).object(format!("pool/{name}")));
    }
    for (index, serial) in serials.iter().enumerate() {
        let field = format!("drive_serials[{index}]");
        check_serial(&field, serial)?;
        if serials.iter().take(index).any(|earlier| earlier == serial) {
            let message = format!("drive {} is named twice", shown(serial));
            return Err(
                wrong(&field, message, "name each drive once").object(format!("drive/{}", plain(serial)))
            );
        }
    }
    Ok(CreatePool {
        uuid,
        name,
        drive_serials: serials,
        overwrite_foreign_data: request.overwrite_foreign_data,
    })
}

/// A serial number of a drive.
fn check_serial(field: &str, serial: &str) -> Result<(), ControlError> {
    let is_serial = !serial.is_empty()
        && serial.len() <= SERIAL_LEN_MAX
        && serial.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if is_serial {
        return Ok(());
    }
    let remedy = "use the serial number as \"ironbay drive list\" shows it";
    Err(wrong(field, format!("{} is no serial number", shown(serial)), remedy))
}

/// A request to wipe a drive.
pub(crate) fn wipe_drive(request: v1::WipeDriveRequest) -> Result<WipeDrive, ControlError> {
    check_serial("serial", &request.serial)?;
    Ok(WipeDrive { serial: request.serial, confirm: request.confirm })
}

/// A request to remove a pool.
pub(crate) fn delete_pool(request: &v1::DeletePoolRequest) -> Result<DeletePool, ControlError> {
    Ok(DeletePool { uuid: id(&request.id)? })
}

/// A request to grow a volume.
pub(crate) fn resize_volume(request: &v1::ResizeVolumeRequest) -> Result<ResizeVolume, ControlError> {
    Ok(ResizeVolume { uuid: id(&request.id)?, size_bytes: size_bytes(request.size_bytes)? })
}

/// A list of hosts, if there is one.
pub(crate) fn allowed_hosts(allowed: Option<v1::AllowedHosts>) -> Result<AllowedHosts, ControlError> {
    let Some(v1::AllowedHosts { nqns }) = allowed else { return Ok(AllowedHosts::default()) };
    if nqns.len() > ALLOWED_HOSTS_MAX {
        let remedy = format!("name at most {ALLOWED_HOSTS_MAX} hosts");
        return Err(wrong(
            "allowed_hosts",
            format!("{} hosts are too many for a volume", nqns.len()),
            remedy,
        ));
    }
    for (index, nqn) in nqns.iter().enumerate() {
        let is_nqn = nqn.starts_with("nqn.")
            && nqn.len() <= NQN_LEN_MAX
            && nqn.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if !is_nqn {
            let remedy =
                "use the NQN that the host's /etc/nvme/hostnqn has: nqn.2014-08.org.nvmexpress:uuid:...";
            return Err(wrong(
                &format!("allowed_hosts[{index}]"),
                format!("{} is no NQN", shown(nqn)),
                remedy,
            ));
        }
    }
    Ok(AllowedHosts { is_listed: true, nqns })
}

/// A request to change the hosts of a volume.
pub(crate) fn set_volume_hosts(request: v1::SetVolumeHostsRequest) -> Result<SetVolumeHosts, ControlError> {
    Ok(SetVolumeHosts { uuid: id(&request.id)?, allowed_hosts: allowed_hosts(request.allowed_hosts)? })
}

/// A request to remove a volume.
pub(crate) fn delete_volume(request: &v1::DeleteVolumeRequest) -> Result<DeleteVolume, ControlError> {
    Ok(DeleteVolume { uuid: id(&request.id)?, force: request.force })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of<T: std::fmt::Debug>(result: Result<T, ControlError>) -> String {
        let error = result.expect_err("it is wrong");
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(!error.remedy.is_empty(), "a remedy for {}", error.message);
        error.field
    }

    /// Goal: names are what the contract says, and nothing else.
    #[test]
    fn names() {
        for good in ["a", "0", "tank-1", &"x".repeat(63)] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", "Tank", "a b", "ä", "a/b", "a\n", &"x".repeat(64), &"x".repeat(1 << 20)] {
            assert_eq!(field_of(name(bad)), "name");
        }
        let long = name(&"\u{1b}".repeat(1 << 20)).expect_err("no name");
        assert!(long.message.len() < 1000 && !long.message.contains('\u{1b}'));
    }

    /// Goal: only whole extents, and the remedy says the next good size.
    #[test]
    fn sizes() {
        assert_eq!(size_bytes(1 << 20), Ok(1 << 20));
        for bad in [0, 1, (1 << 20) + 1, u64::MAX] {
            assert_eq!(field_of(size_bytes(bad)), "size_bytes");
        }
        let error = size_bytes(5_000_000).expect_err("no multiple");
        assert!(error.remedy.contains("5242880"), "{}", error.remedy);
    }

    /// Goal: blocks have one of two sizes, the larger where nobody says; the remedy says both.
    #[test]
    fn block_sizes() {
        assert_eq!((block_size(0), block_size(512), block_size(4096)), (Ok(4096), Ok(512), Ok(4096)));
        for bad in [1, 511, 520, 1024, 4160, 8192, u32::MAX] {
            assert_eq!(field_of(block_size(bad)), "block_size");
        }
        let error = block_size(1024).expect_err("in between");
        assert_eq!(error.to_string(), "a volume cannot have blocks of 1024 bytes. use 512 or 4096");
    }

    /// Goal: an id is a UUID that identifies; the nil UUID stands for nothing.
    #[test]
    fn ids() {
        for bad in ["", "x", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(field_of(id(bad)), "id");
        }
        assert_ne!(id_or_new("").expect("made"), id_or_new("").expect("made"));
    }

    /// Goal: a wrong host is pointed at by its place in the list; an empty list is one, no list is none.
    #[test]
    fn hosts_of_a_volume() {
        let ask = |nqns: &[&str]| {
            allowed_hosts(Some(v1::AllowedHosts { nqns: nqns.iter().map(|&nqn| nqn.to_owned()).collect() }))
        };
        let list = ask(&["nqn.2014-08.org:a", "nqn.2014-08.org:b"]).expect("a good list");
        assert_eq!((list.is_listed, list.nqns.len()), (true, 2));
        assert_eq!(ask(&[]), Ok(AllowedHosts { is_listed: true, nqns: Vec::new() }));
        assert_eq!(allowed_hosts(None), Ok(AllowedHosts::default()));
        let long = format!("nqn.{}", "x".repeat(220));
        for bad in ["", "host-a", "nqn.a b", "nqn.a\n", &long] {
            assert_eq!(field_of(ask(&["nqn.a", bad])), "allowed_hosts[1]", "{bad:?}");
        }
        assert_eq!(field_of(ask(&["nqn.a"; 257])), "allowed_hosts");
    }

    /// Goal: a wrong drive is pointed at by its place in the list.
    #[test]
    fn drives_of_a_pool() {
        let ask = |serials: &[&str]| v1::CreatePoolRequest {
            id: String::new(),
            name: "tank".into(),
            drive_serials: serials.iter().map(|&s| s.to_owned()).collect(),
            overwrite_foreign_data: false,
        };
        assert!(create_pool(ask(&["S0", "S1"])).is_ok());
        assert_eq!(field_of(create_pool(ask(&[]))), "drive_serials");
        assert_eq!(field_of(create_pool(ask(&["S0", ""]))), "drive_serials[1]");
        assert_eq!(field_of(create_pool(ask(&["S0", "S1", "S0"]))), "drive_serials[2]");
        assert_eq!(field_of(create_pool(ask(&["S"; 17]))), "drive_serials");
    }
}
