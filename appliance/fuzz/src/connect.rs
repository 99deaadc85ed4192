//! Connect: who may become which queue of which controller, whatever a stranger writes into the command and its data.

use crate::choices::Choices;
use crate::world::{HOST_NQN, LISTED_NQN, NQNS, STRANGER_NQN, World};
use nvme_spec::fabrics::{Connect, ConnectData, Nqns, Property};
use nvme_spec::register::{Cc, offset};
use nvme_subsystem::Answer;
use zerocopy::{FromBytes, IntoBytes};

/// Connections at a time.
const OPEN_MAX: usize = 16;

/// Plays strangers and hosts that connect, enable, and close again.
///
/// # Panics
/// If the target does what it must not.
pub fn connect(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new();
    let mut draining = Vec::new();
    while !choices.is_empty() {
        match choices.u8() % 8 {
            0..=3 => attempt(&mut world, &mut choices),
            4 => set_cc(&mut world, &mut choices),
            5 => {
                if let Some(index) = world.pick(&mut choices) {
                    if choices.is_set() {
                        let id = world.open[index].id;
                        world.target.on_draining(id);
                        draining.push(id);
                    }
                    world.close(index);
                }
            }
            6 => {
                if !draining.is_empty() {
                    let id = draining.swap_remove(choices.below(draining.len()));
                    world.target.on_drained(id);
                }
            }
            _ => world.wait(u64::from(choices.u16())),
        }
    }
}

fn set_cc(world: &mut World, choices: &mut Choices<'_>) {
    let Some(index) = world.pick(choices) else { return };
    let mut cc = Cc::new().with_en(choices.is_set()).with_iosqes(6).with_iocqes(4);
    if choices.u8() == 1 {
        cc = Cc::from_bits(choices.u32());
    }
    let sqe = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
    world.command(index, sqe, 0, &[]);
}

fn attempt(world: &mut World, choices: &mut Choices<'_>) {
    // A few connections show everything that many do.
    let is_full = world.open.len() >= OPEN_MAX;
    let used = world.pick(choices).filter(|_| choices.u8() == 1 || is_full);
    // Until Connect is answered the transport takes no other command.
    let used = used.filter(|index| world.open[*index].held.is_empty());
    let Some(index) = used.or_else(|| if is_full { None } else { world.accept() }) else { return };
    let mut command = Connect {
        recfmt: 0,
        qid: u16::from(choices.u8() % 4),
        sqsize_z: 31,
        cattr: choices.u8(),
        kato_ms: u32::from(choices.u16()),
    };
    let cntlids: Vec<u16> = world.target.sessions().iter().map(|session| session.cntlid).collect();
    let cntlid = match choices.u8() {
        0 => choices.u16(),
        small if command.qid > 0 && !cntlids.is_empty() => cntlids[usize::from(small) % cntlids.len()],
        _ => 0xffff,
    };
    let nqns = Nqns { host: choices.one_of(&[HOST_NQN, STRANGER_NQN]), subsystem: choices.one_of(&NQNS) };
    let hostid = [choices.u8() % 2 + 1; 16];
    let mut data = ConnectData::new(hostid, cntlid, nqns).expect("names are short");
    for _ in 0..choices.below(4) {
        match choices.u8() % 4 {
            0 => command.sqsize_z = choices.u16(),
            1 => command.recfmt = choices.u16(),
            2 => command.qid = choices.u16(),
            _ => {
                let at = usize::from(choices.u16()) % 1024;
                let len = choices.below(8);
                let bytes = choices.bytes(len);
                let room = &mut data.as_mut_bytes()[at..];
                let len = bytes.len().min(room.len());
                room[..len].copy_from_slice(&bytes[..len]);
            }
        }
    }
    let len = if choices.u8() == 1 { choices.len() } else { 1024 };
    let was_queue = world.open[index].queue.is_some();
    let id = world.open[index].id;
    let may = may_connect(world, command, &data) && len == 1024 && !was_queue;
    let answer = world.command(index, command.to_sqe(), len, data.as_bytes());
    let is_queue = world.open.iter().any(|open| open.id == id && open.queue.is_some());
    match answer {
        Some(answer) => check(&answer, may, is_queue && !was_queue),
        // Its queue identifier is in use: nothing has happened yet, and what happens later is checked there.
        None => assert!(may && !is_queue, "only good Connects wait"),
    }
}

fn check(answer: &Answer, may: bool, is_connected: bool) {
    let status = answer.cqe.status();
    assert_eq!(status.is_success(), is_connected, "only a success makes a queue");
    assert!(may || !is_connected, "somebody got in who must not");
    assert!(answer.data.is_empty());
    let dw0 = answer.cqe.dw0.get();
    if is_connected {
        assert!((1..=0xffef).contains(&dw0), "a controller identifier: {dw0:#x}");
    } else {
        // IPO and IATTR: a byte of the command or of its data.
        let end = if dw0 & 1 << 16 != 0 { 1024 } else { 64 };
        assert!(dw0 & 0xffff < end && dw0 >> 17 == 0, "the place of the fault: {dw0:#x}");
    }
}

/// What must hold for a Connect to succeed at all; it may still be refused.
fn may_connect(world: &World, command: Connect, data: &ConnectData) -> bool {
    let (data, _) = ConnectData::ref_from_prefix(data.as_bytes()).expect("1024 bytes");
    let Some(subsystem) = NQNS.into_iter().find(|nqn| is_name(&data.subnqn, nqn)) else { return false };
    let is_terminated = data.hostnqn.contains(&0) && data.hostnqn[0] != 0;
    let is_allowed = subsystem != LISTED_NQN || is_name(&data.hostnqn, HOST_NQN);
    let is_shaped = command.recfmt == 0 && (1..=1023).contains(&command.sqsize_z);
    if !is_terminated || !is_allowed || !is_shaped {
        return false;
    }
    let cntlid = data.cntlid.get();
    if command.qid == 0 {
        return cntlid == 0xffff;
    }
    // An I/O queue belongs to a controller of the same host, and each queue is there once.
    let sessions = world.target.sessions();
    sessions.iter().any(|session| {
        let is_named =
            session.cntlid == cntlid && session.subsystem_nqn == subsystem && !session.is_discovery;
        is_named && is_name(&data.hostnqn, &session.host_nqn) && session.io_queues < 64
    })
}

/// The field holds this name, ended by a zero.
fn is_name(field: &[u8; 256], name: &str) -> bool {
    field.starts_with(name.as_bytes()) && field.get(name.len()) == Some(&0)
}
