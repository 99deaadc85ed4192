//! Tests of the engine: what each request costs, stories with snapshots and full pools, and lives under power cuts.

mod at_rest;
mod attributes;
mod audit;
mod beside;
mod contradictions;
mod damage;
mod faults;
mod full;
mod hostile;
mod judge;
mod power_cut;
mod small_scope;
mod stories;
mod world;
