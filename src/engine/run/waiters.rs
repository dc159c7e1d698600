//! Clients that wait until their own changes are seen.

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

/// A client that waits until its own changes are seen.
pub(super) struct Waiter {
    pub(super) feature: Option<(ProjectId, FeatureSlug)>,
    /// Cookie files that have not come back.
    pub(super) cookies: HashSet<PathBuf>,
    pub(super) deadline: Duration,
    pub(super) scanned: bool,
    pub(super) reply: oneshot::Sender<SyncKind>,
}

impl Engine {
    /// Puts a cookie on the queue of every project that a client waits for.
    pub(super) fn start_sync(
        &mut self,
        feature: Option<(ProjectId, FeatureSlug)>,
        reply: oneshot::Sender<SyncKind>,
        now: Now,
    ) {
        // Nobody waits any more: the engine was kept from its work for long.
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
                debug!(path = %cookie.display(), %error, "a cookie cannot be written");
            }
            cookies.insert(cookie);
        }
        let deadline = now.elapsed + COOKIE_TIMEOUT;
        self.waiters.push(Waiter { feature, cookies, deadline, scanned: false, reply });
    }

    /// Answers the clients whose changes are seen and settled.
    pub(super) fn resolve_syncs(&mut self, now: Now) {
        let mut waiting = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            let settled = self.projects.values().all(|project| {
                let slug = match &waiter.feature {
                    Some((id, _)) if *id != project.setup.id => return true,
                    Some((_, slug)) => Some(slug),
                    None => None,
                };
                if self.commits.degraded.is_some() {
                    // What is shown is true, though not durable.
                    return project.is_checked(slug);
                }
                // A comparison of its own made up for what was lost.
                if waiter.scanned { project.is_rescanned(slug) } else { project.is_settled(slug) }
            });
            let late = waiter.deadline <= now.elapsed;
            if waiter.cookies.is_empty() && settled {
                let kind = if waiter.scanned { SyncKind::Scan } else { SyncKind::Cookie };
                let _ = waiter.reply.send(kind);
            } else if late && waiter.scanned {
                let _ = waiter.reply.send(SyncKind::Scan);
            } else {
                if late {
                    self.rescan_for(waiter.feature.as_ref(), now);
                    waiter.cookies.clear();
                    waiter.scanned = true;
                    waiter.deadline = now.elapsed + RESCAN_TIMEOUT;
                }
                waiting.push(waiter);
            }
        }
        self.waiters = waiting;
    }

    pub(super) fn rescan_for(&mut self, feature: Option<&(ProjectId, FeatureSlug)>, now: Now) {
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
