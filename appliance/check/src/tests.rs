//! Tests of the check: a pool that the engine made, and what is found after each of many damages.
//!
//! The counterpart is in `volume`: its tests ask the check after every power cut and every import of every seed.

mod attributes;
mod bitmap;
mod image;
mod journal;
mod maps;
mod places;
mod pool;
mod served;
mod sums;
mod tables;

use image::Image;

/// A damage, and the codes of all findings that it gives, each once, in the order in which they are found.
type Planted = (&'static str, fn(&mut Image), &'static str);

/// Plants each damage on a copy of the pool with a journal in use.
fn plant_all(planted: &[Planted]) {
    plant_on(&pool::pool(), planted);
}

fn plant_on(pool: &Image, planted: &[Planted]) {
    let mut wrong = Vec::new();
    for (name, plant, expected) in planted {
        let mut image = pool.clone();
        plant(&mut image);
        let report =
            crate::check_thin(&image, crate::Depth::Data).expect("it is still a drive of the thin engine");
        let mut codes: Vec<&str> =
            report.findings.iter().map(|finding| finding.problem.facts().code).collect();
        codes.dedup();
        if codes.join(" ") != *expected {
            let told: Vec<String> = report.findings.iter().take(5).map(ToString::to_string).collect();
            wrong.push(format!(
                "{name}: expected {expected:?}, found {:?}\n  {}",
                codes.join(" "),
                told.join("\n  ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
