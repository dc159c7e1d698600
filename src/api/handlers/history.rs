//! Versions of artifacts: `GET /api/dossier/{versions,content,diff}`, `POST /api/dossier/restore`,
//! `GET /api/history` and `POST /api/history/purge`.
//!
//! Versions are read on blocking threads, few requests at a time, since contents are large. A present
//! content that is not stored yet is read from disk, if it still has the published hash.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use tokio::time::timeout;

use crate::api::request::body;
use crate::api::request::project_call::call_project;
use crate::api::request::query::Parameters;
use crate::api::request::resolve::{
    ResolvedFeature, resolve_current_feature, resolve_feature, sync_feature,
};
use crate::api::response::byte_budget::CONTENT_BYTES;
use crate::api::response::json::{WithSync, json_bytes_response, set_sync_headers};
use crate::api::response::problem::internal_error;
use crate::api::response::render::{budgeted_response, run_blocking, too_busy};
use crate::api::server::client_shares::{FairPermits, MAX_WAITING, TURN_TIMEOUT, TurnTimeout};
use crate::api::state::ApiState;
use crate::core::artifact::{ArtifactClass, ErrorReason};
use crate::core::digest::Digest;
use crate::core::error::error_chain;
use crate::core::history::revision::{HashPrefix, Revision};
use crate::core::identity::root_id;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;
use crate::history::compare::{Comparison, DiffLines, compare, list_versions};
use crate::history::present_content::{MAX_PRESENT_BYTES, PresentContent, StoreContentError};
use crate::history::restore::{RestorePlanError, RestoreStep, RestoreWrite, plan_restore};
use crate::history::states::{FeatureHistory, PastStateError};
use crate::history::writer::RestoredContent;
use crate::history::{HistoryError, NotStored, VersionedFile};
use crate::project::{Machine, OnPresentFile};
use crate::wire::artifacts::MAX_CONTENT_BYTES;
use crate::wire::hint::HintCode;
use crate::wire::history::{
    HistoryStatus, PurgeResponse, RestoreRequest, RestoreResponse, StateDiff, VersionContentDetail,
    VersionList,
};
use crate::wire::json;
use crate::wire::problem::{Problem, ProblemCode};

/// Number of requests whose versions and contents are in memory.
static HISTORY_PERMITS: FairPermits = FairPermits::new(2, MAX_WAITING, TURN_TIMEOUT);
/// Default and largest number of versions in a list.
const LIST_LIMITS: (usize, usize) = (200, 5_000);
/// Size in bytes of all such files of one request; beyond it files are not compared.
const MAX_PRESENT_TOTAL: usize = 8 << 20;
/// Time limit for a purge, which rebuilds the store.
const PURGE_TIMEOUT: Duration = Duration::from_mins(2);

pub(crate) async fn list_feature_versions(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let limit = list_limit(&parameters)?;
    let names = parameters.get_all("artifact_key");
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let headers = sync.clone();
    let _permit = HISTORY_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    let stored_seq = api.history.writer.status().stored_seq;
    let render = move || {
        let history = read_history(&api, &resolved)?;
        let paths = select_paths(&history, &names)?;
        let (versions, omitted) = list_versions(&history, &paths, limit);
        let feature_slug = resolved.feature.slug().as_str().into();
        let body = VersionList { feature_slug, stored_seq, versions, omitted };
        Ok((json::to_line(&WithSync { body, sync }).map_err(internal_error)?, ()))
    };
    let (response, ()) = budgeted_response(&CONTENT_BYTES, render).await?;
    Ok(set_sync_headers(response, headers.as_ref()))
}

pub(crate) async fn get_version_content(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let wanted = WantedVersion::parse(&parameters)?;
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let headers = sync.clone();
    let _permit = HISTORY_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    let (path, hash, not_stored) = {
        let (api, resolved) = (Arc::clone(&api), resolved.clone());
        let find = move || {
            let history = read_history(&api, &resolved)?;
            let (path, hash) = wanted.find(&history)?;
            let not_stored = not_stored_problem(&history, path.as_ref(), hash);
            Ok::<_, Problem>((path, hash, not_stored))
        };
        run_blocking(find).await??
    };
    let stored = {
        let api = Arc::clone(&api);
        run_blocking(move || api.history.reader.has_content(&hash)).await?
    };
    let is_stored = stored.map_err(|error| store_problem(&error))?;
    let unstored = path.clone().filter(|_| !is_stored).map(|path| (path, hash));
    let unstored = unstored.into_iter().collect();
    let mut present = read_present(&api, &resolved, unstored, MAX_CONTENT_BYTES - 1).await;
    let render = move || {
        let bytes = match present.remove(&hash) {
            Some(bytes) => Some(bytes),
            None => api.history.reader.content(&hash).map_err(|error| store_problem(&error))?,
        };
        let bytes = bytes.ok_or(not_stored)?;
        let body = VersionContentDetail {
            content_hash_sha256: hash,
            size_bytes: bytes.len() as u64,
            content: String::from_utf8(bytes).ok(),
        };
        Ok((json::to_line(&WithSync { body, sync }).map_err(internal_error)?, ()))
    };
    let (response, ()) = budgeted_response(&CONTENT_BYTES, render).await?;
    Ok(set_sync_headers(response, headers.as_ref()))
}

/// The version whose content is requested.
enum WantedVersion {
    Hash(HashPrefix),
    At { name: String, revision: Revision },
}

impl WantedVersion {
    fn parse(parameters: &Parameters) -> Result<Self, Problem> {
        let invalid = |detail: String| {
            Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidRevision)
        };
        if let Some(name) = parameters.get_non_empty("artifact_key") {
            let at = parameters.get_non_empty("at").unwrap_or("now");
            let revision = Revision::parse(at).map_err(|error| invalid(error.to_string()))?;
            return Ok(Self::At { name: name.to_owned(), revision });
        }
        let Some(prefix) = parameters.get_non_empty("hash") else {
            let hint = HintCode::InvalidRevision
                .with_text("name a version by `hash`, or by `artifact_key` and `at`");
            return Err(Problem::new(ProblemCode::BadRequest, "no version is named", hint));
        };
        let parsed = HashPrefix::parse(prefix).map(Self::Hash);
        parsed.ok_or_else(|| {
            invalid(format!("`hash` must be 8 to 64 hexadecimal digits, not `{prefix}`"))
        })
    }

    /// Returns the path, if the request names a file, and the hash.
    fn find(&self, history: &FeatureHistory) -> Result<(Option<RelPath>, Digest), Problem> {
        match self {
            Self::Hash(prefix) => Ok((None, find_hash(history, prefix)?)),
            Self::At { name, revision } => {
                let found = history.version_of(name, revision, now());
                let (path, hash) = found.map_err(|error| state_problem(&error))?;
                Ok((Some(path), hash))
            }
        }
    }
}

pub(crate) async fn get_diff(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let revision = |name: &str, default: &str| {
        let text = parameters.get_non_empty(name).unwrap_or(default);
        Revision::parse(text).map_err(|error| {
            Problem::new(ProblemCode::BadRequest, error.to_string(), HintCode::InvalidRevision)
        })
    };
    let (from, to) = (revision("from", "baseline")?, revision("to", "now")?);
    let lines = if parameters.flag("stat")? { DiffLines::Count } else { DiffLines::Return };
    let names = parameters.get_all("artifact_key");
    let (resolved, sync) = resolve_feature(&api, &parameters).await?;
    let headers = sync.clone();
    let _permit = HISTORY_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    let found = {
        let (api, resolved) = (Arc::clone(&api), resolved.clone());
        let (from, to) = (from.clone(), to.clone());
        run_blocking(move || find_changes(&api, &resolved, &from, &to, &names)).await??
    };
    let Found { history, comparison, unstored } = found;
    let present = read_present(&api, &resolved, unstored, MAX_PRESENT_BYTES).await;
    let render = move || {
        let content = |_: &RelPath, hash: &Digest| match present.get(hash) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => api.history.reader.content(hash),
        };
        let files =
            comparison.files(&history, lines, content).map_err(|error| store_problem(&error))?;
        let dir = resolved.feature.relative_dir();
        let body = StateDiff {
            feature_slug: resolved.feature.slug().to_string(),
            feature_path: dir.map(|dir| dir.text().into_owned()).unwrap_or_default(),
            from: from.to_string(),
            to: to.to_string(),
            files,
        };
        Ok((json::to_line(&WithSync { body, sync }).map_err(internal_error)?, ()))
    };
    let (response, ()) = budgeted_response(&CONTENT_BYTES, render).await?;
    Ok(set_sync_headers(response, headers.as_ref()))
}

pub(crate) async fn restore_files(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    let request: RestoreRequest = body::read_json(body).await?.unwrap_or_default();
    let (resolved, sync) = resolve_current_feature(&api, &parameters).await?;
    let _permit = HISTORY_PERMITS.acquire().await.map_err(|TurnTimeout| too_busy())?;
    let dry_run = request.dry_run;
    let steps = {
        let (api, resolved) = (Arc::clone(&api), resolved.clone());
        run_blocking(move || plan(&api, &resolved, &request)).await??
    };
    let mut files = Vec::new();
    for step in steps {
        files.push(match step {
            RestoreStep::Nothing(file) => file,
            RestoreStep::Write(write) => {
                let restored = try_restore(&api, &resolved, &write, dry_run).await;
                write.result(restored.err())
            }
        });
    }
    if !dry_run {
        // Later requests see what was written. If that takes too long, they see it later.
        let _ = sync_feature(&api, &resolved, &parameters).await;
    }
    let feature_slug = resolved.feature.slug().to_string();
    let body = RestoreResponse { feature_slug, dry_run, files };
    let line =
        json::to_line(&WithSync { body, sync: Some(sync.clone()) }).map_err(internal_error)?;
    Ok(set_sync_headers(json_bytes_response(line), Some(&sync)))
}

pub(crate) async fn get_history(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    let line = run_blocking(move || {
        let mut writer = api.history.writer.status();
        let counts = api.history.reader.counts().unwrap_or_else(|error| {
            writer.error.get_or_insert(error_chain(&error));
            None
        });
        let status = HistoryStatus::new(
            &writer,
            counts.unwrap_or_default(),
            &api.history.path,
            api.views.load().seq,
        );
        json::to_line(&status).map_err(internal_error)
    });
    Ok(json_bytes_response(line.await??))
}

pub(crate) async fn purge_history(
    State(api): State<Arc<ApiState>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let feature = match parameters.get_non_empty("feature") {
        None => None,
        Some(name) => Some(match resolve_feature(&api, &parameters).await {
            Ok((resolved, _)) => {
                (resolved.project.root_id.clone(), resolved.feature.slug().clone())
            }
            Err(problem) => {
                let root = parameters.get_non_empty("project");
                find_stored_feature(&api, root, name).await.ok_or(problem)?
            }
        }),
    };
    let unresponsive = || {
        let detail = "the history does not respond; the request may still be carried out";
        Problem::new(ProblemCode::Unavailable, detail, HintCode::OutcomeUnknown)
    };
    let purged = timeout(PURGE_TIMEOUT, api.history.writer.purge(feature)).await;
    let purged = purged.ok().flatten().ok_or_else(unresponsive)?;
    let purged = purged.map_err(|error| {
        Problem::new(ProblemCode::WriteFailed, error_chain(&error), HintCode::WriteFailed)
    })?;
    let body = PurgeResponse { versions: purged.versions, contents: purged.contents };
    Ok(json_bytes_response(json::to_line(&body).map_err(internal_error)?))
}

/// Returns a feature that has versions, by its root or the identity of it, although it is not watched.
async fn find_stored_feature(
    api: &Arc<ApiState>,
    root: Option<&str>,
    slug: &str,
) -> Option<(String, FeatureSlug)> {
    let (root, slug) = (root?.to_owned(), FeatureSlug::new(slug.as_bytes())?);
    let reader = api.history.reader.clone();
    let find = move || {
        let id = if root.starts_with('/') {
            root_id(&Machine::current().id, root.as_bytes())
        } else {
            root
        };
        reader.features(&id).is_ok_and(|all| all.contains(&slug)).then_some((id, slug))
    };
    run_blocking(find).await.ok()?
}

/// What two states differ in, and the present contents that are not stored.
struct Found {
    history: FeatureHistory,
    comparison: Comparison,
    unstored: Vec<(RelPath, Digest)>,
}

fn find_changes(
    api: &ApiState,
    resolved: &ResolvedFeature,
    from: &Revision,
    to: &Revision,
    names: &[String],
) -> Result<Found, Problem> {
    let history = read_history(api, resolved)?;
    let comparison =
        compare(&history, from, to, names, now()).map_err(|error| state_problem(&error))?;
    let is_stored = |hash: &Digest| {
        history.versions.iter().any(|one| one.hash == *hash && one.not_stored.is_none())
    };
    let is_present = |path: &RelPath, hash: &Digest| {
        history.now.get(path).is_some_and(|file| file.hash == *hash)
    };
    let unstored = comparison
        .needed()
        .filter(|(path, hash)| is_present(path, hash) && !is_stored(hash))
        .map(|(path, hash)| (path.clone(), *hash))
        .collect();
    Ok(Found { history, comparison, unstored })
}

/// Reads present files of at most `max_bytes` that still have the published hash.
async fn read_present(
    api: &ApiState,
    resolved: &ResolvedFeature,
    files: Vec<(RelPath, Digest)>,
    max_bytes: u64,
) -> HashMap<Digest, Vec<u8>> {
    if files.is_empty() {
        return HashMap::new();
    }
    let feature = resolved.clone();
    let read = move || {
        let (mut contents, mut total) = (HashMap::new(), 0);
        for (path, hash) in files {
            let read = feature.project.read_file(&feature.feature, &path, max_bytes + 1);
            let Ok((bytes, _)) = read else { continue };
            if bytes.len() as u64 <= max_bytes && Digest::of(&bytes) == hash {
                total += bytes.len();
                contents.insert(hash, bytes);
            }
            if total > MAX_PRESENT_TOTAL {
                break;
            }
        }
        contents
    };
    call_project(api, &resolved.project, read).await.unwrap_or_default()
}

fn plan(
    api: &ApiState,
    resolved: &ResolvedFeature,
    request: &RestoreRequest,
) -> Result<Vec<RestoreStep>, Problem> {
    let feature = resolved.feature.feature();
    let tree = feature.snapshot.tree_hash_sha256;
    if request.tree_hash_sha256.is_some_and(|seen| seen != tree) {
        let detail = "the feature is not in the state that the request names";
        let problem = Problem::new(ProblemCode::StateChanged, detail, HintCode::StateChanged);
        return Err(problem.with_candidates(vec![resolved.candidate()]));
    }
    let history = read_history(api, resolved)?;
    let is_deleted = |reason| reason == Some(ErrorReason::DeletedAfterScan);
    let tombstones: Vec<RelPath> = resolved
        .feature
        .tombstones
        .iter()
        .filter(|artifact| is_deleted(artifact.error_reason()))
        .map(|artifact| artifact.relative_path.clone())
        .collect();
    plan_restore(&history, request, &tombstones, now()).map_err(|error| match &error {
        RestorePlanError::State(error) => state_problem(error),
        RestorePlanError::Revision(_) => {
            Problem::new(ProblemCode::BadRequest, error.to_string(), HintCode::InvalidRevision)
        }
        RestorePlanError::Nothing => {
            let hint =
                HintCode::InvalidRevision.with_text("name artifacts in `items`, or set `deleted`");
            Problem::new(ProblemCode::BadRequest, error.to_string(), hint)
        }
    })
}

/// Restores one file; stores the content that it replaces first. A dry run checks what can be checked, and
/// writes nothing.
async fn try_restore(
    api: &ApiState,
    resolved: &ResolvedFeature,
    write: &RestoreWrite,
    is_dry_run: bool,
) -> Result<(), String> {
    const UNRESPONSIVE: &str = "the project's file system does not respond";
    let (reader, hash) = (api.history.reader.clone(), write.hash);
    let bytes = run_blocking(move || reader.content(&hash)).await.map_err(|error| error.detail)?;
    let bytes = bytes.map_err(|error| error_chain(&error))?;
    let bytes = bytes.ok_or("its content is not stored")?;
    let on_present = match write.replaces {
        None => OnPresentFile::Refuse,
        Some(present) => {
            store_present(api, resolved, write, present, is_dry_run).await?;
            OnPresentFile::Replace(present)
        }
    };
    if is_dry_run {
        return Ok(());
    }
    let (feature, path, mode) = (resolved.clone(), write.path.clone(), write.mode);
    let seq = api.views.load().seq;
    let restore = move || {
        let ResolvedFeature { project, feature, .. } = &feature;
        project.restore_file(feature, &path, (&bytes, mode), on_present)
    };
    let restored = call_project(api, &resolved.project, restore).await.ok_or(UNRESPONSIVE)?;
    restored.map_err(|error| error.to_string())?;
    let file = versioned_file(resolved, &write.path);
    let written = RestoredContent { file, hash: write.hash, seq };
    api.history.writer.record_restored(written).await;
    Ok(())
}

fn versioned_file(resolved: &ResolvedFeature, path: &RelPath) -> VersionedFile {
    VersionedFile {
        root_id: resolved.project.root_id.clone(),
        feature: resolved.feature.slug().clone(),
        path: path.clone(),
    }
}

/// Stores the present content of a file, unless it is stored.
async fn store_present(
    api: &ApiState,
    resolved: &ResolvedFeature,
    write: &RestoreWrite,
    present: Digest,
    is_dry_run: bool,
) -> Result<(), String> {
    let reader = api.history.reader.clone();
    let stored = run_blocking(move || reader.has_content(&present)).await;
    if stored.is_ok_and(|stored| stored.is_ok_and(|is_stored| is_stored)) {
        return Ok(());
    }
    let (feature, path) = (resolved.clone(), write.path.clone());
    let read = move || feature.project.read_file(&feature.feature, &path, MAX_PRESENT_BYTES + 1);
    let read = call_project(api, &resolved.project, read).await;
    let (bytes, mode) = read
        .ok_or("the project's file system does not respond")?
        .map_err(|error| format!("its present content cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_PRESENT_BYTES {
        return Err(StoreContentError::NotStored(NotStored::TooLarge).to_string());
    }
    if Digest::of(&bytes) != present {
        return Err("the file changed meanwhile; retry".to_owned());
    }
    let artifact = resolved.feature.entries.get(&write.path).map(|entry| &entry.artifact);
    let class = artifact.map_or(ArtifactClass::Other, |artifact| artifact.artifact_class);
    let key = artifact.map_or_else(|| write.key.clone(), |one| one.artifact_key.clone());
    let file = versioned_file(resolved, &write.path);
    let content = PresentContent { file, key, class, bytes, mode };
    api.history.writer.store(content, is_dry_run).await.map_err(|error| error_chain(&error))
}

fn read_history(api: &ApiState, resolved: &ResolvedFeature) -> Result<FeatureHistory, Problem> {
    let (root_id, slug) = (&resolved.project.root_id, resolved.feature.slug());
    let versions = api.history.reader.versions(root_id, slug, None);
    let versions = versions.map_err(|error| store_problem(&error))?;
    Ok(FeatureHistory::new(resolved.feature.feature(), versions))
}

fn select_paths(history: &FeatureHistory, names: &[String]) -> Result<Vec<RelPath>, Problem> {
    let mut paths = Vec::new();
    for name in names {
        paths.extend(history.select(name).map_err(|error| state_problem(&error))?);
    }
    Ok(paths)
}

fn find_hash(history: &FeatureHistory, prefix: &HashPrefix) -> Result<Digest, Problem> {
    let mut found: Vec<Digest> = history.versions.iter().map(|version| version.hash).collect();
    found.retain(|hash| prefix.matches(hash));
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => Err(no_such_version(prefix.as_str())),
        [hash] => Ok(*hash),
        _ => {
            let error = PastStateError::AmbiguousHash {
                prefix: prefix.as_str().to_owned(),
                candidates: found,
            };
            Err(state_problem(&error))
        }
    }
}

fn list_limit(parameters: &Parameters) -> Result<usize, Problem> {
    let (default, max) = LIST_LIMITS;
    let Some(text) = parameters.get_non_empty("limit") else { return Ok(default) };
    text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        let detail = format!("`limit` must be a number from 1 to {max}, not `{text}`");
        Problem::new(ProblemCode::BadRequest, detail, HintCode::InvalidLimit)
    })
}

fn not_stored_problem(history: &FeatureHistory, path: Option<&RelPath>, hash: Digest) -> Problem {
    let Some(path) = path else {
        let detail = format!("the content {hash:.12} is not stored");
        return Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchVersion);
    };
    let reason = history.not_stored_reason(path, &hash);
    state_problem(&PastStateError::NotStored { path: path.clone(), hash, reason })
}

fn no_such_version(hash: &str) -> Problem {
    let detail = format!("no stored version of the feature has a hash that begins with {hash}");
    Problem::new(ProblemCode::NotFound, detail, HintCode::NoSuchVersion)
}

fn state_problem(error: &PastStateError) -> Problem {
    let (code, hint) = match error {
        PastStateError::NoBaseline
        | PastStateError::AbsentThen { .. }
        | PastStateError::NotKept { .. }
        | PastStateError::UnknownHash { .. }
        | PastStateError::NotStored { .. }
        | PastStateError::UnknownArtifact { .. } => {
            (ProblemCode::NotFound, HintCode::NoSuchVersion)
        }
        PastStateError::HashOfFeature(_) | PastStateError::AmbiguousHash { .. } => {
            (ProblemCode::BadRequest, HintCode::InvalidRevision)
        }
    };
    Problem::new(code, error.to_string(), hint)
}

fn store_problem(error: &HistoryError) -> Problem {
    let detail = format!("cannot read the history: {}", error_chain(error));
    Problem::new(ProblemCode::Unavailable, detail, HintCode::RetryLater)
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
