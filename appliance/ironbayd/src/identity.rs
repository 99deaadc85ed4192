//! What this machine is, the same at every start: from what the kernel knows of its hardware.
//!
//! Nothing is stored for it, because a node has no disk of its own; and nothing is asked of the drives, because they may be
//! moved to another machine while this one lives on.

use std::fs;
use std::path::Path;
use uuid::Uuid;

/// The firmware's UUID of the machine; else one made of the lowest address of its network cards; else nil.
pub(crate) fn of_this_machine() -> Uuid {
    of(Path::new("/sys/class"))
}

fn of(class: &Path) -> Uuid {
    let firmware = fs::read_to_string(class.join("dmi/id/product_uuid"));
    firmware.ok().and_then(|text| from_firmware(&text)).or_else(|| from_cards(class)).unwrap_or_default()
}

/// Some firmware has no UUID and fills the field.
fn from_firmware(text: &str) -> Option<Uuid> {
    let uuid: Uuid = text.trim().parse().ok()?;
    (!uuid.is_nil() && !uuid.is_max()).then_some(uuid)
}

/// Cards have a device; bridges and tunnels, which come and go, have none.
fn from_cards(class: &Path) -> Option<Uuid> {
    let cards = fs::read_dir(class.join("net")).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let addresses = cards.filter(|card| card.join("device").exists()).filter_map(|card| {
        let text = fs::read_to_string(card.join("address")).ok()?;
        u64::from_str_radix(&text.trim().replace(':', ""), 16).ok().filter(|address| *address != 0)
    });
    addresses.min().map(|address| Uuid::from_u128(u128::from(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(class: &Path, path: &str, text: &str) {
        let path = class.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Goal: firmware first, then the lowest card, then nothing; what is no identity is not taken for one.
    #[test]
    fn the_first_source_that_knows() {
        let dir = tempfile::tempdir().expect("a directory");
        let class = dir.path();
        assert_eq!(of(class), Uuid::nil());
        write(class, "net/br0/address", "00:00:00:00:00:01\n");
        assert_eq!(of(class), Uuid::nil());
        for (card, address) in [("eth0", "52:54:00:12:34:57\n"), ("eth1", "52:54:00:12:34:56\n")] {
            write(class, &format!("net/{card}/address"), address);
            write(class, &format!("net/{card}/device/vendor"), "0x8086\n");
        }
        assert_eq!(of(class), Uuid::from_u128(0x5254_0012_3456));
        write(class, "dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n");
        assert_eq!(of(class), Uuid::from_u128(0x5254_0012_3456));
        write(class, "dmi/id/product_uuid", "4C4C4544-0051-3510-8052-b4c04f4a3732\n");
        assert_eq!(of(class), Uuid::from_u128(0x4c4c_4544_0051_3510_8052_b4c0_4f4a_3732));
    }
}
