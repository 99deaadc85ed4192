//! The peer-to-peer D-Bus between init, engine, agent and console.
