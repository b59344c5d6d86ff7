//! A tree over the parts of a name: a path's segments, or a host's labels from the right. A walk ends at the first
//! part that no configured name has, so its cost is bounded by the depth of the configuration, not by the request.

use std::collections::HashMap;

/// Values at the places of a tree. The standard hasher is kept: it can't be flooded, and its cost is far below that of
/// reading the request head.
#[derive(Debug)]
pub(super) struct Tree<V> {
    /// The root is the first. Indices instead of boxes, so that a walk can come back up without a stack.
    nodes: Vec<Node<V>>,
}

#[derive(Debug)]
struct Node<V> {
    value: V,
    parent: Option<usize>,
    children: HashMap<Box<str>, usize>,
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The deepest known node.
    pub(super) node: usize,
    /// Whether every part was known, so that the node stands for the whole name.
    pub(super) whole: bool,
}

// === impl Tree ===

impl<V: Default> Default for Tree<V> {
    fn default() -> Tree<V> {
        Tree { nodes: vec![Node { value: V::default(), parent: None, children: HashMap::new() }] }
    }
}

impl<V: Default> Tree<V> {
    /// The value at these parts, made where there is none yet.
    pub(super) fn entry<'a>(&mut self, parts: impl Iterator<Item = &'a str>) -> &mut V {
        let mut node = 0;
        for part in parts {
            node = match self.nodes[node].children.get(part) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node { value: V::default(), parent: Some(node), children: HashMap::new() });
                    self.nodes[node].children.insert(part.into(), child);
                    child
                }
            };
        }
        &mut self.nodes[node].value
    }

    /// Walks from the root as far as the parts are known.
    pub(super) fn descend<'a>(&self, parts: impl Iterator<Item = &'a str>) -> Place {
        let mut node = 0;
        for part in parts {
            match self.nodes[node].children.get(part) {
                Some(&child) => node = child,
                None => return Place { node, whole: false },
            }
        }
        Place { node, whole: true }
    }

    /// The value at a node.
    pub(super) fn value(&self, node: usize) -> &V {
        &self.nodes[node].value
    }

    /// The values from a node up to the root: the longest name first.
    pub(super) fn ascend(&self, node: usize) -> impl Iterator<Item = &V> {
        std::iter::successors(Some(node), |&node| self.nodes[node].parent).map(|node| &self.nodes[node].value)
    }
}
