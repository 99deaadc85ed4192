//! The daemon of a node: engine, agent, run.
