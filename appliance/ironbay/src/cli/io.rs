//! `ironbay io`: find the volume, run, print numbers.

use super::args::{IoAction, IoArguments, IoRange};
use super::commands::{Answer, volume_named};
use super::text::{exact, human, socket};
use super::{Failure, table::facts};
use api::{Client, Timeouts};
use control::{ControlError, ErrorKind};
use ironbay::io::{IoError, Kind, Report, Run, run};
use nvme_host::{HostError, Session, SessionConfig, Target};
use nvme_tcp::Digests;
use serde_json::json;
use std::error::Error as _;
use std::time::Duration;

/// Where to read and write: as given, or as the node says.
pub(crate) async fn place(
    arguments: &IoArguments,
    endpoint: &str,
    timeouts: Timeouts,
) -> Result<Target, Failure> {
    let mut target = match (&arguments.volume, arguments.portal, &arguments.nqn, arguments.nsid) {
        (Some(name), ..) => {
            let client = Client::connect(endpoint, timeouts).await?;
            target_of(volume_named(&client, name.clone()).await?)?
        }
        (None, Some(portal), Some(nqn), Some(nsid)) => Target::new(portal, nqn, nsid),
        _ => {
            let message = "a volume, or portal, nqn and nsid are needed";
            return Err(ControlError::new(ErrorKind::InvalidArgument, message).into());
        }
    };
    if let Some(nqn) = &arguments.host_nqn {
        target.host_nqn.clone_from(nqn);
    }
    Ok(target)
}

fn target_of(volume: api::v1::Volume) -> Result<Target, Failure> {
    let Some(connection) = volume.connection else {
        let message = format!("volume \"{}\" is being created", volume.name);
        let error = ControlError::new(ErrorKind::FailedPrecondition, message)
            .object(format!("volume/{}", volume.name))
            .remedy("wait until \"ironbay volume list\" shows it online");
        return Err(error.into());
    };
    let portal = connection.portals.iter().find_map(|portal| socket(portal).parse().ok());
    let Some(portal) = portal else {
        let error =
            ControlError::new(ErrorKind::FailedPrecondition, "the node names no portal for this volume")
                .object(format!("volume/{}", volume.name))
                .remedy("\"ironbay node\" shows the portals; give one with --portal, --nqn and --nsid");
        return Err(error.into());
    };
    Ok(Target::new(portal, &connection.subsystem_nqn, connection.nsid))
}

/// Connects, runs, and says how it went.
pub(crate) fn execute(
    arguments: &IoArguments,
    target: &Target,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let (kind, range) = match arguments.action {
        IoAction::Write(range) => (Kind::Write, range),
        IoAction::Read(range) => (Kind::Read, range),
        IoAction::Verify(range) => (Kind::Verify, range),
    };
    let IoRange { offset, length, seed, queue_depth, io_size } = range;
    let digests = Digests { header: arguments.digests, data: arguments.digests };
    let config = SessionConfig {
        depth: queue_depth,
        io_bytes_max: io_size,
        digests,
        timeout,
        ..SessionConfig::default()
    };
    let mut session = Session::connect(target, config).map_err(|error| failure(error.into(), target))?;
    let namespace = session.namespace();
    let length = length.unwrap_or_else(|| namespace.size_bytes().saturating_sub(offset));
    let io_size = io_size.min(session.transfer_bytes_max());
    let job = Run { kind, offset, length, seed, io_size, depth: queue_depth };
    let report = run(&mut session, &job).map_err(|error| failure(error, target))?;
    session.close();
    Ok(answer(&job, &report))
}

fn answer(job: &Run, report: &Report) -> Answer {
    let seconds = report.elapsed.as_secs_f64().max(1e-9);
    let iops = report.latency.count() as f64 / seconds;
    let rate = report.bytes as f64 / seconds;
    let us = |latency: Duration| latency.as_secs_f64() * 1e6;
    let (mean, p50, p99, max) = (
        us(report.latency.mean()),
        us(report.latency.percentile(500)),
        us(report.latency.percentile(990)),
        us(report.latency.max()),
    );
    let done = match job.kind {
        Kind::Write => "written",
        Kind::Read => "read",
        Kind::Verify => "verified",
    };
    let text = facts(&[
        (done, exact(report.bytes)),
        ("time", format!("{seconds:.3} s")),
        ("rate", format!("{:.1} MiB/s", rate / f64::from(1 << 20))),
        (
            "commands",
            format!(
                "{} of {}, {} in flight",
                report.latency.count(),
                human(u64::from(job.io_size)),
                job.depth
            ),
        ),
        ("IOPS", format!("{iops:.0}")),
        ("latency", format!("mean {mean:.0} µs, p50 {p50:.0} µs, p99 {p99:.0} µs, max {max:.0} µs")),
    ]);
    let json = json!({
        "action": done, "bytes": report.bytes, "commands": report.latency.count(), "io_size": job.io_size,
        "queue_depth": job.depth, "seed": job.seed, "offset": job.offset, "seconds": seconds, "iops": iops,
        "bytes_per_second": rate, "latency_us": { "mean": mean, "p50": p50, "p99": p99, "max": max },
    });
    Answer::new(text, json)
}

fn failure(error: IoError, target: &Target) -> Failure {
    let portal = format!("portal/{}", target.portal);
    let told = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let of = |kind, object: String, remedy: &str| {
        ControlError::new(kind, told.clone()).object(object).remedy(remedy)
    };
    let namespace = format!("namespace/{}", target.nsid);
    let error = match error {
        IoError::Mismatch { .. } => of(
            ErrorKind::Internal,
            namespace,
            "check seed, offset and length; if they are those of the write, the data is damaged or was written over",
        ),
        IoError::Host(error) => match error {
            HostError::Connect { .. }
            | HostError::TimedOut { .. }
            | HostError::Closed { .. }
            | HostError::Socket { .. } => of(
                ErrorKind::Unavailable,
                portal,
                "check the portal (\"ironbay volume get\" shows it), and that the node serves; --timeout waits longer",
            ),
            HostError::NoNamespace { .. } => of(
                ErrorKind::NotFound,
                namespace,
                "\"ironbay volume get\" shows subsystem and namespace of a volume",
            ),
            HostError::Refused { command: "Connect", .. } => of(
                ErrorKind::NotFound,
                format!("subsystem/{}", target.subsystem_nqn),
                "\"ironbay volume get\" shows the subsystem NQN of a volume and whether it is online, \
                 \"ironbay pool list\" why not",
            ),
            HostError::BadRange { .. } | HostError::BadNqn { .. } => {
                of(ErrorKind::InvalidArgument, namespace, "choose --offset, --length and --io-size that fit")
            }
            HostError::Unsupported { .. } | HostError::Protocol { .. } => of(
                ErrorKind::Internal,
                portal,
                "try without --digests; use client and node of the same version",
            ),
            HostError::Refused { .. } | HostError::Full => {
                of(ErrorKind::Internal, namespace, "\"ironbay drive list\" and the log of the node say more")
            }
        },
    };
    error.into()
}
