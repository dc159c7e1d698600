//! Decides what happens to a watched project. Pure: no file system, clock, thread or log.
//!
//! What happened arrives as an [`Event`](event::Event), what is to be done leaves as an
//! [`Effect`](effect::Effect), and `io` executes effects. Reconciliation is level-triggered, as in
//! Kubernetes: an event only names where recorded and observed state may differ; a check of the
//! path decides.
//!
//! **Invariant:** a listing never deletes, it makes suspects. A deletion is committed only after a
//! check of that path that began after the suspicion, with the root found present and git's lock
//! found free after that check.
//!
//! Read downwards: [`project`] receives events and owns the components below it; [`feature`] is one
//! feature, [`path_work`] what is under way for its paths, [`pending`] what is not committed.

pub(super) mod effect;
pub(super) mod event;
pub(super) mod feature;
pub(super) mod pending;
pub(super) mod planted;
pub(super) mod project;
pub(super) mod project_view;
pub(super) mod settings;
pub(super) mod sync;

mod feature_commit;
mod feature_index;
mod feature_table;
mod git_hold;
mod in_flight;
mod linked_files;
mod mount_checks;
mod path_work;
mod poll;
mod refresh;
mod root;
mod scrub;
mod snapshot_retry;
mod tombstones;
mod watch_health;
