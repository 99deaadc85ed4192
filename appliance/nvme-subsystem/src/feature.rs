//! Get Features and Set Features (Base 2.1 §5.1.11, §5.1.25).

use crate::admin::Context;
use crate::controller::{Controller, Features, round_keep_alive};
use crate::guard;
use crate::limits::{IO_QUEUES_MAX, KEEP_ALIVE_GRANULARITY_MS};
use crate::outcome::{Answer, Command, Outcome, Refusal};
use crate::slab::Key;
use crate::target::Target;
use nvme_spec::feature::{FeatureCdw10, FeatureId, NumberOfQueues};
use nvme_spec::{NSID_ALL, Sqe, Status};

/// Features of a controller with namespaces; the feature log lists them.
pub(crate) const SUPPORTED: [FeatureId; 16] = [
    FeatureId::ARBITRATION,
    FeatureId::POWER_MANAGEMENT,
    FeatureId::TEMPERATURE_THRESHOLD,
    FeatureId::ERROR_RECOVERY,
    FeatureId::VOLATILE_WRITE_CACHE,
    FeatureId::NUMBER_OF_QUEUES,
    FeatureId::INTERRUPT_COALESCING,
    FeatureId::INTERRUPT_VECTOR,
    FeatureId::WRITE_ATOMICITY,
    FeatureId::ASYNC_EVENT_CONFIG,
    FeatureId::KEEP_ALIVE_TIMER,
    FeatureId::HOST_BEHAVIOR,
    FeatureId::HOST_IDENTIFIER,
    FeatureId::RESERVATION_NOTIFICATION_MASK,
    FeatureId::RESERVATION_PERSISTENCE,
    FeatureId::WRITE_PROTECTION,
];

/// Length of the data of Host Behavior Support.
const HOST_BEHAVIOR_LEN: u32 = 512;

/// Select field of Get Features.
const SELECT_CURRENT: u8 = 0;
const SELECT_SUPPORTED: u8 = 3;

fn is_supported(feature: FeatureId, is_discovery: bool, is_volatile: bool) -> bool {
    if is_discovery {
        return matches!(feature, FeatureId::ASYNC_EVENT_CONFIG | FeatureId::KEEP_ALIVE_TIMER);
    }
    if feature == FeatureId::VOLATILE_WRITE_CACHE {
        return is_volatile;
    }
    SUPPORTED.contains(&feature)
}

fn is_changeable(feature: FeatureId) -> bool {
    !matches!(
        feature,
        FeatureId::INTERRUPT_COALESCING
            | FeatureId::INTERRUPT_VECTOR
            | FeatureId::HOST_IDENTIFIER
            | FeatureId::VOLATILE_WRITE_CACHE
    )
}

/// Features whose scope is a namespace (Base 2.1 figure 385, NVM 1.1 figure 95).
fn is_of_namespace(feature: FeatureId) -> bool {
    feature == FeatureId::ERROR_RECOVERY || is_of_guard(feature)
}

/// Those of them that `guard` knows.
fn is_of_guard(feature: FeatureId) -> bool {
    matches!(
        feature,
        FeatureId::RESERVATION_NOTIFICATION_MASK
            | FeatureId::RESERVATION_PERSISTENCE
            | FeatureId::WRITE_PROTECTION
    )
}

fn check_supported(context: &Context<'_>, feature: FeatureId) -> Result<(), Status> {
    let is_volatile = context.subsystem.is_some_and(|subsystem| subsystem.config.is_volatile);
    if is_supported(feature, context.controller.is_discovery(), is_volatile) {
        Ok(())
    } else {
        Err(Status::INVALID_FIELD.dnr())
    }
}

/// Dword 0 and data of Get Features.
pub(crate) fn get(context: &Context<'_>, sqe: &Sqe) -> Result<(u32, Vec<u8>), Status> {
    let cdw10 = FeatureCdw10::from_bits(sqe.cdw10.get());
    let feature = FeatureId(cdw10.fid());
    check_supported(context, feature)?;
    if is_of_guard(feature) && cdw10.sel() == SELECT_CURRENT {
        return Ok((guard::get_feature(context, feature, sqe.nsid.get())?, Vec::new()));
    }
    let features = match cdw10.sel() {
        SELECT_CURRENT => context.controller.features,
        1 | 2 => Features::DEFAULT, // nothing can be saved, so what is saved is the default
        SELECT_SUPPORTED => {
            let bits = u32::from(is_changeable(feature)) << 2 | u32::from(is_of_guard(feature)) << 1;
            return Ok((bits, Vec::new()));
        }
        _ => return Err(Status::INVALID_FIELD.dnr()),
    };
    let controller = context.controller;
    let dw0 = match feature {
        FeatureId::ARBITRATION => features.arbitration,
        FeatureId::TEMPERATURE_THRESHOLD => temperature(&features, sqe),
        FeatureId::ERROR_RECOVERY => u32::from(features.error_recovery),
        FeatureId::VOLATILE_WRITE_CACHE => 1,
        FeatureId::NUMBER_OF_QUEUES => granted(controller.queues_granted),
        FeatureId::WRITE_ATOMICITY => features.write_atomicity,
        FeatureId::ASYNC_EVENT_CONFIG => features.notices,
        FeatureId::KEEP_ALIVE_TIMER => controller.keep_alive_ms,
        FeatureId::HOST_BEHAVIOR => {
            let mut data = vec![0; 512];
            if let Some(acre) = data.first_mut() {
                *acre = u8::from(features.acre);
            }
            return Ok((0, data));
        }
        FeatureId::HOST_IDENTIFIER if sqe.cdw11.get() & 1 != 0 => {
            return Ok((0, controller.host_id.to_vec()));
        }
        // Identifiers of 64 bits do not exist over fabrics (Base 2.1 §5.1.25.1.28).
        FeatureId::HOST_IDENTIFIER => return Err(Status::INVALID_FIELD.dnr()),
        // The vector asked for; there are no interrupts to coalesce.
        FeatureId::INTERRUPT_VECTOR => sqe.cdw11.get() & 0xffff,
        // Power Management: state 0, the only one. Interrupt Coalescing: there are no interrupts.
        _ => 0,
    };
    Ok((dw0, Vec::new()))
}

/// Over-temperature threshold of the composite sensor; the lower one is 0.
fn temperature(features: &Features, sqe: &Sqe) -> u32 {
    let is_over = (sqe.cdw11.get() >> 20) & 3 == 0;
    if is_over { u32::from(features.temperature_threshold) } else { 0 }
}

fn granted(queues: u16) -> u32 {
    let z = queues.saturating_sub(1);
    NumberOfQueues::new().with_nsq_z(z).with_ncq_z(z).into_bits()
}

pub(crate) fn set(target: &mut Target, key: Key, command: &Command<'_>) -> Result<Outcome, Refusal> {
    let sqe = command.sqe;
    let cdw10 = FeatureCdw10::from_bits(sqe.cdw10.get());
    let feature = FeatureId(cdw10.fid());
    let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    let subsystem = match controller.kind {
        crate::controller::Kind::Io(key) => target.subsystems.get(key),
        crate::controller::Kind::Discovery => None,
    };
    check_supported(&Context { target, controller, subsystem }, feature)?;
    if cdw10.sv() {
        return Err(Status::FEATURE_NOT_SAVEABLE.dnr().into());
    }
    if !is_of_namespace(feature) && !matches!(sqe.nsid.get(), 0 | NSID_ALL) {
        return Err(Status::FEATURE_NOT_NAMESPACE.dnr().into());
    }
    if feature == FeatureId::HOST_BEHAVIOR {
        if command.data_len != HOST_BEHAVIOR_LEN {
            return Err(Status::INVALID_SGL_LENGTH.dnr().into());
        }
        return Ok(Outcome::NeedsData { len: HOST_BEHAVIOR_LEN });
    }
    if is_of_guard(feature) {
        return guard::set_feature(target, key, feature, command);
    }
    let controller = target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    let dw0 = set_value(controller, feature, sqe.cdw11.get())?;
    target.update_deadline();
    Ok(Outcome::Done(Answer::with_result(sqe, dw0)))
}

fn set_value(controller: &mut Controller, feature: FeatureId, value: u32) -> Result<u32, Status> {
    let [v0, v1, v2, v3] = value.to_le_bytes();
    let low = u16::from_le_bytes([v0, v1]);
    match feature {
        FeatureId::ARBITRATION => controller.features.arbitration = value,
        FeatureId::POWER_MANAGEMENT if value & 0x1f == 0 => {}
        FeatureId::POWER_MANAGEMENT => return Err(Status::INVALID_FIELD.dnr()),
        FeatureId::TEMPERATURE_THRESHOLD => {
            if (value >> 20) & 3 == 0 {
                controller.features.temperature_threshold = low;
            }
        }
        FeatureId::ERROR_RECOVERY => controller.features.error_recovery = low,
        FeatureId::WRITE_ATOMICITY => controller.features.write_atomicity = value & 1,
        FeatureId::ASYNC_EVENT_CONFIG => controller.features.notices = value,
        FeatureId::KEEP_ALIVE_TIMER => {
            if value > u32::MAX.saturating_sub(2 * KEEP_ALIVE_GRANULARITY_MS) {
                return Err(Status::INVALID_FIELD.dnr());
            }
            controller.keep_alive_ms = round_keep_alive(value);
        }
        FeatureId::NUMBER_OF_QUEUES => {
            let wanted = low.min(u16::from_le_bytes([v2, v3]));
            if low == u16::MAX || u16::from_le_bytes([v2, v3]) == u16::MAX {
                return Err(Status::INVALID_FIELD.dnr());
            }
            // Only before queues exist (Base 2.1 §5.1.25.2.1).
            if !controller.io_queues.is_empty() {
                return Err(Status::COMMAND_SEQUENCE_ERROR.dnr());
            }
            controller.queues_granted = wanted.saturating_add(1).min(IO_QUEUES_MAX);
            return Ok(granted(controller.queues_granted));
        }
        // Known since Connect (Base 2.1 §5.1.25.1.28).
        FeatureId::HOST_IDENTIFIER => return Err(Status::COMMAND_SEQUENCE_ERROR.dnr()),
        // The cache is the drives'. Turning it off for one host would have to turn every write into a durable one.
        FeatureId::VOLATILE_WRITE_CACHE if value & 1 != 0 => {}
        _ => return Err(Status::FEATURE_NOT_CHANGEABLE.dnr()),
    }
    Ok(0)
}

/// Host Behavior Support (Base 2.1 §5.1.25.1.14).
pub(crate) fn set_with_data(controller: &mut Controller, sqe: &Sqe, data: &[u8]) -> Result<(), Status> {
    let feature = FeatureId(FeatureCdw10::from_bits(sqe.cdw10.get()).fid());
    let (FeatureId::HOST_BEHAVIOR, Some(acre)) = (feature, data.first()) else {
        return Err(Status::INVALID_FIELD.dnr());
    };
    if *acre > 1 {
        return Err(Status::INVALID_FIELD.dnr());
    }
    controller.features.acre = *acre == 1;
    Ok(())
}
