//! Answers sync requests once all changes made before them are published.
//!
//! A cookie file is created in a watched directory of each project. inotify delivers events in
//! order, so when the cookie's event arrives, all earlier events have arrived too; see
//! `docs/specification.md#synchronisation`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::debug;

use super::{COOKIE_TIMEOUT, Engine, RESCAN_TIMEOUT};
use crate::core::path::FeatureSlug;
use crate::engine::inbox::ProjectId;
use crate::engine::project::{Counting, Now};
use crate::engine::view::SyncKind;

/// A sync request that is not answered.
pub(super) struct Waiter {
    pub(super) feature: Option<(ProjectId, FeatureSlug)>,
    /// Cookie files whose inotify event has not arrived.
    pub(super) cookies: HashSet<PathBuf>,
    /// End of [`COOKIE_TIMEOUT`], then of [`RESCAN_TIMEOUT`].
    pub(super) deadline: Duration,
    /// True after the fallback to a rescan.
    pub(super) scanned: bool,
    pub(super) reply: oneshot::Sender<SyncKind>,
}

impl Engine {
    /// Creates a cookie file for each project that the client waits for.
    pub(super) fn start_sync(
        &mut self,
        feature: Option<(ProjectId, FeatureSlug)>,
        reply: oneshot::Sender<SyncKind>,
        now: Now,
    ) {
        // The client disconnected or timed out while the engine was busy.
        if reply.is_closed() {
            return;
        }
        let mut cookies = HashSet::new();
        for project in self.projects.values_mut() {
            if feature.as_ref().is_some_and(|(id, _)| *id != project.setup.id) {
                continue;
            }
            project.check_root(now);
            self.cookie_count += 1;
            let cookie = project.setup.cookies.join(self.cookie_count.to_string());
            if let Err(error) = std::fs::write(&cookie, b"") {
                debug!(path = %cookie.display(), %error, "cannot create the sync cookie");
            }
            cookies.insert(cookie);
        }
        let deadline = now.elapsed + COOKIE_TIMEOUT;
        self.waiters.push(Waiter { feature, cookies, deadline, scanned: false, reply });
    }

    /// Answers the requests whose cookies have arrived and whose features have settled. Starts a
    /// rescan for those whose cookie timed out.
    pub(super) fn resolve_syncs(&mut self, now: Now) {
        let mut unanswered = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            let settled = self.projects.values().all(|project| {
                let slug = match &waiter.feature {
                    Some((id, _)) if *id != project.setup.id => return true,
                    Some((_, slug)) => Some(slug),
                    None => None,
                };
                if self.commits.degraded.is_some() {
                    // Published though not committed, so do not wait for the commit.
                    return project.is_checked(slug);
                }
                // The rescan of this request replaces events that were lost.
                if waiter.scanned { project.is_rescanned(slug) } else { project.is_settled(slug) }
            });
            let timed_out = waiter.deadline <= now.elapsed;
            if waiter.cookies.is_empty() && settled {
                let kind = if waiter.scanned { SyncKind::Scan } else { SyncKind::Cookie };
                let _ = waiter.reply.send(kind);
            } else if timed_out && waiter.scanned {
                let _ = waiter.reply.send(SyncKind::Scan);
            } else {
                if timed_out {
                    self.rescan_for(waiter.feature.as_ref(), now);
                    waiter.cookies.clear();
                    waiter.scanned = true;
                    waiter.deadline = now.elapsed + RESCAN_TIMEOUT;
                }
                unanswered.push(waiter);
            }
        }
        self.waiters = unanswered;
    }

    fn rescan_for(&mut self, feature: Option<&(ProjectId, FeatureSlug)>, now: Now) {
        match feature {
            Some((id, slug)) => {
                if let Some(project) = self.projects.get_mut(id) {
                    project.compare_one(slug, Counting::Poll, &self.pool, now);
                }
            }
            None => {
                for project in self.projects.values_mut() {
                    project.compare_all(Counting::Poll, &self.pool, now);
                }
            }
        }
    }
}
