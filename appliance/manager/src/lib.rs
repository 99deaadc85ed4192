//! Desired state to engine primitives: the gRPC server.
