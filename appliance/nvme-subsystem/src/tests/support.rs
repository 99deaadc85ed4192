//! `docs/nvme-support.md` against the code: every code of every table is tried on both kinds of controllers.

use super::host::Host;
use crate::Outcome;
use nvme_spec::fabrics::Property;
use nvme_spec::identify::Cns;
use nvme_spec::log::LogPage;
use nvme_spec::{AdminOpcode, Sqe, Status};
use std::collections::BTreeMap;

const TABLES: &str = include_str!("../../../../docs/nvme-support.md");

/// A refusal as the tables write it, or support.
type State = Result<(), String>;

/// What a table says of a code on the two kinds of controllers; `None` where the column has a dash.
type Row = [Option<State>; 2];

fn table(title: &str) -> BTreeMap<u8, Row> {
    let heading = format!("\n## {title}\n");
    let (_, section) = TABLES.split_once(&heading).expect("a section of this title");
    let section = section.split("\n## ").next().expect("its text");
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| ") && line.contains("h |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let code = u8::from_str_radix(cells[0].trim_end_matches('h'), 16).expect("a code");
        assert!(rows.insert(code, [state(cells[2]), state(cells[3])]).is_none(), "{title} {code:#x} twice");
    }
    assert!(!rows.is_empty(), "{title} has rows");
    rows
}

fn state(cell: &str) -> Option<State> {
    let state = cell.split(';').next().expect("a first part").trim();
    match state.split_once(' ') {
        None if state == "supported" => Some(Ok(())),
        None if state == "–" => None,
        Some(("refused" | "later", status)) => Some(Err(status.to_owned())),
        _ => panic!("{cell:?} is no state"),
    }
}

/// The status as in the tables: `(0h/01h)`.
fn written(status: Status) -> String {
    assert!(status.is_dnr(), "{status} without \"do not retry\"");
    format!("({:x}h/{:02x}h)", status.sct(), status.sc())
}

/// Compares a table with what the code answers; `others` is the refusal of what has no row.
fn compare(title: &str, others: Status, column: usize, mut ask: impl FnMut(u8) -> State) {
    let rows = table(title);
    for code in 0..=255 {
        let said =
            rows.get(&code).map_or_else(|| Some(Err(written(others.dnr()))), |row| row[column].clone());
        let Some(said) = said else { continue };
        assert_eq!(ask(code), said, "{title}, code {code:#04x}, column {column}");
    }
}

/// Known, or refused as unknown. Other refusals come from commands that exist.
fn known(outcome: Outcome) -> State {
    match outcome {
        Outcome::Done(answer) if answer.cqe.status().is(Status::INVALID_OPCODE) => {
            Err(written(answer.cqe.status()))
        }
        _ => Ok(()),
    }
}

fn hosts() -> [Host; 2] {
    [Host::ready(), Host::discovering()]
}

/// Goal: the tables say what the code does, for every command, page, feature and structure, and the code has nothing that
/// the tables do not name.
#[test]
fn tables_are_true() {
    for (column, mut host) in hosts().into_iter().enumerate() {
        let admin = host.admin;
        compare("Admin commands", Status::INVALID_OPCODE, column, |code| {
            if code == AdminOpcode::FABRICS.0 {
                return Err(written(Status::INVALID_OPCODE.dnr())); // has its own table
            }
            known(host.outcome(admin, Sqe::new(code, 1), 0))
        });
    }
    for (column, mut host) in hosts().into_iter().enumerate() {
        let admin = host.admin;
        compare("Fabrics commands", Status::INVALID_OPCODE, column, |code| {
            let mut sqe = Property { offset: 8, is_wide: false }.get();
            sqe.nsid = u32::from(code).into();
            known(host.outcome(admin, sqe, 0))
        });
    }
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    compare("I/O commands", Status::INVALID_OPCODE, 0, |code| {
        if code == AdminOpcode::FABRICS.0 {
            return Err(written(Status::INVALID_OPCODE.dnr()));
        }
        known(host.outcome(queue, Sqe::new(code, 1), 0))
    });
    for (column, mut host) in hosts().into_iter().enumerate() {
        compare("Log pages", Status::INVALID_LOG_PAGE, column, |code| {
            host.log(LogPage(code), 0, 4).map(drop).map_err(written)
        });
        compare("Features", Status::INVALID_FIELD, column, |code| {
            host.get_feature(u32::from(code) | 3 << 8).map(drop).map_err(written)
        });
        compare("Identify", Status::INVALID_FIELD, column, |code| {
            host.identify(Cns(code), 1).map(drop).map_err(written)
        });
    }
}

/// Goal: the log pages that list pages and features agree with the tables.
#[test]
fn lists_of_the_logs_are_true() {
    let mut host = Host::ready();
    for (title, page) in [("Log pages", LogPage::SUPPORTED), ("Features", LogPage::FEATURE_EFFECTS)] {
        let rows = table(title);
        let listed = host.log(page, 0, 1024).expect("it exists");
        for code in 0..=255u8 {
            let is_supported = rows.get(&code).is_some_and(|row| row[0] == Some(Ok(())));
            assert_eq!(listed[usize::from(code) * 4] == 1, is_supported, "{title}, code {code:#04x}");
        }
    }
}
