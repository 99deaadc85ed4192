//! The claims of `ranges` by the blocks that they are for: whoever asks about an area does not pay for claims elsewhere.
//!
//! ```text
//!                  [40..41) reach 90            ordered by first block, balanced (AVL);
//!               ╱                   ╲           "reach" is the end of whatever reaches farthest below:
//!      [8..24) reach 24      [64..65) reach 90  where that ends before the area, nobody below is looked at
//!                                    ╲
//!                                 [72..90) reach 90
//! ```
//!
//! Invariants
//! - A claim is found by its area and its owner; a command has one at most.
//! - The two sides of a node differ by one level at most, so that a hostile order of claims makes nothing slow.
//! - Memory for [`CLAIMS_MAX`] claims is there from the start.

use crate::limits::CLAIMS_MAX;
use crate::ranges::{Area, Owner, Place};

/// Nobody.
const NONE: u16 = u16::MAX;

/// Levels of a balanced tree with [`CLAIMS_MAX`] nodes: 1.44 times the logarithm.
const LEVELS_MAX: usize = 20;

const _: () = assert!(CLAIMS_MAX < NONE as usize && CLAIMS_MAX <= 1 << 13);

/// One claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) area: Area,
    pub(crate) is_exclusive: bool,
    /// Among those that have to end first are writes of lost connections.
    pub(crate) counts_lost: bool,
    /// Later claims have larger numbers.
    pub(crate) number: u64,
    /// Commands that have to end first.
    pub(crate) ahead: usize,
}

impl Claim {
    fn key(&self) -> (Place, Owner) {
        (self.area.start(), self.owner)
    }
}

#[derive(Debug)]
struct Node {
    claim: Claim,
    /// Where the claims from here on down end.
    reach: Place,
    left: u16,
    right: u16,
    levels: u8,
}

/// All claims of a core.
#[derive(Debug)]
pub(crate) struct Claims {
    nodes: Vec<Node>,
    free: Vec<u16>,
    root: u16,
    /// Nodes that were looked at to find overlapping ones.
    #[cfg(test)]
    pub(crate) looks: usize,
}

impl Claims {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::with_capacity(CLAIMS_MAX),
            free: Vec::with_capacity(CLAIMS_MAX),
            root: NONE,
            #[cfg(test)]
            looks: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root == NONE
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.nodes.len() == CLAIMS_MAX
    }

    /// Adds a claim.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn insert(&mut self, claim: Claim) {
        assert!(!self.is_full(), "the number of claims was checked");
        let node = Node { claim, reach: claim.area.end(), left: NONE, right: NONE, levels: 1 };
        let new = match self.free.pop() {
            Some(index) => {
                self.nodes[usize::from(index)] = node;
                index
            }
            None => {
                self.nodes.push(node);
                u16::try_from(self.nodes.len() - 1).expect("claims are few")
            }
        };
        self.root = self.insert_below(self.root, new);
    }

    /// Takes a claim out.
    ///
    /// # Panics
    /// If it is not there.
    pub(crate) fn remove(&mut self, owner: Owner, area: &Area) -> Claim {
        let key = (area.start(), owner);
        let mut at = self.root;
        while self.node(at).claim.key() != key {
            at = if key < self.node(at).claim.key() { self.node(at).left } else { self.node(at).right };
        }
        self.root = self.remove_below(self.root, key);
        self.free.push(at);
        self.node(at).claim
    }

    /// Calls `visit` for each claim that has a block in common with an area.
    pub(crate) fn each_overlapping(&mut self, area: &Area, mut visit: impl FnMut(&mut Claim)) {
        // Each node that is looked at leaves at most one behind on its level.
        let mut stack = [NONE; LEVELS_MAX + 1];
        let mut count = 0;
        let mut next = self.root;
        loop {
            if next == NONE {
                let Some(last) = usize::checked_sub(count, 1) else { return };
                (count, next) = (last, stack[last]);
            }
            #[cfg(test)]
            {
                self.looks += 1;
            }
            let node = &mut self.nodes[usize::from(next)];
            if node.reach <= area.start() {
                next = NONE;
                continue;
            }
            if node.claim.area.start() < area.end() {
                if node.claim.area.overlaps(area) {
                    visit(&mut node.claim);
                }
                if node.right != NONE {
                    stack[count] = node.right;
                    count += 1;
                }
            }
            next = node.left;
        }
    }

    fn node(&self, at: u16) -> &Node {
        self.nodes.get(usize::from(at)).expect("a claim that is looked for is there")
    }

    fn node_mut(&mut self, at: u16) -> &mut Node {
        &mut self.nodes[usize::from(at)]
    }

    fn levels(&self, at: u16) -> u8 {
        self.nodes.get(usize::from(at)).map_or(0, |node| node.levels)
    }

    fn insert_below(&mut self, at: u16, new: u16) -> u16 {
        if at == NONE {
            return new;
        }
        if self.node(new).claim.key() < self.node(at).claim.key() {
            self.node_mut(at).left = self.insert_below(self.node(at).left, new);
        } else {
            self.node_mut(at).right = self.insert_below(self.node(at).right, new);
        }
        self.balance(at)
    }

    fn remove_below(&mut self, at: u16, key: (Place, Owner)) -> u16 {
        let Node { left, right, .. } = *self.node(at);
        let found = self.node(at).claim.key();
        if key < found {
            self.node_mut(at).left = self.remove_below(left, key);
        } else if key > found {
            self.node_mut(at).right = self.remove_below(right, key);
        } else {
            if left == NONE || right == NONE {
                return if left == NONE { right } else { left };
            }
            let (first, rest) = self.take_first(right);
            let node = self.node_mut(first);
            (node.left, node.right) = (left, rest);
            return self.balance(first);
        }
        self.balance(at)
    }

    /// The first node below, and what is left without it.
    fn take_first(&mut self, at: u16) -> (u16, u16) {
        let Node { left, right, .. } = *self.node(at);
        if left == NONE {
            return (at, right);
        }
        let (first, rest) = self.take_first(left);
        self.node_mut(at).left = rest;
        (first, self.balance(at))
    }

    /// Sets a node right whose sides are right, and differ by two levels at most; says which is in its place now.
    fn balance(&mut self, at: u16) -> u16 {
        let Node { left, right, .. } = *self.node(at);
        if self.levels(left) > self.levels(right) + 1 {
            if self.levels(self.node(left).left) < self.levels(self.node(left).right) {
                self.node_mut(at).left = self.lift_right(left);
            }
            return self.lift_left(at);
        }
        if self.levels(right) > self.levels(left) + 1 {
            if self.levels(self.node(right).right) < self.levels(self.node(right).left) {
                self.node_mut(at).right = self.lift_left(right);
            }
            return self.lift_right(at);
        }
        self.sum_up(at);
        at
    }

    /// The left side takes the place of a node, which becomes its right side.
    fn lift_left(&mut self, at: u16) -> u16 {
        let left = self.node(at).left;
        self.node_mut(at).left = self.node(left).right;
        self.node_mut(left).right = at;
        self.sum_up(at);
        self.sum_up(left);
        left
    }

    /// The right side takes the place of a node, which becomes its left side.
    fn lift_right(&mut self, at: u16) -> u16 {
        let right = self.node(at).right;
        self.node_mut(at).right = self.node(right).left;
        self.node_mut(right).left = at;
        self.sum_up(at);
        self.sum_up(right);
        right
    }

    fn sum_up(&mut self, at: u16) {
        let Node { left, right, claim, .. } = *self.node(at);
        let reach = |side: u16| self.nodes.get(usize::from(side)).map_or((0, 0), |node| node.reach);
        let reach = claim.area.end().max(reach(left)).max(reach(right));
        let levels = self.levels(left).max(self.levels(right)) + 1;
        let node = self.node_mut(at);
        (node.reach, node.levels) = (reach, levels);
    }

    /// The oldest claim but so many.
    #[cfg(test)]
    pub(crate) fn by_age(&self, index: usize) -> Claim {
        let is_free = |at: usize| self.free.contains(&u16::try_from(at).expect("claims are few"));
        let mut all: Vec<Claim> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(at, _)| !is_free(*at))
            .map(|(_, node)| node.claim)
            .collect();
        all.sort_by_key(|claim| claim.number);
        all[index]
    }
}

#[cfg(test)]
mod tests;
