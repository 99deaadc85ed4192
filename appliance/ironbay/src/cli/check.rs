//! `ironbay check`: what is on drives or images of them, read only. No node is asked.

use super::Failure;
use super::args::CheckArguments;
use super::commands::Answer;
use super::table::{Align, Table, facts};
use super::text::exact;
use block::{BLOCK_SIZE, Blocks, Lba, MediaError};
use check::{
    Depth, Facts, Kind, Medium, PoolSummary, Report, Severity, Summary, check_served, check_thin,
    extents_in_bytes,
};
use control::{ControlError, ErrorKind};
use ondisk::thin::{AU_BLOCKS, VolumeKind};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// Exit code of a check that found something; 0: nothing, 2: it could not be done.
pub(crate) const FOUND: u8 = 1;

/// A drive or image, opened for reading.
struct Image {
    name: String,
    file: File,
    blocks: Blocks,
}

impl Medium for Image {
    fn capacity(&self) -> Blocks {
        self.blocks
    }

    fn read(&self, lba: Lba, to: &mut [u8]) -> Result<(), MediaError> {
        let offset = lba.byte_offset().ok_or(MediaError::OutOfRange)?;
        self.file.read_exact_at(to, offset).map_err(|_| MediaError::Unreadable)
    }
}

/// One line of the list of findings.
struct Row {
    severity: Severity,
    code: &'static str,
    /// Which drive or pool, and where on it.
    at: String,
    message: String,
    remedy: &'static str,
    /// More for programs.
    detail: Value,
}

fn cannot(path: &Path, why: &str, remedy: &str) -> Failure {
    let path = path.display();
    ControlError::new(ErrorKind::InvalidArgument, format!("{path} cannot be checked: {why}"))
        .object(format!("path/{path}"))
        .remedy(remedy)
        .into()
}

fn open(path: &Path) -> Result<Image, Failure> {
    let remedy = "give a block device or an image file that can be read";
    let failed = |error: std::io::Error| cannot(path, &error.to_string(), remedy);
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(cannot(path, "it is neither a file nor a block device", remedy));
    }
    // `File::open` opens for reading only.
    let mut file = File::open(path).map_err(failed)?;
    // The end of a block device is not in its metadata.
    let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let blocks = Blocks(bytes / BLOCK_SIZE as u64);
    if blocks.0 == 0 {
        return Err(cannot(path, "it is empty", remedy));
    }
    Ok(Image { name: path.display().to_string(), file, blocks })
}

/// Checks all of them, and says what was found.
pub(crate) fn execute(arguments: &CheckArguments) -> Result<Answer, Failure> {
    let images = arguments.paths.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut served: Vec<&Image> = Vec::new();
    let mut thin = Vec::new();
    for image in &images {
        match check_thin(image, if arguments.data { Depth::Data } else { Depth::Metadata }) {
            Some(report) => thin.push((image, report)),
            None => served.push(image),
        }
    }
    let media: Vec<&dyn Medium> = served.iter().map(|image| *image as &dyn Medium).collect();
    let report = check_served(&media);
    for (image, kind) in served.iter().zip(&report.kinds) {
        refuse(Path::new(&image.name), kind)?;
    }
    let names: Vec<&str> = served.iter().map(|image| image.name.as_str()).collect();
    let mut rows: Vec<Row> = Vec::new();
    for found in &report.findings {
        let at = found.drive.and_then(|drive| names.get(drive)).copied().unwrap_or_default();
        let Facts { code, severity, remedy } = found.problem.facts();
        let message = found.problem.to_string();
        rows.push(Row { severity, code, at: at.to_owned(), message, remedy, detail: json!({ "path": at }) });
    }
    let mut text = String::new();
    let mut left_out = 0;
    report.pools.iter().for_each(|pool| text.push_str(&pool_text(pool, &names)));
    for (image, report) in &thin {
        if let Some(summary) = &report.summary {
            text.push_str(&thin_text(&image.name, summary));
        }
        rows.extend(thin_rows(&image.name, report));
        left_out += report.left_out;
    }
    text.push_str(&rows_text(&rows, left_out));
    let json = json!({
        "findings": rows.iter().map(row_json).collect::<Vec<_>>(),
        "findings_left_out": left_out,
        "pools": report.pools.iter().map(|pool| pool_json(pool, &names)).collect::<Vec<_>>(),
        "thin_drives": thin.iter().map(|(image, report)| thin_json(&image.name, report)).collect::<Vec<_>>(),
    });
    let code = if rows.is_empty() { 0 } else { FOUND };
    Ok(Answer::with_code(text, json, code))
}

/// Drives that are not Ironbay's are not judged.
fn refuse(path: &Path, kind: &Kind) -> Result<(), Failure> {
    let not_ours = "give drives of Ironbay; \"ironbay drive list\" shows what the drives of a node are";
    match kind {
        Kind::Member => Ok(()),
        Kind::Blank => Err(cannot(path, "it is blank", not_ours)),
        Kind::Foreign(signature) => {
            Err(cannot(path, &format!("it is not a drive of Ironbay: {signature}"), not_ours))
        }
        Kind::Unreadable(fault) => {
            Err(cannot(path, &format!("it cannot be read: {fault}"), "look at the log of the kernel"))
        }
    }
}

fn thin_rows(name: &str, report: &Report) -> Vec<Row> {
    let row = |found: &check::Finding| {
        let place = found.place.to_string();
        let at = if place.is_empty() { name.to_owned() } else { format!("{name}: {place}") };
        let detail = json!({
            "path": name, "volume": found.place.volume, "unit": found.place.unit, "block": found.place.at.map(|at| at.lba.0),
        });
        let Facts { code, severity, remedy } = found.problem.facts();
        Row { severity, code, at, message: found.problem.to_string(), remedy, detail }
    };
    report.findings.iter().map(row).collect()
}

fn rows_text(rows: &[Row], left_out: u64) -> String {
    let mut table = Table::new(&[
        ("SEVERITY", Align::Left),
        ("WHERE", Align::Left),
        ("WHAT", Align::Left),
        ("TRY", Align::Left),
    ]);
    for row in rows {
        table.row(vec![row.severity.to_string(), row.at.clone(), row.message.clone(), row.remedy.to_owned()]);
    }
    let mut text = table.render("clean: nothing was found");
    if left_out > 0 {
        text.push_str(&format!("… and {left_out} more\n"));
    }
    text
}

fn row_json(row: &Row) -> Value {
    let severity = match row.severity {
        Severity::Note => "note",
        Severity::Repairable => "repairable",
        Severity::DataLost => "data_lost",
    };
    let mut json = json!({
        "severity": severity, "code": row.code, "message": row.message, "remedy": row.remedy,
    });
    if let (Value::Object(to), Value::Object(from)) = (&mut json, row.detail.clone()) {
        to.extend(from);
    }
    json
}

/// The paths of the drives of a pool, in the order of the members.
fn paths<'a>(pool: &PoolSummary, names: &[&'a str]) -> Vec<Option<&'a str>> {
    pool.drives.iter().map(|drive| drive.and_then(|drive| names.get(drive)).copied()).collect()
}

fn pool_text(pool: &PoolSummary, names: &[&str]) -> String {
    let record = &pool.record;
    let members: Vec<String> = paths(pool, names)
        .iter()
        .zip(&record.members)
        .map(|(path, member)| format!("{} ({})", member.serial, path.unwrap_or("not given")))
        .collect();
    let (all, used) = pool.extents();
    let volume = |v: &ondisk::VolumeRecord| {
        format!("{} ({}, {} runs)", v.name, exact(extents_in_bytes(v.extents.into())), v.runs.len())
    };
    let mut text = facts(&[
        ("pool", record.name.to_string()),
        ("id", record.pool.to_string()),
        ("generation", record.generation.to_string()),
        ("drives", members.join(", ")),
        ("size", exact(extents_in_bytes(all))),
        ("used", exact(extents_in_bytes(used))),
        ("volumes", record.volumes.iter().map(volume).collect::<Vec<_>>().join(", ")),
    ]);
    text.push('\n');
    text
}

fn pool_json(pool: &PoolSummary, names: &[&str]) -> Value {
    let record = &pool.record;
    let (all, used) = pool.extents();
    let members: Vec<Value> = paths(pool, names)
        .iter()
        .zip(&record.members)
        .map(|(path, member)| json!({ "serial": member.serial.to_string(), "path": path }))
        .collect();
    let volumes: Vec<Value> = record
        .volumes
        .iter()
        .map(|v| {
            json!({
                "id": v.uuid.to_string(), "name": v.name.to_string(), "nsid": v.nsid, "runs": v.runs.len(),
                "size_bytes": extents_in_bytes(v.extents.into()),
            })
        })
        .collect();
    json!({
        "id": record.pool.to_string(), "name": record.name.to_string(), "generation": record.generation,
        "members": members, "size_bytes": extents_in_bytes(all), "used_bytes": extents_in_bytes(used),
        "volumes": volumes,
    })
}

fn units_in_bytes(units: u64) -> u64 {
    units.saturating_mul(AU_BLOCKS).saturating_mul(BLOCK_SIZE as u64)
}

fn kind_of(kind: VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Volume => "volume",
        VolumeKind::Snapshot => "snapshot",
    }
}

fn thin_text(name: &str, summary: &Summary) -> String {
    let Summary { units, journal, .. } = summary;
    let mut text = facts(&[
        ("drive", format!("{name}, thin format")),
        ("pool", summary.identity.pool.to_string()),
        ("root", format!("generation {}, epoch {}", summary.generation, summary.epoch)),
        ("complete", if summary.is_complete { "yes" } else { "no: what follows is too small" }.to_owned()),
        ("data", exact(units_in_bytes(units.data))),
        ("shared", exact(units_in_bytes(units.shared))),
        ("metadata", exact(units_in_bytes(units.nodes))),
        ("free", exact(units_in_bytes(units.free()))),
        (
            "journal",
            format!(
                "{} of {} blocks, {} records, {} writes that did not happen",
                journal.used, journal.blocks, journal.records, journal.dropped
            ),
        ),
    ]);
    let mut table = Table::new(&[
        ("NUMBER", Align::Right),
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("SIZE", Align::Right),
        ("MAPPED", Align::Right),
    ]);
    for v in &summary.volumes {
        let size = v.blocks.bytes().map_or(u64::MAX, |bytes| bytes.0);
        table.row(vec![
            v.number.to_string(),
            v.name.clone(),
            kind_of(v.kind).to_owned(),
            super::text::human(size),
            super::text::human(units_in_bytes(v.mapped)),
        ]);
    }
    text.push_str(&format!("\n{}\n", table.render("no volume")));
    text
}

fn thin_json(name: &str, report: &Report) -> Value {
    let Some(Summary { identity, generation, epoch, is_complete, volumes, units, journal }) = &report.summary
    else {
        return json!({ "path": name });
    };
    let volumes: Vec<Value> = volumes
        .iter()
        .map(|v| {
            json!({
                "number": v.number, "name": v.name, "id": v.uuid.to_string(), "kind": kind_of(v.kind),
                "origin": v.origin.map(|origin| origin.to_string()),
                "size_bytes": v.blocks.bytes().map(|bytes| bytes.0), "mapped_bytes": units_in_bytes(v.mapped),
            })
        })
        .collect();
    json!({
        "path": name, "pool": identity.pool.to_string(), "drive": identity.drive.to_string(),
        "generation": generation, "epoch": epoch, "is_complete": is_complete, "volumes": volumes,
        "data_bytes": units_in_bytes(units.data), "shared_bytes": units_in_bytes(units.shared),
        "metadata_bytes": units_in_bytes(units.nodes), "free_bytes": units_in_bytes(units.free()),
        "journal": {
            "blocks": journal.blocks, "used": journal.used, "records": journal.records,
            "dropped": journal.dropped,
        },
    })
}
