//! The gRPC contract `ironbay.v1` and its conversions (layer 5).
#![forbid(unsafe_code)]

/// Messages, clients and servers generated from `proto/ironbay/v1/ironbay.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("ironbay.v1");
}
