//! Admin commands of two hosts, of which one may not use every namespace: each is answered once, pages are whole and never
//! longer than asked for, what the logs list is what works, and a host learns nothing of what is not its own.

use crate::choices::Choices;
use crate::world::{HOST, OPEN_NQN, OTHER, Taken, Who, World, any_sqe};
use nvme_spec::log::{GetLogPage, LogPage};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_subsystem::Answer;

/// Opcodes that are looked at more often than the others.
const OPCODES: [u8; 12] = [
    AdminOpcode::IDENTIFY.0,
    AdminOpcode::GET_LOG_PAGE.0,
    AdminOpcode::SET_FEATURES.0,
    AdminOpcode::GET_FEATURES.0,
    AdminOpcode::ASYNC_EVENT_REQUEST.0,
    AdminOpcode::ABORT.0,
    AdminOpcode::KEEP_ALIVE.0,
    AdminOpcode::FABRICS.0,
    AdminOpcode::NAMESPACE_MANAGEMENT.0,
    AdminOpcode::FORMAT_NVM.0,
    AdminOpcode::CREATE_IO_SQ.0,
    AdminOpcode::NAMESPACE_ATTACHMENT.0,
];
/// Admin opcodes that exist here; all others are refused as unknown.
const SUPPORTED: [AdminOpcode; 8] = [
    AdminOpcode::IDENTIFY,
    AdminOpcode::GET_LOG_PAGE,
    AdminOpcode::SET_FEATURES,
    AdminOpcode::GET_FEATURES,
    AdminOpcode::ASYNC_EVENT_REQUEST,
    AdminOpcode::ABORT,
    AdminOpcode::KEEP_ALIVE,
    AdminOpcode::FABRICS,
];
const PAGES: [u8; 12] = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0c, 0x12, 0x80, 0x70, 0x0d, 0xc0];
const FEATURES: [u8; 18] = [
    0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0f, 0x16, 0x81, 0x82, 0x83, 0x84, 0x0c,
    0x0e,
];
const NSIDS: [u32; 10] = [0, 1, 2, 3, 4, 5, 6, 1024, 1025, u32::MAX];

/// Retain Asynchronous Event: reading does not change anything.
const RAE: u32 = 1 << 15;
/// Event requests that a controller holds, as Identify says (AERL).
const HELD_MAX: usize = 4;
/// The longest transfer (MDTS).
const TRANSFER_MAX: u64 = 1 << 20;

/// Plays admin commands, while namespaces change, time passes, and I/O queues are there to be aborted on and closed with
/// their controller.
///
/// # Panics
/// If the target does what it must not.
pub fn admin(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::with_queues(1);
    while !choices.is_empty() {
        match choices.u8() % 16 {
            0..=1 => any(&mut world, &mut choices),
            2..=4 => log_page(&mut world, &mut choices),
            5..=6 => identify(&mut world, &mut choices),
            7..=9 => feature(&mut world, &mut choices),
            10 => events(&mut world, &mut choices),
            11 => io(&mut world, &mut choices),
            12 => abort(&mut world, &mut choices),
            13 => world.change_namespace(&mut choices),
            14 => {
                world.is_prompt = choices.is_set();
                world.settle_later(&mut choices);
            }
            _ => world.wait(u64::from(choices.u16() % 8192)),
        }
        world.answered.clear();
    }
}

/// The admin queue of one of the hosts, which comes again if it was dropped.
fn queue(world: &mut World, choices: &mut Choices<'_>) -> (usize, Who) {
    let who = choices.one_of(&[HOST, OTHER]);
    if world.find(who, 0).is_none() {
        let cntlid = world.connect(who, OPEN_NQN, 0xffff, 0);
        world.connect(who, OPEN_NQN, cntlid, 1);
    }
    (world.find(who, 0).expect("it is connected"), who)
}

fn is_visible(world: &World, who: Who, nsid: u32) -> bool {
    world.namespaces.get(&nsid).is_some_and(|known| known.is_for(who))
}

/// Enabled and not shut down; the input may have changed that.
fn is_ready(world: &mut World, index: usize) -> bool {
    let keep_alive = Sqe::new(AdminOpcode::KEEP_ALIVE.0, 0);
    world.command(index, keep_alive, 0, &[]).expect("it is answered at once").cqe.status().is_success()
}

fn any(world: &mut World, choices: &mut Choices<'_>) {
    let sqe = any_sqe(choices, &OPCODES);
    let data_len = choices.len();
    let len = choices.below(64);
    let data = choices.bytes(len);
    let (index, _) = queue(world, choices);
    let is_ready = is_ready(world, index);
    let is_known = SUPPORTED.contains(&AdminOpcode(sqe.opc));
    if let Taken::Answered(answer) = world.submit(index, sqe, data_len, data) {
        let status = answer.cqe.status();
        if sqe.flags & 3 != 0 {
            assert!(status.is(Status::INVALID_FIELD), "there is no fused admin command: {sqe:?}");
        } else if !is_known {
            let expected = if is_ready { Status::INVALID_OPCODE } else { Status::COMMAND_SEQUENCE_ERROR };
            assert!(status.is(expected), "{sqe:?} ends with {status:?}");
        }
    }
}

fn get_page(lid: u8, (dwords, offset): (u64, u64), rest: u32) -> Sqe {
    let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, u32::MAX);
    let dwords_z = u32::try_from(dwords - 1).expect("32 bits");
    sqe.cdw10 = (u32::from(lid) | rest | dwords_z << 16).into();
    sqe.cdw11 = (dwords_z >> 16).into();
    let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
    sqe.cdw12 = u32::from_le_bytes([a, b, c, d]).into();
    sqe.cdw13 = u32::from_le_bytes([e, f, g, h]).into();
    sqe
}

/// A part of a log page is that part of the whole page, and what a host may not use is not in it.
fn log_page(world: &mut World, choices: &mut Choices<'_>) {
    let lid = if choices.u8() >= 240 { choices.u8() } else { choices.one_of(&PAGES) };
    let dwords = match choices.u8() {
        255 => u64::from(choices.u32()) + 1,
        254 => 1 << 18,
        253 => (1 << 18) + 1,
        few => u64::from(few) * 8 + 1,
    };
    let offset = match choices.u8() {
        255 => choices.u64(),
        254 => u64::from(choices.u32()),
        253 => u64::from(choices.u16()),
        0..100 => 0,
        few => u64::from(few - 100) * 64,
    };
    let rest = u32::from(choices.u8() & 0xf) << 8 | if choices.is_set() { RAE } else { 0 };
    let mut sqe = get_page(lid, (dwords, offset), rest);
    match choices.u8() {
        255 => sqe.cdw14 = choices.u32().into(),
        254 => sqe.nsid = choices.one_of(&NSIDS).into(),
        _ => {}
    }
    let get = GetLogPage::from(&sqe);
    let data_len =
        if choices.u8() == 255 { choices.len() } else { u32::try_from(get.len).unwrap_or(u32::MAX) };
    let (index, who) = queue(world, choices);
    let (is_ready, end) = (is_ready(world, index), get.offset.saturating_add(get.len));
    let whole = (end <= TRANSFER_MAX && get.offset.is_multiple_of(4)).then(|| {
        let mut whole = get_page(lid, (end / 4, 0), rest | RAE);
        (whole.nsid, whole.cdw14) = (sqe.nsid, sqe.cdw14);
        answered(world, index, whole, u32::try_from(end).expect("1 MiB"))
    });
    let part = answered(world, index, sqe, data_len);
    if !part.cqe.status().is_success() {
        let is_right =
            is_ready && get.offset == 0 && u64::from(data_len) == get.len && get.len <= TRANSFER_MAX;
        let is_listed = is_in_table(world, index, LogPage::SUPPORTED.0, lid);
        let is_plain = sqe.cdw14.get() == 0 && sqe.nsid.get() == u32::MAX;
        assert!(!(is_right && is_listed && is_plain), "page {lid:#x} is listed: {:?}", part.cqe.status());
        return;
    }
    assert!(is_ready && is_in_table(world, index, LogPage::SUPPORTED.0, lid), "page {lid:#x} is not listed");
    assert_eq!(part.data.len(), data_len as usize, "all of it is sent");
    let Some(whole) = whole else { return };
    assert!(whole.cqe.status().is_success(), "the whole of a page can be read where a part can");
    let from = usize::try_from(get.offset).expect("1 MiB");
    assert!(whole.data[from..] == part.data, "a part of page {lid:#x}");
    if get.lid == LogPage::CHANGED_NAMESPACES || get.lid == LogPage::ANA {
        check_page(world, who, get.lid, &whole.data);
    }
}

/// Namespaces that a page names are the host's, or were.
fn check_page(world: &World, who: Who, lid: LogPage, page: &[u8]) {
    let word = |at: usize| page.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes")));
    if lid == LogPage::CHANGED_NAMESPACES {
        let nsids = (0..1024).map_while(|index| word(index * 4)).take_while(|nsid| *nsid != 0);
        assert!(nsids.is_sorted_by(|a, b| a < b), "ascending");
        return;
    }
    let mut at = 16;
    for group in 1..=64u32 {
        let (Some(grpid), Some(count), Some(state)) = (word(at), word(at + 4), word(at + 16)) else { return };
        assert_eq!((grpid, state & 0xff), (group, 1), "groups in order, all optimized");
        at += 32;
        for _ in 0..count {
            let Some(nsid) = word(at) else { return };
            assert!(is_visible(world, who, nsid), "{nsid} is not the host's");
            at += 4;
        }
    }
}

/// A command that is answered at once.
fn answered(world: &mut World, index: usize, sqe: Sqe, data_len: u32) -> Answer {
    world.command(index, sqe, data_len, &[]).expect("pages are answered at once")
}

/// Whether a page of 256 dwords has a number in it.
fn is_in_table(world: &mut World, index: usize, lid: u8, number: u8) -> bool {
    let answer = answered(world, index, get_page(lid, (256, 0), RAE), 1024);
    answer.data.get(usize::from(number) * 4).is_some_and(|entry| entry & 1 == 1)
}

/// Less of a page is its beginning, and it shows what the host may see.
fn identify(world: &mut World, choices: &mut Choices<'_>) {
    let cns = if choices.u8() >= 220 { choices.u8() } else { choices.u8() % 0x1e };
    let nsid = if choices.u8() == 255 { choices.u32() } else { choices.one_of(&NSIDS) };
    let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, nsid);
    sqe.cdw10 = (u32::from(cns) | if choices.u8() == 255 { choices.u32() & !0xff } else { 0 }).into();
    sqe.cdw11 = if choices.u8() == 255 { choices.u32() } else { 0 }.into();
    let data_len = if choices.u8() >= 250 { choices.len() } else { 4096 };
    let (index, who) = queue(world, choices);
    let whole = answered(world, index, sqe, 4096);
    let part = answered(world, index, sqe, data_len);
    if !whole.cqe.status().is_success() {
        return;
    }
    assert_eq!(whole.data.len(), 4096);
    if part.cqe.status().is_success() {
        assert!(whole.data.starts_with(&part.data), "less of a page is its beginning");
    } else {
        assert!(data_len == 0 && part.cqe.status().is(Status::INVALID_SGL_LENGTH), "{:?}", part.cqe.status());
    }
    let is_visible_here = is_visible(world, who, nsid);
    match cns {
        0x00 | 0x08 => {
            let is_empty = whole.data.iter().all(|byte| *byte == 0);
            assert_eq!(is_empty, !is_visible_here, "namespace {nsid} of {who:?}");
        }
        0x03 => assert!(is_visible_here, "namespace {nsid} of {who:?}"),
        0x02 | 0x07 => {
            let listed: Vec<u32> =
                whole.data.chunks(4).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
            let all = world.namespaces.iter().filter(|(of, known)| **of > nsid && known.is_for(who));
            let mut expected: Vec<u32> = all.map(|(nsid, _)| *nsid).collect();
            expected.resize(1024, 0);
            assert_eq!(listed, expected, "the active namespaces of {who:?} above {nsid}");
        }
        _ => {}
    }
}

/// What was set is what is read; what the log lists can be read.
fn feature(world: &mut World, choices: &mut Choices<'_>) {
    let fid = if choices.u8() >= 240 { choices.u8() } else { choices.one_of(&FEATURES) };
    let nsid = choices.one_of(&NSIDS);
    let (sel, sv) = (u32::from(choices.u8() % 12), u32::from(choices.u8() == 255));
    let value = if choices.u8() >= 250 { choices.u32() } else { u32::from(choices.u8()) };
    let (index, who) = queue(world, choices);
    let ready = is_ready(world, index);
    let mut set = Sqe::new(AdminOpcode::SET_FEATURES.0, nsid);
    (set.cdw10, set.cdw11) = ((u32::from(fid) | sv << 31).into(), value.into());
    let is_set = match choices.u8() % 3 {
        0 => {
            let len = if fid == 0x16 && choices.u8() < 250 { 512 } else { choices.len() };
            let data = [choices.u8() & 3];
            let taken = world.submit(index, set, if fid == 0x16 { len } else { 0 }, &data);
            matches!(&taken, Taken::Answered(answer) if answer.cqe.status().is_success())
                || (matches!(taken, Taken::Held)
                    && world.answered.last().is_some_and(|(.., status)| status.is_success())
                    && world.is_prompt)
        }
        _ => false,
    };
    let Some(index) = world.find(who, 0).filter(|_| ready) else { return };
    let mut get = Sqe::new(AdminOpcode::GET_FEATURES.0, nsid);
    get.cdw10 = (u32::from(fid) | if sel < 8 { sel << 8 } else { 0 }).into();
    // The whole host identifier; the same value elsewhere names a vector or a sensor.
    get.cdw11 = if fid == 0x81 { 1 } else { value }.into();
    let answer = world.command(index, get, 4096, &[]).expect("features are answered at once");
    let is_ok = answer.cqe.status().is_success();
    let is_of_namespace = (0x82..=0x84).contains(&fid);
    if is_of_namespace && is_ok && (sel == 0 || sel >= 8) {
        assert!(is_visible(world, who, nsid), "feature {fid:#x} of namespace {nsid} is not for {who:?}");
    }
    let is_listed = is_in_table(world, index, LogPage::FEATURE_EFFECTS.0, fid);
    let is_plain = !(4..8).contains(&sel);
    if !is_listed {
        assert!(!is_ok && !is_set, "feature {fid:#x} is not listed");
    } else if is_plain && (!is_of_namespace || is_visible(world, who, nsid)) {
        assert!(is_ok, "feature {fid:#x} is listed: {:?}", answer.cqe.status());
    }
    let dw0 = answer.cqe.dw0.get();
    if is_set && is_ok && (sel == 0 || sel >= 8) && world.is_settled() {
        match fid {
            0x01 | 0x0b => assert_eq!(dw0, value),
            0x05 => assert_eq!(dw0, value & 0xffff),
            0x0a => assert_eq!(dw0, value & 1),
            0x0f => {
                assert!(dw0 >= value && dw0 - value < 1000 && dw0.is_multiple_of(1000), "{dw0} for {value}");
            }
            0x82 => assert_eq!(dw0, value & 0xe),
            0x83 => assert_eq!(dw0, value & 1),
            0x84 => assert_eq!(dw0, value & 7),
            _ => {}
        }
    }
}

/// An event request is answered once something has happened, and not more than [`HELD_MAX`] wait.
fn events(world: &mut World, choices: &mut Choices<'_>) {
    let (index, _) = queue(world, choices);
    let ready = is_ready(world, index);
    let mut sqe = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
    sqe.cid = choices.u16().into();
    let before = requests(world, index);
    match world.submit(index, sqe, 0, &[]) {
        Taken::Answered(answer) => {
            let status = answer.cqe.status();
            let expected = if ready { Status::AER_LIMIT_EXCEEDED } else { Status::COMMAND_SEQUENCE_ERROR };
            assert!(status.is(expected) && (!ready || before >= HELD_MAX), "{status:?} with {before}");
        }
        Taken::Held => assert!(ready && before < HELD_MAX, "{before} wait already"),
        Taken::Pending | Taken::Abort { .. } => panic!("an event request waits"),
    }
}

/// Event requests that wait, without the changes of features that do.
fn requests(world: &World, index: usize) -> usize {
    let changes = |sqe: &Sqe| sqe.opc == AdminOpcode::SET_FEATURES.0;
    world.open[index].held.iter().filter(|held| !changes(&held.sqe)).count()
}

/// Something on the I/O queue that can be aborted, or is answered with an error that the log keeps.
fn io(world: &mut World, choices: &mut Choices<'_>) {
    let (_, who) = queue(world, choices);
    let Some(index) = world.find(who, 1) else { return };
    let mut sqe =
        Sqe::new(choices.one_of(&[NvmOpcode::READ.0, NvmOpcode::FLUSH.0, 0x99]), choices.one_of(&NSIDS));
    sqe.cid = u16::from(choices.u8() % 8).into();
    drop(world.submit(index, sqe, if sqe.opc == NvmOpcode::READ.0 { 4096 } else { 0 }, &[]));
}

/// Any Abort: it succeeds, and what it says of its command is true.
fn abort(world: &mut World, choices: &mut Choices<'_>) {
    let (index, who) = queue(world, choices);
    let ready = is_ready(world, index);
    let qid = if choices.u8() == 255 { choices.u16() } else { u16::from(choices.u8() % 3) };
    let cid = if choices.u8() == 255 { choices.u16() } else { u16::from(choices.u8() % 8) };
    let cid = match world.open[index].held.first() {
        Some(held) if qid == 0 && choices.is_set() => held.sqe.cid.get(),
        _ => cid,
    };
    let mut sqe = Sqe::new(AdminOpcode::ABORT.0, 0);
    sqe.cdw10 = (u32::from(qid) | u32::from(cid) << 16).into();
    let before = world.open[index].held.len();
    match world.submit(index, sqe, 0, &[]) {
        Taken::Answered(answer) => {
            assert_eq!(answer.cqe.status().is_success(), ready, "{:?}", answer.cqe.status());
            let gone = before - world.open[index].held.len();
            assert_eq!(gone, usize::from(ready && answer.cqe.dw0.get() == 0), "it says what it did");
        }
        Taken::Abort { connection, cid: named } => {
            let target = world.find(who, qid).expect("a queue of the same controller");
            assert_eq!((world.open[target].id, cid), (connection, named));
        }
        Taken::Held | Taken::Pending => panic!("an Abort is answered at once"),
    }
}
