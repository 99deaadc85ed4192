//! Space and references, counted again from what the volumes reach.

use crate::engine::Engine;
use crate::map::{Body, Map, NodeId};
use ondisk::thin::Au;
use sim::SimDrive;
use std::collections::BTreeMap;

/// Counts the parents of each node and the leaves of each unit.
fn walk(map: &Map, id: NodeId, nodes: &mut BTreeMap<NodeId, u32>, units: &mut BTreeMap<Au, u32>) {
    let count = nodes.entry(id).or_default();
    *count += 1;
    if *count > 1 {
        return;
    }
    match &map.node(id).body {
        Body::Inner { children, .. } => {
            for child in children.iter().flatten() {
                walk(map, *child, nodes, units);
            }
        }
        Body::Lost => panic!("{id:?} could not be loaded"),
        Body::Leaf(entries) => {
            for entry in entries.iter().flatten() {
                assert!(entry.is_valid(), "{entry:?}");
                for piece in core::iter::once(entry.own).chain(entry.base) {
                    *units.entry(piece.au).or_default() += 1;
                }
            }
        }
    }
}

/// Every unit is free, or referenced as often as leaves name it, or holds nodes that something names: nothing leaks and
/// nothing has two owners. Only right after a checkpoint, when nothing waits for anything.
pub(super) fn audit(engine: &Engine<SimDrive>) {
    let state = engine.state.borrow();
    assert!(!state.space.is_waiting(), "nothing waits after a checkpoint");
    let (mut nodes, mut units) = (BTreeMap::new(), BTreeMap::new());
    for root in state.volumes.values().filter_map(|v| v.root) {
        walk(&state.map, root, &mut nodes, &mut units);
    }
    let attributes = state.volumes.values().flat_map(|v| v.attributes.places.iter().copied());
    let mut places: Vec<_> =
        state.tables.iter().copied().chain(state.bitmap.places()).chain(attributes).collect();
    for (id, count) in &nodes {
        assert_eq!(state.map.refs(*id), *count, "references of {id:?}");
        places.push(state.map.node(*id).stored.expect("a checkpoint writes all nodes").at);
    }
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "two nodes at one place");
    let mut meta: Vec<Au> = places.iter().filter_map(|at| Au::of(*at)).collect();
    meta.dedup();
    for au in engine.drives().layout.usable() {
        let refs = units.get(&au).copied().unwrap_or(0);
        assert_eq!(state.space.refs(au), refs, "references of {au:?}");
        assert!(refs == 0 || !meta.contains(&au), "{au:?} holds data and nodes");
        let is_used = refs > 0 || meta.contains(&au);
        assert_eq!(state.space.is_free(au), !is_used, "{au:?}");
    }
    let places_known: usize = state.space.nodes_used();
    assert_eq!(places_known, places.len(), "places of nodes");
}
