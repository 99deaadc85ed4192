//! The maps of all volumes in memory: trees that share what snapshots and clones have in common.
//!
//! ```text
//!  volume ─▶ inner ─▶ leaf' (own copy)          references of a node: parents and volumes
//!               └────┐                          references of a unit: leaves
//!  snapshot ─▶ inner ─▶ leaf ─▶ units
//! ```
//!
//! Invariants
//! - A node with more than one reference is never changed: whoever changes what is below it gets a copy first. So a
//!   snapshot is one more reference to a root, whatever its size.
//! - Whoever may write to a unit in place is the only one who reaches it: each node on the way and the unit itself have
//!   one reference.
//! - A place that was written is never written again: a node that changed gets another one from the next checkpoint, and
//!   its old place is given back when no root names it any more.
//! - Whatever is above a changed node counts as changed, too, so a checkpoint finds everything from the roots.
//!
//! Beside a running checkpoint nodes change in *rounds*: it writes what changed before it began, and what has no place yet
//! below such nodes. A node that it wrote may change again before its parent is written; the parent then names what was
//! written, which is whole, only older, and stays changed for the next checkpoint.

use crate::space::Space;
use ondisk::thin::{Address, Au, LEAF_UNITS, Leaf, MapEntry, MapNode, NODE_POINTERS, Piece, Pointer};

/// Names a node in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(usize);

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Inner {
        level: u8,
        children: Box<[Option<NodeId>; NODE_POINTERS]>,
    },
    Leaf(Box<Leaf>),
    /// It could not be loaded. Only in a frozen pool.
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    refs: u32,
    /// Where it was stored last; since then it may have changed.
    pub(crate) stored: Option<Pointer>,
    /// The round in which it changed first since it was stored; `None` if it is as it was stored.
    changed: Option<u64>,
    pub(crate) body: Body,
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Map {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    /// Nodes that differ from what is stored of them.
    pub(crate) dirty: usize,
    /// Inner nodes that were never stored. When they are, changes below may keep them changed: they need two places then.
    pub(crate) unplaced_inner: usize,
    /// Places that the last root names and the next one does not.
    pub(crate) stale: Vec<Address>,
    /// One more with each checkpoint that begins.
    round: u64,
}

/// Which child of a node of this level leads to a unit.
fn slot(level: u8, unit: u64) -> usize {
    let span = MapNode::span(level.saturating_sub(1)).expect("levels are bounded");
    usize::try_from(unit / span % NODE_POINTERS as u64).expect("small")
}

fn leaf_slot(unit: u64) -> usize {
    usize::try_from(unit % LEAF_UNITS as u64).expect("small")
}

fn pieces(entry: Option<MapEntry>) -> impl Iterator<Item = Piece> {
    entry.into_iter().flat_map(|entry| core::iter::once(entry.own).chain(entry.base))
}

/// The entry without what is hidden or empty.
pub(crate) fn normal(mut entry: MapEntry) -> Option<MapEntry> {
    entry.base =
        entry.base.map(|base| Piece { mask: base.mask & !entry.own.mask, ..base }).filter(|b| b.mask != 0);
    if entry.own.mask == 0 {
        entry = MapEntry { own: entry.base?, base: None };
    }
    Some(entry)
}

impl Map {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.0].as_ref().expect("references keep nodes")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0].as_mut().expect("references keep nodes")
    }

    /// A node with one reference.
    pub(crate) fn add(&mut self, body: Body, stored: Option<Pointer>) -> NodeId {
        self.dirty += usize::from(stored.is_none());
        self.unplaced_inner += usize::from(stored.is_none() && matches!(body, Body::Inner { .. }));
        let changed = stored.is_none().then_some(self.round);
        let node = Some(Node { refs: 1, stored, changed, body });
        if let Some(id) = self.free.pop() {
            self.nodes[id.0] = node;
            return id;
        }
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn retain(&mut self, id: NodeId) {
        self.node_mut(id).refs += 1;
    }

    /// A new node of a level, without anything below it.
    fn blank(&mut self, level: u8) -> NodeId {
        let body = if level == 0 {
            Body::Leaf(Box::new([None; LEAF_UNITS]))
        } else {
            Body::Inner { level, children: Box::new([None; NODE_POINTERS]) }
        };
        self.add(body, None)
    }

    /// A root one level above `root`.
    pub(crate) fn raise(&mut self, root: NodeId, level: u8) -> NodeId {
        let raised = self.blank(level);
        let Body::Inner { children, .. } = &mut self.node_mut(raised).body else {
            unreachable!("a raised root")
        };
        children[0] = Some(root);
        raised
    }

    /// What a unit maps to, and whether somebody else reaches the same leaf.
    pub(crate) fn lookup(&self, root: Option<NodeId>, unit: u64) -> (Option<MapEntry>, bool) {
        let mut at = root;
        let mut is_shared = false;
        while let Some(id) = at {
            let node = self.node(id);
            is_shared |= node.refs > 1;
            match &node.body {
                Body::Inner { level, children } => at = children[slot(*level, unit)],
                Body::Leaf(entries) => return (entries[leaf_slot(unit)], is_shared),
                Body::Lost => break,
            }
        }
        (None, is_shared)
    }

    /// Whether the part of a map that knows a unit could not be loaded.
    pub(crate) fn is_lost(&self, root: Option<NodeId>, unit: u64) -> bool {
        let mut at = root;
        while let Some(id) = at {
            match &self.node(id).body {
                Body::Inner { level, children } => at = children[slot(*level, unit)],
                Body::Leaf(_) => return false,
                Body::Lost => return true,
            }
        }
        false
    }

    /// Makes a node changeable: itself if it has one reference, else a copy.
    fn own(&mut self, id: NodeId, space: &mut Space) -> NodeId {
        if self.node(id).refs == 1 {
            let round = self.round;
            let node = self.node_mut(id);
            let was_clean = node.changed.is_none();
            node.changed.get_or_insert(round);
            self.dirty += usize::from(was_clean);
            return id;
        }
        self.node_mut(id).refs -= 1;
        let body = self.node(id).body.clone();
        match &body {
            Body::Inner { children, .. } => {
                for child in children.iter().flatten() {
                    self.retain(*child);
                }
            }
            Body::Leaf(entries) => {
                for piece in entries.iter().flat_map(|entry| pieces(*entry)) {
                    space.retain(piece.au);
                }
            }
            Body::Lost => {}
        }
        self.add(body, None)
    }

    /// Replaces the entry of a unit; gives the new root. References of units follow.
    pub(crate) fn replace(
        &mut self,
        root: Option<NodeId>,
        level: u8,
        unit: u64,
        entry: Option<MapEntry>,
        space: &mut Space,
    ) -> NodeId {
        let node = match root {
            Some(id) => self.own(id, space),
            None => self.blank(level),
        };
        let child = match &mut self.node_mut(node).body {
            Body::Inner { children, .. } => children[slot(level, unit)],
            Body::Leaf(entries) => {
                let old = core::mem::replace(&mut entries[leaf_slot(unit)], entry);
                // A unit that stays keeps its reference: with a new one, and the old one given back only when that is durable,
                // it would count as shared until then.
                let stays = |of: Option<MapEntry>, au: Au| pieces(of).any(|piece| piece.au == au);
                pieces(entry).filter(|p| !stays(old, p.au)).for_each(|piece| space.retain(piece.au));
                pieces(old).filter(|p| !stays(entry, p.au)).for_each(|piece| space.release(piece.au));
                return node;
            }
            // What is unknown stays so.
            Body::Lost => return node,
        };
        let child = self.replace(child, level - 1, unit, entry, space);
        if let Body::Inner { children, .. } = &mut self.node_mut(node).body {
            children[slot(level, unit)] = Some(child);
        }
        node
    }

    /// One reference less; what nobody reaches any more goes, with all that only it reached.
    pub(crate) fn release(&mut self, id: NodeId, space: &mut Space) {
        let node = self.node_mut(id);
        node.refs -= 1;
        if node.refs > 0 {
            return;
        }
        let Some(node) = self.nodes[id.0].take() else { return };
        self.free.push(id);
        self.dirty -= usize::from(node.changed.is_some());
        match node.stored {
            Some(pointer) => self.stale.push(pointer.at),
            None => self.unplaced_inner -= usize::from(matches!(node.body, Body::Inner { .. })),
        }
        match node.body {
            Body::Inner { children, .. } => {
                for child in children.into_iter().flatten() {
                    self.release(child, space);
                }
            }
            Body::Leaf(entries) => {
                entries.iter().flat_map(|entry| pieces(*entry)).for_each(|piece| space.release(piece.au));
            }
            Body::Lost => {}
        }
    }

    /// A checkpoint begins: what changes from now on is for the next one.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Whether the running checkpoint has to write a node that it reaches.
    fn is_pending(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.changed.is_some_and(|round| round < self.round || node.stored.is_none())
    }

    /// A node that the running checkpoint has to write next, at or below `id`, with the first unit that it covers: children
    /// before parents.
    pub(crate) fn pending(&self, id: NodeId, first_unit: u64) -> Option<(NodeId, u64)> {
        if !self.is_pending(id) {
            return None;
        }
        if let Body::Inner { level, children } = &self.node(id).body {
            let span = MapNode::span(level - 1).expect("levels are bounded");
            let mut below = children.iter().zip(0..).filter_map(|(child, at)| child.map(|c| (c, at)));
            if let Some(found) = below.find_map(|(child, at)| self.pending(child, first_unit + at * span)) {
                return Some(found);
            }
        }
        Some((id, first_unit))
    }

    /// A node as it is to be stored now; its children have their places.
    pub(crate) fn to_store(&self, id: NodeId) -> MapNode {
        match &self.node(id).body {
            Body::Leaf(entries) => MapNode::Leaf(entries.clone()),
            Body::Lost => unreachable!("a frozen pool has no checkpoints"),
            Body::Inner { level, children } => {
                let place = |child: NodeId| self.node(child).stored.expect("children are written first");
                MapNode::Inner { level: *level, children: Box::new(children.map(|child| child.map(place))) }
            }
        }
    }

    /// A node gets this place, as it is now.
    pub(crate) fn place(&mut self, id: NodeId, pointer: Pointer) {
        let is_changed = |child: &NodeId| self.node(*child).changed.is_some();
        let is_inner = match &self.node(id).body {
            Body::Inner { children, .. } => Some(children.iter().flatten().any(is_changed)),
            Body::Leaf(_) | Body::Lost => None,
        };
        let round = self.round;
        let node = self.node_mut(id);
        node.changed = is_inner.unwrap_or(false).then_some(round);
        let (is_clean, old) = (node.changed.is_none(), node.stored.replace(pointer));
        self.dirty -= usize::from(is_clean);
        match old {
            Some(old) => self.stale.push(old.at),
            None => self.unplaced_inner -= usize::from(is_inner.is_some()),
        }
    }
}

#[cfg(test)]
impl Map {
    pub(crate) fn places(&self) -> impl Iterator<Item = Address> {
        self.nodes.iter().flatten().filter_map(|node| node.stored).map(|pointer| pointer.at)
    }

    pub(crate) fn refs(&self, id: NodeId) -> u32 {
        self.node(id).refs
    }
}
