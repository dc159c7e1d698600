//! Checks of files for the engine: stats a path and hashes it if it changed.
//!
//! Files up to [`MAX_SMALL_FILE_BYTES`] are read by one set of threads and larger ones by another
//! with a lower priority, so that neither a file of gigabytes nor many large ones delay a small one.
//! Reads that only verify have the lowest priority. The queues have no limit of their own: the
//! engine has no more than one check per path and one portion of the scrub under way.

use std::time::Instant;

use super::call_pool::{CallPool, Lane};
use crate::engine::messages::{FileJob, FileResult};
use crate::scan::{PathState, ReadLimit, check_path, is_resource_exhausted, is_stale};

/// Largest file, in bytes, that the threads for small files read: a few milliseconds.
const MAX_SMALL_FILE_BYTES: u64 = 1 << 20;
/// Size of the read buffer for small files.
const SMALL_BUFFER_BYTES: usize = 32 << 10;
/// Size of the read buffer for other files.
const LARGE_BUFFER_BYTES: usize = 1 << 20;

/// Queues a check, whose result is passed to `report`.
pub(in crate::engine) fn submit_file_check(
    pool: &CallPool,
    job: FileJob,
    report: impl FnOnce(FileResult) + Send + 'static,
) {
    let is_large = job.expected.is_some_and(|known| known.size > MAX_SMALL_FILE_BYTES);
    let lane = match (job.verify_only, is_large) {
        (true, _) => Lane::Verify,
        (false, true) => Lane::LargeFile,
        (false, false) => Lane::SmallFile,
    };
    submit(pool, lane, job, Box::new(report));
}

fn submit(pool: &CallPool, lane: Lane, job: FileJob, report: Box<dyn FnOnce(FileResult) + Send>) {
    let (id, effect, large) = (job.id, Some(job.tag.id), pool.clone());
    let call = Box::new(move |buffer: &mut Vec<u8>| {
        let (limit, buffer_bytes) = match lane {
            Lane::SmallFile => (ReadLimit::UpTo(MAX_SMALL_FILE_BYTES), SMALL_BUFFER_BYTES),
            _ => (ReadLimit::Unlimited, LARGE_BUFFER_BYTES),
        };
        buffer.resize(buffer_bytes, 0);
        let begun = Instant::now();
        match check(&job, limit, buffer) {
            PathState::TooLarge => submit(&large, Lane::LargeFile, job, report),
            state => {
                let FileJob { id, tag, feature, path, verify_only, .. } = job;
                let (slug, cost) = (feature.slug, begun.elapsed());
                report(FileResult { id, tag, slug, path, state, cost, verify_only });
            }
        }
    });
    pool.submit(lane, id, effect, call);
}

fn check(job: &FileJob, limit: ReadLimit, buffer: &mut [u8]) -> PathState {
    match job.project.open_feature(&job.feature) {
        Ok(dir) => {
            let churn = job.project.churn_rules(&job.feature);
            check_path(dir, &job.path, job.expected.as_ref(), limit, &churn, &job.limits, buffer)
        }
        Err(error) if is_resource_exhausted(&error) => PathState::OutOfResources,
        Err(error) if is_stale(&error) => PathState::RootReplaced,
        Err(_) => PathState::FeatureUnavailable,
    }
}
