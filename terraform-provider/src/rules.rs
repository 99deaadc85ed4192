//! Rules for values, checked before anything is planned. An error completes the sentence "*attribute* …".

use crate::units::bytes;
use control::limits::{
    ALLOWED_HOSTS_MAX, BLOCK_SIZES, NAME_LEN_MAX, NQN_LEN_MAX, POOL_DRIVES_MAX, SIZE_STEP_BYTES,
};
use tf_framework::Value;
use uuid::Uuid;

/// A name of a pool or volume.
pub(crate) fn name(value: &Value) -> Result<(), String> {
    let Some(name) = value.as_str() else { return Ok(()) };
    if control::is_name(name) {
        return Ok(());
    }
    Err(format!("must have 1 to {NAME_LEN_MAX} characters of a-z, 0-9 and '-', not {name:?}"))
}

/// The size of a volume.
pub(crate) fn size(value: &Value) -> Result<(), String> {
    let Some(size) = value.as_u64() else { return Ok(()) };
    if size > 0 && size.is_multiple_of(SIZE_STEP_BYTES) {
        return Ok(());
    }
    let next = size
        .max(1)
        .checked_next_multiple_of(SIZE_STEP_BYTES)
        .unwrap_or(u64::MAX - u64::MAX % SIZE_STEP_BYTES);
    Err(format!("must be a multiple of 1 MiB (1048576 bytes), not {size}; the next is {}", bytes(next)))
}

/// The size of a volume's logical blocks.
pub(crate) fn block_size(value: &Value) -> Result<(), String> {
    match value.as_u64() {
        Some(size) if !BLOCK_SIZES.map(u64::from).contains(&size) => {
            let [small, large] = BLOCK_SIZES;
            Err(format!("must be {small} or {large}, not {size}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A reference to a pool.
pub(crate) fn pool_id(value: &Value) -> Result<(), String> {
    let Some(id) = value.as_str() else { return Ok(()) };
    if Uuid::try_parse(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id) {
        return Ok(());
    }
    Err(format!("must be the id of a pool, such as ironbay_pool.NAME.id, not {id:?}"))
}

/// Serial numbers of the drives of a pool.
pub(crate) fn drives(value: &Value) -> Result<(), String> {
    let Some(drives) = value.as_list() else { return Ok(()) };
    if !(1..=POOL_DRIVES_MAX).contains(&drives.len()) {
        return Err(format!("must name 1 to {POOL_DRIVES_MAX} drives, not {}", drives.len()));
    }
    let is_serial = |serial: &&Value| serial.as_str().is_some_and(|s| !s.is_empty() && s.trim() == s);
    match drives.iter().find(|serial| !is_serial(serial)) {
        Some(serial) => Err(format!("must contain serial numbers, which {serial} is not")),
        None => Ok(()),
    }
}

/// Hosts that may use a volume.
pub(crate) fn hosts(value: &Value) -> Result<(), String> {
    let Some(hosts) = value.as_list() else { return Ok(()) };
    if hosts.len() > ALLOWED_HOSTS_MAX {
        return Err(format!("must name at most {ALLOWED_HOSTS_MAX} hosts, not {}", hosts.len()));
    }
    // One that is not known yet may become one.
    let is_nqn = |host: &&Value| {
        host.as_str().map_or_else(
            || !host.is_known(),
            |nqn| nqn.starts_with("nqn.") && nqn.len() <= NQN_LEN_MAX && !nqn.contains(char::is_whitespace),
        )
    };
    match hosts.iter().find(|host| !is_nqn(host)) {
        Some(host) => Err(format!("must contain NQNs of hosts, which {host} is not")),
        None => Ok(()),
    }
}

/// The address of the API.
pub(crate) fn endpoint(value: &Value) -> Result<(), String> {
    let Some(endpoint) = value.as_str() else { return Ok(()) };
    let wrong = || Err(format!("must be HOST or HOST:PORT, such as \"10.0.0.5:7420\", not {endpoint:?}"));
    let (host, port) = match endpoint.rsplit_once(':') {
        // A colon inside of brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (endpoint, None),
    };
    let is_address = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
        Some(inner) => inner.is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let is_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p != 0));
    if is_address && is_port { Ok(()) } else { wrong() }
}

/// One of a few words.
pub(crate) fn one_of(words: &'static [&'static str]) -> impl Fn(&Value) -> Result<(), String> {
    move |value| match value.as_str() {
        Some(word) if !words.contains(&word) => {
            Err(format!("must be one of {}, not {word:?}", words.join(", ")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: names are refused with the rule and the value in the message.
    #[test]
    fn names() {
        assert_eq!(name(&"db-1".into()), Ok(()));
        assert_eq!(
            name(&"My DB".into()),
            Err("must have 1 to 63 characters of a-z, 0-9 and '-', not \"My DB\"".to_owned())
        );
        assert!(name(&"".into()).is_err());
        assert!(name(&"a".repeat(64).into()).is_err());
    }

    /// Goal: hosts are NQNs, one that is not known yet may become one, and there are not too many.
    #[test]
    fn allowed_hosts() {
        let list = |hosts: &[&str]| Value::List(hosts.iter().map(|&host| host.into()).collect());
        assert_eq!(hosts(&list(&["nqn.2014-08.org:a"])), Ok(()));
        assert_eq!(hosts(&list(&[])), Ok(()));
        assert_eq!(hosts(&Value::List(vec![Value::Unknown])), Ok(()));
        for bad in ["", "host-a", "nqn.a b"] {
            assert!(hosts(&list(&[bad])).is_err(), "{bad:?}");
        }
        assert!(hosts(&list(&["nqn.a"; 257])).is_err());
    }

    /// Goal: a size that is no multiple is refused with the next one that is; the ends of the range do not overflow.
    #[test]
    fn sizes() {
        assert_eq!(size(&(10_u64 << 30).into()), Ok(()));
        assert_eq!(
            size(&1_000_000_000_u64.into()),
            Err("must be a multiple of 1 MiB (1048576 bytes), not 1000000000; the next is 1000341504 bytes (954 MiB)"
                .to_owned())
        );
        assert!(size(&0_u64.into()).is_err_and(|e| e.ends_with("the next is 1048576 bytes (1 MiB)")));
        assert!(size(&u64::MAX.into()).is_err());
    }

    /// Goal: addresses people type are taken, what cannot be one is refused before a connection is tried.
    #[test]
    fn endpoints() {
        for good in ["node", "10.0.0.5", "10.0.0.5:7420", "node-1.lab:1", "[fd00::1]", "[fd00::1]:7420"] {
            assert_eq!(endpoint(&good.into()), Ok(()), "{good}");
        }
        for bad in
            ["", ":7420", "https://node", "node:0", "node:99999", "a b", "[fd00::1", "fd00::1:2", "node:"]
        {
            assert!(endpoint(&bad.into()).is_err(), "{bad}");
        }
    }
}
