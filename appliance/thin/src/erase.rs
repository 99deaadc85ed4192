//! Making a drive blank: before it becomes a drive of a pool, and when the pool is deleted.
//!
//! | order | crash that it prevents |
//! |---|---|
//! | the four homes first, then the rest | a drive whose journal is gone, with a home that calls it a drive of a pool |
//! | both ends before anything is written | old data at an end of the drive, recognised when ours is gone |

use block::{BLOCK_SIZE, BlockDevice, Blocks, IoBuf, Lba, MediaError, Op};
use ondisk::thin::{HOMES, home_of};
use ondisk::{DATA_LBA, TAIL_BLOCKS};
use task::Devices;
use volume::Memory;

/// Nothing of a drive of a pool is recognised after this has ended.
pub(crate) async fn erase<D: BlockDevice>(
    devices: &Devices<D>,
    memory: &Memory<D::Buf>,
) -> Result<(), MediaError> {
    for drive in 0..devices.len() {
        let capacity = devices.with(drive, |d| d.geometry().blocks);
        for home in 0..HOMES {
            let mut buf = memory(BLOCK_SIZE);
            zero(&mut buf);
            // A write, not write zeroes: only writes are sure to be atomic for a block.
            let op = Op::Write { lba: home_of(capacity, home), buf, fua: false };
            devices.run(drive, op).await.result?;
        }
        devices.run(drive, Op::Flush).await.result?;
        let (head, tail) = (DATA_LBA.0.min(capacity.0), TAIL_BLOCKS.0.min(capacity.0));
        for (lba, blocks) in [(0, head), (capacity.0 - tail, tail)] {
            let op = Op::WriteZeroes { lba: Lba(lba), blocks: Blocks(blocks), fua: false };
            devices.run(drive, op).await.result?;
        }
        devices.run(drive, Op::Flush).await.result?;
    }
    Ok(())
}

fn zero<B: IoBuf>(buf: &mut B) {
    buf.as_mut().fill(0);
}
