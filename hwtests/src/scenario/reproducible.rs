//! The image is built twice, the second time with programs compiled anew in another directory: same bytes.

use crate::parts::Parts;
use crate::steps::Steps;
use anyhow::{Context, Result, ensure};
use image::binaries::{self, NodePrograms, target_dir};
use image::{debian, kit, lock};
use std::path::Path;

/// The scenario `reproducible`.
pub fn run(parts: &Parts, _seed: u64) -> Result<()> {
    let steps = Steps::new("reproducible ");
    let again = target_dir().join("lab/again");
    // A directory of an earlier run would make this a comparison of a build with itself.
    if again.exists() {
        std::fs::remove_dir_all(&again).with_context(|| format!("cannot remove {}", again.display()))?;
    }
    let programs = steps.step("our programs, compiled in another directory", || {
        let built = binaries::build_in(&again.join("target"))?;
        Ok((NodePrograms::checked(built.init, built.ironbayd)?, String::new()))
    })?;
    steps.step("the kit, built again", || {
        let cache = debian::cache_dir()?;
        let fetched = lock::fetch_kernel(&debian::workspace().join("image/debian.lock"), &cache, false)?;
        kit::build(&again.join("kit"), &fetched, &kit::unpack_kernel(&fetched)?, &programs, &[])?;
        Ok(((), String::new()))
    })?;
    steps.step("both kits have the same bytes", || {
        let (one, two) = (sums(&parts.kit)?, sums(&again.join("kit"))?);
        ensure!(
            one == two,
            "the kits differ:\n{one}\n{two}\nsecond kit: {} (diffoscope compares them)",
            again.display()
        );
        Ok(((), format!("\n{}", one.trim_end())))
    })?;
    std::fs::remove_dir_all(&again).with_context(|| format!("cannot remove {}", again.display()))
}

fn sums(kit: &Path) -> Result<String> {
    let path = kit.join("SHA256SUMS");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
