//! fio on the Linux host: what it shall do, and what it says that it did.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Blocks of the first `mib` MiB are written in a random order, at most once each, then all of these are read and their checksums
/// compared. (Measured with fio 3.33: with pieces of these lengths it leaves out almost half of them.)
pub fn verify(target: &str, mib: u32, seed: u64) -> String {
    verify_pieces(target, mib, "4k-12k", seed)
}

/// The same in pieces of such lengths: "512-9k".
pub fn verify_pieces(target: &str, mib: u32, lengths: &str, seed: u64) -> String {
    format!(
        "fio --name=verify --filename={target} --size={mib}m --rw=randwrite --bs={lengths} --ioengine=libaio --direct=1 --iodepth=8 \
         --verify=crc32c --verify_fatal=1 --randseed={seed} --output-format=json"
    )
}

/// The same in pieces of 4 KiB, each block once, with a pause of 20 ms after eight writes: however fast the target is, the 256 writes
/// of a MiB take 640 ms at least.
pub fn verify_slowly(target: &str, mib: u32, seed: u64) -> String {
    verify_pieces(target, mib, "4k", seed) + " --thinktime=20ms --thinktime_blocks=8"
}

/// A word about a run of [`verify`] that read back all it wrote; otherwise an error. An option that fio ignores would turn the
/// check into nothing.
pub fn verified(said: &str) -> Result<String> {
    let (written, read) = counts(said)?;
    ensure!(written > 0 && read >= written, "fio wrote {written} blocks and read only {read} of them back");
    Ok(format!("{written} writes, {read} verified reads"))
}

/// How many writes and reads fio did.
pub fn counts(said: &str) -> Result<(u64, u64)> {
    let json = said.find('{').map_or("", |start| &said[start..]);
    let result: Value = serde_json::from_str(json).with_context(|| format!("fio answered {said:?}"))?;
    let count = |side: &str| result.pointer(&format!("/jobs/0/{side}/total_ios")).and_then(Value::as_u64);
    count("write").zip(count("read")).with_context(|| format!("fio reports no counts: {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::verified;

    /// Goal: a run that read nothing back is no success, and one that wrote nothing neither.
    #[test]
    fn what_was_written_was_read() {
        let said = |written: u64, read: u64| {
            format!(
                "note\n{{\"jobs\":[{{\"write\":{{\"total_ios\":{written}}},\"read\":{{\"total_ios\":{read}}}}}]}}"
            )
        };
        assert_eq!(verified(&said(3, 3)).expect("all read"), "3 writes, 3 verified reads");
        assert!(verified(&said(3, 2)).is_err());
        assert!(verified(&said(0, 0)).is_err());
        assert!(verified("no").is_err());
    }
}
