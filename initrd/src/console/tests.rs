//! Pages against their whole text, the editor against bytes, and the bounds of both.

use super::command::{Command, parse};
use super::editor::{Editor, Event};
use super::pages::{self, EngineFacts, NodeFacts};
use super::table::{Table, span, wrap};
use crate::limits::CONSOLE_COLUMNS;
use bus::{BootPhase, Interface, ServiceStatus};
use control::{
    ControlError, DriveState, DriveStatus, EngineStatus, ErrorKind, PoolState, PoolStatus, SessionStatus,
    VolumeState, VolumeStatus,
};
use expect_test::expect;
use uuid::Uuid;

const NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-0000000000a1";

fn interfaces() -> Vec<Interface> {
    vec![
        Interface {
            name: "eth0".to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            driver: "virtio_net".to_owned(),
            address: "10.0.2.15/24".to_owned(),
            gateway: "10.0.2.2".to_owned(),
            has_link: true,
        },
        Interface {
            name: "eth1".to_owned(),
            mac: "52:54:00:12:34:57".to_owned(),
            driver: "e1000e".to_owned(),
            ..Interface::default()
        },
    ]
}

fn phases() -> Vec<BootPhase> {
    let phase = |name: &str, started_ms, took_ms, state: &str| BootPhase {
        name: name.to_owned(),
        started_ms,
        took_ms,
        state: state.to_owned(),
        ..BootPhase::default()
    };
    let mut claim = phase("claim", 2500, 140, "failed");
    claim.failure = "claim drive 0000:00:04.0: the machine has no working IOMMU".to_owned();
    claim.remedy =
        "enable VT-d or AMD-Vi in the firmware, and on Intel machines boot with the kernel argument \
                    intel_iommu=on"
            .to_owned();
    vec![phase("mounts", 2093, 4, "done"), claim, phase("serve", 0, 0, "waiting")]
}

fn services() -> Vec<ServiceStatus> {
    let service = |name: &str, state: &str, pid, restarts, last_exit: &str| ServiceStatus {
        name: name.to_owned(),
        state: state.to_owned(),
        pid,
        restarts,
        last_exit: last_exit.to_owned(),
    };
    vec![
        service("console ttyS0", "running", 70, 0, ""),
        service("engine", "waiting", 0, 3, "signal 6 (SIGABRT)"),
    ]
}

fn node(phases: Vec<BootPhase>, services: Vec<ServiceStatus>) -> NodeFacts {
    NodeFacts {
        version: "0.1.0".to_owned(),
        hostname: "ironbay-123456".to_owned(),
        is_insecure: true,
        uptime_ms: 3_725_000,
        network: interfaces(),
        phases,
        services,
    }
}

fn drive(serial: &str, state: DriveState, pool: Uuid, detail: &str) -> DriveStatus {
    DriveStatus {
        serial: serial.to_owned(),
        path: "vfio:0000:00:04.0".to_owned(),
        model: "QEMU NVMe Ctrl".to_owned(),
        size_bytes: 1 << 40,
        lba_bytes: 512,
        state,
        detail: detail.to_owned(),
        pool,
        is_volatile: true,
        errors: 0,
    }
}

fn facts() -> EngineFacts {
    let uuid = Uuid::from_u128(0xa1);
    EngineFacts {
        engine: EngineStatus {
            version: "0.1.0".to_owned(),
            cores: 1,
            mode: "balanced".to_owned(),
            portals: vec!["0.0.0.0:4420".to_owned()],
            start_ms: 30,
            uptime_ms: 120_000,
            io_commands: 4711,
            busy_permille: 123,
        },
        drives: vec![
            drive("S0", DriveState::Member, uuid, ""),
            drive("S1-with-a-\x1b[2Jname", DriveState::Foreign, Uuid::nil(), "GPT partition table"),
        ],
        pools: vec![PoolStatus {
            uuid,
            name: "tank".to_owned(),
            state: PoolState::Incomplete,
            detail: "drive S7 is missing".to_owned(),
            drive_serials: vec!["S0".to_owned(), "S7".to_owned()],
            size_bytes: 3 << 30,
            free_bytes: 1 << 29,
            subsystem_nqn: NQN.to_owned(),
            revision: 4,
        }],
        volumes: vec![VolumeStatus {
            uuid: Uuid::from_u128(0xb2),
            name: "a-name-of-a-volume-that-is-as-long-as-names-may-be-0123456789012".to_owned(),
            pool: uuid,
            pool_name: "tank".to_owned(),
            size_bytes: 1_610_612_736,
            block_size: 4096,
            state: VolumeState::Online,
            nsid: 1,
            subsystem_nqn: NQN.to_owned(),
            hosts: vec!["nqn.host".to_owned()],
            allowed_hosts: control::AllowedHosts::default(),
            revision: 1,
        }],
        sessions: vec![SessionStatus {
            host_nqn: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555".to_owned(),
            subsystem_nqn: NQN.to_owned(),
            cntlid: 7,
            peer: "10.0.2.7:51234".to_owned(),
            io_queues: 4,
            commands: 1_234_567,
            age_ms: 90_061_000,
        }],
    }
}

fn away() -> ControlError {
    ControlError::new(
        ErrorKind::Unavailable,
        "the engine cannot be reached: cannot connect to /run/ironbay/engine.sock",
    )
    .remedy("wait until the engine has started and try again")
}

/// Goal: the page an operator opens first says everything that is wrong, and what to do.
#[test]
fn status_page() {
    expect![[r#"
        Node      ironbay-123456, Ironbay 0.1.0, up 1 h 2 min
        Address   10.0.2.15/24 on eth0, gateway 10.0.2.2
        API       10.0.2.15:7420, WITHOUT AUTHENTICATION (ironbay.insecure=1)
        NVMe/TCP  10.0.2.15:4420
        Engine    1 core, mode balanced, busy 12.3 %, 4711 commands, up 2 min 0 s
        Drives    2: 1 member, 1 foreign
        Pools     1: 1 INCOMPLETE
        Volumes   1: 1 online
        Hosts     1 connected controller
        Attention claim failed: claim drive 0000:00:04.0: the machine has no working
                  IOMMU
                  -> enable VT-d or AMD-Vi in the firmware, and on Intel machines boot
                     with the kernel argument intel_iommu=on
        Attention serve waiting: not finished yet
        Attention service engine is waiting, last exit: signal 6 (SIGABRT)
    "#]]
    .assert_eq(&pages::status(&node(phases(), services()), &Ok(facts())));
}

/// Goal: a healthy node says so in one line, and an engine that is away does not hide the rest.
#[test]
fn status_page_without_engine() {
    expect![[r#"
        Node      ironbay-123456, Ironbay 0.1.0, up 1 h 2 min
        Address   10.0.2.15/24 on eth0, gateway 10.0.2.2
        API       10.0.2.15:7420, WITHOUT AUTHENTICATION (ironbay.insecure=1)
        Engine    the engine cannot be reached: cannot connect to
                  /run/ironbay/engine.sock
                  -> wait until the engine has started and try again
        Health    all phases done, all services running
    "#]]
    .assert_eq(&pages::status(&node(Vec::new(), Vec::new()), &Err(away())));
}

/// Goal: the pages of the engine.
#[test]
fn engine_pages() {
    let facts = facts();
    expect![[r#"
        SERIAL               SIZE  LBA  STATE    POOL  ERRORS  PATH
        S0                  1 TiB  512  member   tank       0  vfio:0000:00:04.0
        S1-with-a-?[2Jname  1 TiB  512  foreign  -          0  vfio:0000:00:04.0
        S0: QEMU NVMe Ctrl
        S1-with-a-?[2Jname: QEMU NVMe Ctrl; GPT partition table
    "#]]
    .assert_eq(&pages::drives(&facts.drives, &facts.pools));
    expect![[r#"
        NAME  STATE        SIZE     FREE  DRIVES
        tank  INCOMPLETE  3 GiB  512 MiB  S0,S7
        tank: nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-0000000000a1
        tank: drive S7 is missing
    "#]]
    .assert_eq(&pages::pools(&facts.pools));
    expect![[r#"
        NAME                                   POOL     SIZE   LBA  STATE   NSID  HOSTS
        a-name-of-a-volume-that-is-as-long-a~  tank  1.5 GiB  4096  online     1      1
        a-name-of-a-volume-that-is-as-long-as-names-may-be-0123456789012: uuid
          00000000-0000-0000-0000-0000000000b2
    "#]]
    .assert_eq(&pages::volumes(&facts.volumes));
    expect![[r#"
        PEER            CNTLID  QUEUES  COMMANDS  SINCE
        10.0.2.7:51234       7       4   1234567  1 d 1 h
        7: host nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555
        7: subsystem
          nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-0000000000a1
    "#]]
    .assert_eq(&pages::hosts(&facts.sessions));
}

/// Goal: the pages of init.
#[test]
fn init_pages() {
    expect![[r#"
        NAME  LINK  ADDRESS       GATEWAY   MAC                DRIVER
        eth0  up    10.0.2.15/24  10.0.2.2  52:54:00:12:34:56  virtio_net
        eth1  down  -             -         52:54:00:12:34:57  e1000e
    "#]]
    .assert_eq(&pages::network(&interfaces()));
    expect![[r#"
        PHASE   STATE    BEGAN ms  TOOK ms
        mounts  done         2093        4
        claim   failed       2500      140
        serve   waiting         -        -
        claim: claim drive 0000:00:04.0: the machine has no working IOMMU
          -> enable VT-d or AMD-Vi in the firmware, and on Intel machines boot with the
             kernel argument intel_iommu=on
    "#]]
    .assert_eq(&pages::phases(&phases()));
    expect![[r#"
        SERVICE        STATE    PID  RESTARTS  LAST EXIT
        console ttyS0  running   70         0  -
        engine         waiting    -         3  signal 6 (SIGABRT)
    "#]]
    .assert_eq(&pages::services(&services()));
}

/// Goal: help, banner, and what an empty node says.
#[test]
fn small_pages() {
    expect![[r#"
        COMMAND   KEY  SHOWS
        status    1    the node at a glance
        drives    2    drives and what is on them
        volumes   3    volumes and who uses them
        pools     4    pools, space, subsystem names
        network   5    interfaces, addresses, links
        hosts     6    connected hosts
        phases    7    phases of the boot, with failures and remedies
        services  8    processes of the node
        log [N]   9    the last N lines of the kernel log (40)
        reboot         restart the node, after a confirmation
        poweroff       switch the node off, after a confirmation
        quit           back to the plain log
        help      ?    this page
    "#]]
    .assert_eq(&pages::help());
    expect![[r#"
        Ironbay 0.1.0   ironbay-123456   10.0.2.15   press Enter for the console
    "#]]
    .assert_eq(&pages::banner("0.1.0", "ironbay-123456", &interfaces()));
    expect![[r#"
        the engine cannot be reached: cannot connect to /run/ironbay/engine.sock
          -> wait until the engine has started and try again
    "#]]
    .assert_eq(&pages::failure(&away()));
    let empty = pages::drives(&[], &[])
        + &pages::pools(&[])
        + &pages::volumes(&[])
        + &pages::hosts(&[])
        + &pages::network(&[]);
    expect![[r#"
        no drive; type `phases` to see what was claimed
        no pool; create one with the API, `ironbay pool create` or Terraform
        no volume; create one with the API, `ironbay volume create` or Terraform
        no host is connected
        no network interface; the image needs a driver for the card (type `phases`)
    "#]]
    .assert_eq(&empty);
}

/// Goal: no page is wider than a terminal of 80 columns, and none carries a control character.
#[test]
fn pages_fit() {
    let facts = facts();
    let all = [
        pages::status(&node(phases(), services()), &Ok(facts.clone())),
        pages::status(&node(phases(), services()), &Err(away())),
        pages::drives(&facts.drives, &facts.pools),
        pages::pools(&facts.pools),
        pages::volumes(&facts.volumes),
        pages::hosts(&facts.sessions),
        pages::network(&interfaces()),
        pages::phases(&phases()),
        pages::services(&services()),
        pages::help(),
    ];
    for line in all.iter().flat_map(|page| page.lines()) {
        assert!(line.len() <= CONSOLE_COLUMNS, "{} columns: {line}", line.len());
        assert!(line.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{line:?}");
    }
}

/// Goal: a table with a thousand rows is cut and says so.
#[test]
fn long_tables_are_cut() {
    let mut table = Table::new(&["N>"]);
    for n in 0..1000 {
        table.row(&[n.to_string()]);
    }
    let text = table.render();
    assert_eq!(text.lines().count(), 202);
    assert!(text.ends_with("(800 more; the API and `ironbay` show all)\n"), "{text}");
}

/// Goal: spans in the units of people.
#[test]
fn spans() {
    for (ms, text) in [(0, "0 s"), (61_000, "1 min 1 s"), (3_725_000, "1 h 2 min"), (90_061_000, "1 d 1 h")] {
        assert_eq!(span(ms), text);
    }
}

/// Goal: long sentences are wrapped under their beginning, and a word that is too long stays whole.
#[test]
fn sentences_are_wrapped() {
    let text = wrap("ab ", 3, &"word ".repeat(20));
    expect![[r#"
        ab word word word word word word word word word word word word word word word
           word word word word word
    "#]]
    .assert_eq(&text);
    assert_eq!(wrap("", 2, &"x".repeat(100)), "x".repeat(100) + "\n");
}

fn typed(bytes: &[u8]) -> (Vec<Event>, String) {
    let mut editor = Editor::default();
    let mut echo = String::new();
    let events = bytes.iter().filter_map(|b| editor.on_byte(*b, &mut echo)).collect();
    (events, echo)
}

fn line(text: &str) -> Event {
    Event::Line(text.to_owned())
}

/// Goal: any terminal's Enter ends a line once, and both backspace keys work.
#[test]
fn editing() {
    assert_eq!(typed(b"status\r\ndrives\nhelp\r").0, [line("status"), line("drives"), line("help")]);
    assert_eq!(typed(b"\r\r\n\n").0, [line(""), line(""), line("")]);
    let (events, echo) = typed(b"sx\x7f\x08\x08t\r");
    assert_eq!(events, [line("t")]);
    assert_eq!(echo, "sx\x08 \x08\x08 \x08t\n");
    assert_eq!(typed(b"abc\x15x\r").0, [line("x")]);
    assert_eq!(typed(b"reboot\x03\r").0, [Event::Cancel, line("")]);
}

/// Goal: cursor keys, function keys and answers of terminals type nothing.
#[test]
fn escape_sequences_type_nothing() {
    assert_eq!(typed(b"a\x1b[Ab\x1b[24;80Rc\x1bOPd\x1b[15~e\r").0, [line("abcde")]);
    assert_eq!(typed(b"\x1b[\rx\r").0, [line(""), line("x")]);
    assert_eq!(typed(&[0, 1, 0x80, 0xff, b'x', b'\r']).0, [line("x")]);
}

/// Goal: what is typed together with the key that wakes the console is not lost; noise does not wake it.
#[test]
fn nothing_is_lost_on_waking() {
    let lines = |bytes: &[u8]| -> Option<Vec<Event>> {
        let mut editor = Editor::default();
        let rest = editor.wakes(bytes)?;
        Some(rest.iter().filter_map(|byte| editor.on_byte(*byte, &mut String::new())).collect())
    };
    for bytes in [b"\rstatus\r".as_slice(), b"\r\nstatus\r\n", b"status\r", b"\x1b[A\nstatus\n"] {
        assert_eq!(lines(bytes), Some(vec![line("status")]), "{}", bytes.escape_ascii());
    }
    assert_eq!(lines(b"\r"), Some(vec![]));
    for bytes in [b"".as_slice(), b"\x1b[24;80R\x03\x7f", &[0, 0xff]] {
        assert_eq!(lines(bytes), None, "{}", bytes.escape_ascii());
    }
}

/// Goal: a line that never ends does not grow memory.
#[test]
fn lines_are_bounded() {
    let (events, echo) = typed(&[vec![b'x'; 5000], vec![b'\r']].concat());
    assert_eq!(events, [line(&"x".repeat(256))]);
    assert_eq!(echo.len(), 257);
}

/// Goal: words, digits and capitals are understood; anything else gets a hint.
#[test]
fn commands() {
    for (text, command) in [
        ("", Command::Nothing),
        ("  STATUS ", Command::Status),
        ("1", Command::Status),
        ("2", Command::Drives),
        ("3", Command::Volumes),
        ("4", Command::Pools),
        ("5", Command::Network),
        ("6", Command::Hosts),
        ("7", Command::Phases),
        ("8", Command::Services),
        ("log", Command::Log { lines: 40 }),
        ("log 5", Command::Log { lines: 5 }),
        ("reboot", Command::Reboot),
        ("poweroff", Command::PowerOff),
        ("?", Command::Help),
        ("quit", Command::Quit),
    ] {
        assert_eq!(parse(text), Ok(command), "{text}");
    }
    assert_eq!(parse("ls"), Err("\"ls\" is not a command; type `help` for the list".to_owned()));
    assert_eq!(parse("log 0"), Err("`log` takes a number from 1 to 1000, not \"0\"".to_owned()));
    assert_eq!(parse("reboot now"), Err("`reboot` takes no argument, \"now\" is too much".to_owned()));
}

/// Goal: a record of the kernel log becomes one line, and noise becomes none.
#[test]
fn log_records() {
    let record = super::log::record(b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n");
    assert_eq!(record.as_deref(), Some("[  5.140s] NET: Registered"));
    assert_eq!(super::log::record(b"6,339;short"), None);
    assert_eq!(super::log::record(&[0xff, 0xfe]), None);
}
