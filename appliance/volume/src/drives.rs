//! The drives of a pool, by member: which device each is, whose blocks it holds, and where things lie.

use block::BlockDevice;
use ondisk::thin::{Address, Au, HOMES, HomeSlot, Member, PoolLayout, Region, ThinIdentity, ThinLayout};
use task::Devices;

/// A drive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    /// What its blocks carry.
    pub(crate) identity: ThinIdentity,
    /// Its place in the list of devices.
    pub(crate) device: usize,
    pub(crate) is_volatile: bool,
}

impl Drive {
    pub(crate) fn new<D: BlockDevice>(devices: &Devices<D>, device: usize, identity: ThinIdentity) -> Self {
        let is_volatile = devices.with(device, |d| d.geometry().is_volatile);
        Self { identity, device, is_volatile }
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Drives {
    pub(crate) all: Vec<Drive>,
    pub(crate) layout: PoolLayout,
}

impl Drives {
    fn drive(&self, member: Member) -> &Drive {
        &self.all[usize::from(member.0)]
    }

    /// Whose blocks lie on a drive.
    pub(crate) fn owner(&self, member: Member) -> ThinIdentity {
        self.drive(member).identity
    }

    pub(crate) fn device(&self, member: Member) -> usize {
        self.drive(member).device
    }

    /// Whether anything that was written may need a flush to be durable.
    pub(crate) fn is_volatile(&self) -> bool {
        self.all.iter().any(|drive| drive.is_volatile)
    }

    /// The region of a unit that is there.
    pub(crate) fn region_of(&self, au: Au) -> Region {
        self.layout.region_of(au).expect("units are checked when they are loaded")
    }

    /// The page with the checksums of a region that is there.
    pub(crate) fn sums_at(&self, region: Region) -> Address {
        self.layout.sums_at(region).expect("regions are checked when they are loaded")
    }

    /// Every home of every drive.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (Member, u8)> + '_ {
        self.layout.members().flat_map(|(member, _)| (0..HOMES).map(move |home| (member, home)))
    }

    fn places(&self, member: Member) -> &ThinLayout {
        self.layout.member(member).expect("a member of the pool")
    }

    /// The place of a superblock.
    pub(crate) fn home_at(&self, member: Member, home: u8) -> Address {
        Address { member, lba: self.places(member).home_lba(home) }
    }

    /// The place of a root.
    pub(crate) fn root_at(&self, member: Member, slot: HomeSlot) -> Address {
        Address { member, lba: self.places(member).root_lba(slot) }
    }
}
