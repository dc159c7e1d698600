//! `watch --notify`: notifications of the desktop about changes that matter.

mod dbus;
mod notice;
mod notifier;
mod schedule;

pub(super) use notice::NoticeFilter;
pub(super) use notifier::Notifier;
