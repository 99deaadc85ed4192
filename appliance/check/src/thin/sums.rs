//! Data against their checksums. In a region that is not dirty the page agrees with every block that a map reaches, or does not
//! know it: its checksum is 0, or the page is blank or another pool's.

use super::{Check, Depth, is_blank};
use crate::finding::{Place, SumsProblem};
use crate::medium::Fault;
use ondisk::LoadError;
use ondisk::thin::{Au, Region, SumPage, data_checksum};

/// The page that was read last.
#[derive(Debug, Default)]
pub(super) struct LastPage(Option<(Region, Vec<u32>)>);

impl Check<'_> {
    /// Compares blocks of a unit; `place` is where a volume has them.
    pub(super) fn compare_data(&mut self, au: Au, mask: u16, place: Place, last: &mut LastPage) {
        let Some(region) = self.layout.region_of(au) else { return };
        if self.depth == Depth::Metadata || self.dirty.contains(region) {
            return;
        }
        if last.0.as_ref().is_none_or(|(of, _)| *of != region) {
            last.0 = Some((region, self.page(region)));
        }
        let Some((_, sums)) = last.0.as_ref() else { return };
        let sums = sums.iter().skip(Region::place_of(au)).zip(0..u16::BITS);
        for (sum, block) in sums {
            if *sum == 0 || mask.checked_shr(block).unwrap_or(0) & 1 == 0 {
                continue;
            }
            let at = au.block(block);
            let block = u64::from(block);
            let problem = match self.fetch(at) {
                Ok(bytes) if data_checksum(&bytes) == *sum => continue,
                Ok(_) => SumsProblem::DataDamaged { block },
                Err(fault) => SumsProblem::DataUnreadable { block, fault },
            };
            self.found(problem, place.at(at));
        }
    }

    /// The checksums of a region; none if the page does not know any.
    fn page(&mut self, region: Region) -> Vec<u32> {
        let Some(at) = self.layout.sums_at(region) else { return Vec::new() };
        let owner = self.owner(at.member);
        let found = self
            .fetch(at)
            .and_then(|bytes| Ok(SumPage::decode(&bytes, at.lba, owner)?.collect::<Vec<u32>>()));
        found.unwrap_or_else(|fault| {
            if !is_blank(&fault) && fault != Fault::Load(LoadError::NotOurs) {
                let problem = SumsProblem::PageDamaged { region: region.0, fault };
                self.found(problem, Place::block(at));
            }
            Vec::new()
        })
    }
}
