//! File checks of one feature that are under way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::{EffectId, EffectTag};
use crate::core::path::RelPath;

/// Why a path is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckKind {
    /// The published entry may be stale; readers who want the present state wait.
    Check,
    /// Only to be sure of a file that was written shortly before it was read: the published entry
    /// is kept meanwhile and no reader waits.
    Recheck,
}

/// A check that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) id: EffectId,
    pub(super) kind: CheckKind,
    /// When it began: what it finds was true then or later.
    pub(super) began: Duration,
    /// Something happened to the path since it began: check it again when this one finishes.
    pub(super) again: bool,
}

/// The checks of one feature, at most one for each path.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// A tree, as is all that is large only for a moment: a hash table would keep its capacity.
    checks: BTreeMap<RelPath, Check>,
    /// Number of checks that are more than rechecks.
    blocking: usize,
}

impl InFlight {
    /// Records that a path must be checked. Returns true if the caller is to start the check now,
    /// with `tag`; while one is under way the path is checked again after it.
    pub(super) fn start(
        &mut self,
        path: &RelPath,
        kind: CheckKind,
        tag: EffectTag,
        now: Duration,
    ) -> bool {
        match self.checks.get_mut(path) {
            Some(check) => {
                self.blocking += usize::from(!check.is_blocking());
                check.again = true;
                false
            }
            None => {
                let check = Check { id: tag.id, kind, began: now, again: false };
                self.blocking += usize::from(check.is_blocking());
                self.checks.insert(path.clone(), check);
                true
            }
        }
    }

    /// Records that a check finished. Returns `None` for one that is not under way.
    pub(super) fn finish(&mut self, path: &RelPath, id: EffectId) -> Option<Check> {
        let check = self.checks.get(path).copied().filter(|check| check.id == id)?;
        self.checks.remove(path);
        self.blocking -= usize::from(check.is_blocking());
        Some(check)
    }

    /// Finds the path of a check.
    pub(super) fn path_of(&self, id: EffectId) -> Option<&RelPath> {
        self.checks.iter().find(|(_, check)| check.id == id).map(|(path, _)| path)
    }

    /// Has the selected paths checked again after the check that is under way.
    pub(super) fn check_again(&mut self, is_selected: impl Fn(&RelPath) -> bool) {
        for (_, check) in self.checks.iter_mut().filter(|(path, _)| is_selected(path)) {
            self.blocking += usize::from(!check.is_blocking());
            check.again = true;
        }
    }

    /// Has every path checked again after the check that is under way.
    pub(super) fn check_all_again(&mut self) {
        self.checks.values_mut().for_each(|check| check.again = true);
        self.blocking = self.checks.len();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Returns the paths whose published entry may be stale because of a check that is under way.
    pub(super) fn blocking_paths(&self) -> impl Iterator<Item = &RelPath> {
        let checks = self.checks.iter().filter(|_| self.is_blocking());
        checks.filter(|(_, check)| check.is_blocking()).map(|(path, _)| path)
    }

    /// Returns true if a published entry may be stale because of a check that is under way.
    pub(super) fn is_blocking(&self) -> bool {
        self.blocking > 0
    }
}

impl Check {
    fn is_blocking(&self) -> bool {
        self.again || self.kind == CheckKind::Check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reconcile::effect::EffectQueue;

    #[test]
    fn rechecks_do_not_block_readers() {
        let [a, b] = [&b"a"[..], b"b"].map(|path| RelPath::new(path).unwrap());
        let mut queue = EffectQueue::default();
        let [one, two, three] = [(); 3].map(|()| queue.next_tag());
        let at = Duration::ZERO;
        let mut checks = InFlight::default();
        assert!(checks.start(&a, CheckKind::Recheck, one, at) && !checks.is_blocking());
        assert!(checks.start(&b, CheckKind::Check, two, at) && checks.is_blocking());
        assert!(checks.finish(&b, one.id).is_none(), "the result of another check");
        assert!(checks.finish(&b, two.id).is_some_and(|check| !check.again));
        assert!(!checks.is_blocking() && !checks.is_empty());
        assert!(!checks.start(&a, CheckKind::Check, three, at), "checked again afterwards");
        assert!(checks.is_blocking());
        assert_eq!(checks.path_of(one.id), Some(&a));
        assert!(checks.finish(&a, one.id).is_some_and(|check| check.again));
        assert!(checks.finish(&a, one.id).is_none());
        assert!(checks.start(&a, CheckKind::Recheck, three, at));
        checks.check_all_again();
        assert!(checks.is_blocking());
        assert!(checks.finish(&a, three.id).is_some_and(|check| check.again));
        assert!(checks.is_empty() && !checks.is_blocking());
    }
}
