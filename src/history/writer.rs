//! Stores versions in the background, on one thread of low priority: follows the journal, reads
//! each file again, and stores it if it still has the hash of the event. Begins when all projects are
//! ready. No event and no client waits for it.
//!
//! Where the journal has a gap, and at the start, the published state is compared with what is stored.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::capture::{CapturedChange, CapturedEvent, capture};
use super::present_content::{PresentContent, StoreContentError};
use super::storage_rules::StorageRules;
use crate::config::HistoryConfig;
use crate::core::artifact::ArtifactClass;
use crate::core::digest::Digest;
use crate::core::error::error_chain;
use crate::core::feature::FeatureWatchState;
use crate::core::history::text_diff::{count_changed_lines, is_text};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sync::lock;
use crate::core::time::Timestamp;
use crate::engine::read_model::{
    EngineState, FeatureView, ProjectView, StatePublisher, WatchState,
};
use crate::engine::runtime::{EngineHandle, ProjectCalls};
use crate::store::history::{
    ContentStore, FrameEncoder, LatestVersion, NotStored, OtherNamed, PurgeResult, PurgeSelector,
    VersionChange, VersionContent, VersionRecord, VersionedFile,
};
use crate::store::{EventFilter, Journal, JournalReader, StoreError};

/// Time that events wait before their files are read, so that readers of the event come first.
const CAPTURE_DELAY: Duration = Duration::from_millis(100);
/// Number of events that are read at a time.
const PAGE_EVENTS: usize = 64;
/// Size of compressed contents from which a part of a page is committed, in bytes.
const MAX_BATCH_BYTES: usize = 2 << 20;
/// Time limit for reading one file; after it the version is not stored.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest and longest pause after the store could not be written.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often all files are thinned, and the published state is compared with what is stored.
const MAINTENANCE_INTERVAL: Duration = Duration::from_hours(1);
/// Pause of maintenance that was due and not possible, as while the store of events cannot be written.
const DUE_PAUSE: Duration = Duration::from_secs(10);
/// Number of files that are thinned in one transaction.
const THINNED_FILES: u32 = 64;
/// Number of commands that wait; further ones are refused.
const COMMAND_CAPACITY: usize = 16;

/// What the writer needs.
pub struct HistoryContext {
    /// Directory of the content store.
    pub state_dir: PathBuf,
    /// Which contents are stored.
    pub config: watch::Receiver<HistoryConfig>,
    /// Becomes true when the daemon is ready.
    pub ready: watch::Receiver<bool>,
    /// The published state.
    pub views: Arc<StatePublisher>,
    /// The events.
    pub journal: Journal,
    /// Reads files of projects.
    pub calls: ProjectCalls,
}

impl HistoryContext {
    /// Creates the context of a running engine.
    #[must_use]
    pub fn new(
        engine: &EngineHandle,
        state_dir: PathBuf,
        config: watch::Receiver<HistoryConfig>,
        ready: watch::Receiver<bool>,
    ) -> Self {
        Self {
            state_dir,
            config,
            ready,
            views: Arc::clone(&engine.views),
            journal: engine.journal.clone(),
            calls: engine.calls.clone(),
        }
    }
}

/// State of the writer.
#[derive(Debug, Clone, Default)]
pub struct WriterStatus {
    /// True if versions are stored.
    pub is_enabled: bool,
    /// Number of the last event whose version is recorded.
    pub stored_seq: u64,
    /// Maximum size of the store in bytes.
    pub max_bytes: u64,
    /// Why nothing is stored now.
    pub error: Option<String>,
    /// Path of a corrupt store that was moved aside.
    pub quarantined: Option<PathBuf>,
}

/// A request to the writer.
enum WriterCommand {
    /// Remove versions.
    Purge {
        /// Root and feature; `None` for all.
        feature: Option<(String, FeatureSlug)>,
        reply: oneshot::Sender<Result<PurgeResult, StoreError>>,
    },
    /// Store the present content of a file, which is about to be replaced, or only check that it may be.
    Store {
        content: Box<PresentContent>,
        is_dry_run: bool,
        reply: oneshot::Sender<Result<(), StoreContentError>>,
    },
    /// Record what a restore wrote.
    Restored { written: RestoredContent, reply: oneshot::Sender<()> },
}

/// What a restore wrote.
#[derive(Debug)]
pub struct RestoredContent {
    /// The file.
    pub file: VersionedFile,
    /// Hash of its content.
    pub hash: Digest,
    /// Number of an event before.
    pub seq: u64,
}

/// A handle to the writer.
#[derive(Debug)]
pub struct HistoryWriter {
    status: Arc<Mutex<WriterStatus>>,
    commands: mpsc::Sender<WriterCommand>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl HistoryWriter {
    /// Starts the writer. Must be called in the runtime.
    ///
    /// # Errors
    /// The system refuses to create a thread.
    pub fn start(context: HistoryContext) -> io::Result<Arc<Self>> {
        let status = Arc::new(Mutex::new(WriterStatus::default()));
        let (commands, received) = mpsc::channel(COMMAND_CAPACITY);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Handle::current();
        let published = Arc::clone(&status);
        let run = move || {
            // Reading and compressing must not delay an event; on a busy system a restore still waits for it.
            let _ = rustix::process::setpriority_process(None, 10);
            WriterThread::new(context, runtime, published, received, stopped).run();
        };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(run)?;
        Ok(Arc::new(Self { status, commands, stop, thread: Mutex::new(Some(thread)) }))
    }

    /// Returns the state of the writer.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        lock(&self.status).clone()
    }

    /// Removes the versions of a feature, or all.
    ///
    /// # Errors
    /// [`StoreError`]; `None` if the writer does not respond.
    pub async fn purge(
        &self,
        feature: Option<(String, FeatureSlug)>,
    ) -> Option<Result<PurgeResult, StoreError>> {
        let (reply, result) = oneshot::channel();
        self.commands.try_send(WriterCommand::Purge { feature, reply }).ok()?;
        result.await.ok()
    }

    /// Stores the present content of a file, which is about to be replaced; a dry run only checks that it
    /// may be stored.
    ///
    /// # Errors
    /// [`StoreContentError`].
    pub async fn store(
        &self,
        content: PresentContent,
        is_dry_run: bool,
    ) -> Result<(), StoreContentError> {
        let (reply, result) = oneshot::channel();
        let command = WriterCommand::Store { content: Box::new(content), is_dry_run, reply };
        self.commands.try_send(command).map_err(|_| StoreContentError::Unavailable)?;
        result.await.unwrap_or(Err(StoreContentError::Unavailable))
    }

    /// Records what a restore wrote, as far as possible: only the origin of the file depends on it.
    pub async fn record_restored(&self, written: RestoredContent) {
        let (reply, result) = oneshot::channel();
        if self.commands.try_send(WriterCommand::Restored { written, reply }).is_ok() {
            let _ = result.await;
        }
    }

    /// Stops the writer and waits for its thread. Blocks.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// Why the thread wakes up.
enum Wake {
    Stop,
    Command(WriterCommand),
    Work,
}

struct WriterThread {
    context: HistoryContext,
    runtime: tokio::runtime::Handle,
    status: Arc<Mutex<WriterStatus>>,
    commands: mpsc::Receiver<WriterCommand>,
    stop: watch::Receiver<bool>,
    seq_updates: watch::Receiver<u64>,
    store: Option<ContentStore>,
    encoder: FrameEncoder,
    /// Identity of the store of events that the content store continues with.
    instance: String,
    covered_seq: u64,
    is_swept: bool,
    /// Features whose files are indexed for the first time: whether they existed before is not known.
    new_features: HashSet<(String, FeatureSlug)>,
    /// Hashes of what the baselines name, by feature.
    named: HashMap<(String, FeatureSlug), Digest>,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    maintenance_at: Instant,
    rules: StorageRules,
}

impl WriterThread {
    fn new(
        context: HistoryContext,
        runtime: tokio::runtime::Handle,
        status: Arc<Mutex<WriterStatus>>,
        commands: mpsc::Receiver<WriterCommand>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let config = HistoryConfig::clone(&context.config.borrow());
        Self {
            seq_updates: context.views.subscribe(),
            context,
            runtime,
            status,
            commands,
            stop,
            store: None,
            encoder: FrameEncoder::default(),
            instance: String::new(),
            covered_seq: 0,
            is_swept: false,
            new_features: HashSet::new(),
            named: HashMap::new(),
            retry_at: None,
            retry_pause: RETRY_PAUSES.0,
            maintenance_at: Instant::now(),
            rules: StorageRules::new(config),
        }
    }

    fn run(mut self) {
        let runtime = self.runtime.clone();
        self.publish();
        loop {
            match runtime.block_on(self.wait()) {
                Wake::Stop => break,
                Wake::Command(command) => self.handle(command),
                Wake::Work => {}
            }
            self.apply_config();
            self.work_or_retry();
        }
        #[cfg(debug_assertions)]
        crate::engine::failpoint::hang_while_requested();
        self.persist();
    }

    async fn wait(&mut self) -> Wake {
        let now = Instant::now();
        let due = self.retry_at.unwrap_or(self.maintenance_at).saturating_duration_since(now);
        let is_ready = *self.context.ready.borrow();
        tokio::select! {
            biased;
            _ = self.stop.changed() => Wake::Stop,
            Some(command) = self.commands.recv() => Wake::Command(command),
            Ok(()) = self.context.config.changed() => Wake::Work,
            Ok(()) = self.context.ready.changed(), if !is_ready => Wake::Work,
            Ok(()) = self.seq_updates.changed(), if is_ready && self.retry_at.is_none() => {
                tokio::time::sleep(CAPTURE_DELAY).await;
                Wake::Work
            }
            () = tokio::time::sleep(due), if is_ready => Wake::Work,
        }
    }

    fn handle(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Purge { feature, reply } => {
                let purged = self.purge(feature.as_ref());
                let _ = reply.send(purged);
            }
            WriterCommand::Store { content, is_dry_run, reply } => {
                let result = if is_dry_run {
                    content.check(&self.rules)
                } else {
                    self.store_present(*content)
                };
                let _ = reply.send(result);
            }
            WriterCommand::Restored { written, reply } => {
                let RestoredContent { file, hash, seq } = written;
                let store = self.store.as_mut();
                let recorded =
                    store.map_or(Ok(()), |store| store.record_restored(&file, &hash, seq));
                if let Err(error) = recorded {
                    warn!(error = error_chain(&error), "cannot record what was restored");
                }
                let _ = reply.send(());
            }
        }
    }

    fn purge(
        &mut self,
        feature: Option<&(String, FeatureSlug)>,
    ) -> Result<PurgeResult, StoreError> {
        let selector = match feature {
            Some((root_id, slug)) => PurgeSelector::Feature(root_id, slug),
            None => PurgeSelector::All,
        };
        let result = match &mut self.store {
            Some(store) => store.purge(selector),
            None => {
                let opened = ContentStore::open_or_recreate(&self.context.state_dir, now())?;
                let mut store = opened.store;
                store.purge(selector)
            }
        };
        self.named.clear();
        if result.is_ok() {
            lock(&self.status).quarantined = None;
        }
        result
    }

    fn apply_config(&mut self) {
        let config = HistoryConfig::clone(&self.context.config.borrow_and_update());
        if config == *self.rules.config() {
            return;
        }
        self.rules = StorageRules::new(config);
        // What is stored may be more, or less, than before.
        self.is_swept = false;
        self.maintenance_at = Instant::now();
        self.retry_at = None;
    }

    fn work_or_retry(&mut self) {
        if !self.rules.config().is_enabled() {
            self.persist();
            self.store = None;
            self.maintenance_at = Instant::now() + MAINTENANCE_INTERVAL;
            return self.publish();
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) || !*self.context.ready.borrow() {
            return;
        }
        let result = self.work();
        // An event wakes the thread before that.
        let now = Instant::now();
        if self.maintenance_at <= now {
            self.maintenance_at = now + DUE_PAUSE;
        }
        let error = match result {
            Ok(()) => {
                (self.retry_at, self.retry_pause) = (None, RETRY_PAUSES.0);
                lock(&self.status).error = None;
                return self.publish();
            }
            Err(StoreError::Closed { .. }) => return,
            Err(error) => error,
        };
        let text = error_chain(&error);
        if lock(&self.status).error.as_ref() != Some(&text) {
            warn!(error = text, "cannot store versions of artifacts; trying again");
        }
        lock(&self.status).error = Some(text);
        if ContentStore::must_reopen(&error) {
            self.store = None;
        }
        self.retry_at = Some(Instant::now() + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY_PAUSES.1);
        self.publish();
    }

    fn publish(&self) {
        let mut status = lock(&self.status);
        status.is_enabled = self.rules.config().is_enabled();
        status.max_bytes = self.rules.config().max_bytes();
        status.stored_seq = self.covered_seq;
    }

    /// Records how far the journal is covered, so that the next run does not read it again.
    fn persist(&mut self) {
        if let Some(store) = &mut self.store {
            let _ = store.record(Vec::new(), self.covered_seq);
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        let result = self.work_with(&mut store);
        self.encoder.release();
        self.store = Some(store);
        result
    }

    fn open(&mut self) -> Result<ContentStore, StoreError> {
        let opened = ContentStore::open_or_recreate(&self.context.state_dir, now())?;
        if let Some(path) = opened.quarantined {
            warn!(path = %path.display(), "the content store was corrupt and is quarantined");
            lock(&self.status).quarantined = Some(path);
        }
        (self.instance, self.is_swept) = (String::new(), false);
        self.named.clear();
        info!(path = %opened.store.path().display(), "storing versions of artifacts");
        Ok(opened.store)
    }

    fn work_with(&mut self, store: &mut ContentStore) -> Result<(), StoreError> {
        let world = self.context.views.load();
        if world.instance.is_empty() || world.degraded.is_some() {
            return Ok(());
        }
        if world.instance != self.instance {
            self.covered_seq = store.begin(&world.instance)?;
            (self.instance, self.is_swept) = (world.instance.clone(), false);
        }
        self.follow_journal(store)?;
        let world = self.context.views.load();
        let is_due = Instant::now() >= self.maintenance_at;
        if (is_due || !self.is_swept) && self.covered_seq >= world.seq {
            self.sweep(store, &world)?;
            self.is_swept = true;
        }
        if is_due {
            let (mut after, time) = (0, now());
            while let Some(last) =
                store.thin(after, THINNED_FILES, time, self.rules.config().max_age())?
            {
                after = last;
            }
            self.maintenance_at = Instant::now() + MAINTENANCE_INTERVAL;
        }
        self.evict(store)
    }

    fn evict(&self, store: &mut ContentStore) -> Result<(), StoreError> {
        let evicted = store.evict(self.rules.config().max_bytes(), now())?;
        if evicted.named > 0 {
            let versions = evicted.named;
            warn!(versions, "the content store is full; removed versions that a baseline names");
        }
        Ok(())
    }

    /// Records the events that are published and not covered.
    fn follow_journal(&mut self, store: &mut ContentStore) -> Result<(), StoreError> {
        // Opened only where the recent events are not enough, and closed again.
        let mut reader: Option<JournalReader> = None;
        let filter = EventFilter::default();
        loop {
            let world = self.context.views.load();
            if world.instance != self.instance || self.covered_seq >= world.seq {
                return Ok(());
            }
            let filter = EventFilter { max_seq: Some(world.seq), ..filter.clone() };
            let recent = self.context.views.recent_events();
            let page = match recent.after(&self.instance, self.covered_seq, &filter) {
                Some(page) => page,
                None => {
                    let journal = || self.context.journal.reader();
                    reader.get_or_insert_with(journal).page(
                        self.covered_seq,
                        PAGE_EVENTS,
                        &filter,
                    )?
                }
            };
            if page.has_gap {
                self.is_swept = false;
            }
            let events: Vec<CapturedEvent> =
                page.events.iter().filter_map(|event| capture(&event.envelope_json)).collect();
            self.record(store, &world, events, page.last_scanned)?;
            if *self.stop.borrow() {
                return Ok(());
            }
        }
    }

    fn record(
        &mut self,
        store: &mut ContentStore,
        world: &EngineState,
        events: Vec<CapturedEvent>,
        last_seq: u64,
    ) -> Result<(), StoreError> {
        let last_of_file: HashMap<VersionedFile, u64> = events
            .iter()
            .filter_map(|event| match &event.what {
                CapturedChange::Current { file, .. }
                | CapturedChange::Deleted(file)
                | CapturedChange::Lost(file) => Some((file.clone(), event.seq)),
                CapturedChange::Evaluated { .. } => None,
            })
            .collect();
        let (mut records, mut bytes, mut evaluated) = (Vec::new(), 0, Vec::new());
        // What earlier events of the page left, which is not committed.
        let mut left: HashMap<VersionedFile, PreviousContent> = HashMap::new();
        for event in events {
            let CapturedEvent { seq, at, root_id, feature, what } = event;
            let (file, change) = match what {
                CapturedChange::Deleted(file) => {
                    left.insert(file.clone(), PreviousContent::None);
                    (file, VersionChange::Deleted)
                }
                CapturedChange::Lost(file) => {
                    left.insert(file.clone(), PreviousContent::Unknown);
                    (file, VersionChange::Lost)
                }
                CapturedChange::Evaluated { former_slug } => {
                    if let Some(former) = former_slug {
                        let seq = seq.saturating_sub(1);
                        self.commit(store, std::mem::take(&mut records), seq)?;
                        (bytes, left) = (0, HashMap::new());
                        store.rename_feature(&root_id, &former, &feature)?;
                    }
                    evaluated.push((root_id, feature));
                    continue;
                }
                CapturedChange::Current { file, key, class, hash, size, is_new } => {
                    let is_first_index = self.is_first_index(store, &root_id, &feature)?;
                    let (previous, is_first) = match left.get(&file) {
                        Some(previous) => (*previous, *previous == PreviousContent::None),
                        None => {
                            let latest = store.latest(&file)?;
                            let is_absent = latest.map_or(is_new, |latest| !latest.is_current);
                            (PreviousContent::of(latest), is_absent && !is_first_index)
                        }
                    };
                    let is_replaced = last_of_file.get(&file) != Some(&seq);
                    let (content, mode) = if is_replaced {
                        left.insert(file.clone(), PreviousContent::Unknown);
                        (VersionContent::NotStored(NotStored::Replaced), 0)
                    } else {
                        let wanted = Wanted { file: &file, class, hash, size };
                        self.read(store, world, &wanted, previous)?
                    };
                    bytes += content.frame_bytes();
                    (file, VersionChange::Current { key, hash, size, mode, is_first, content })
                }
            };
            records.push(VersionRecord { file, seq, at, change });
            if bytes >= MAX_BATCH_BYTES {
                self.commit(store, std::mem::take(&mut records), seq.saturating_sub(1))?;
                bytes = 0;
            }
        }
        self.commit(store, records, last_seq)?;
        for (root_id, feature) in evaluated {
            if let Some((project, view)) = find(world, &root_id, &feature) {
                self.name_baseline(store, project, view)?;
            }
            self.new_features.remove(&(root_id, feature));
        }
        self.covered_seq = last_seq;
        self.publish();
        Ok(())
    }

    /// Writes records, and drops the versions of their files that are not kept.
    fn commit(
        &self,
        store: &mut ContentStore,
        records: Vec<VersionRecord>,
        seq: u64,
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let files: HashSet<VersionedFile> =
            records.iter().map(|record| record.file.clone()).collect();
        store.record(records, seq)?;
        store.thin_files(files.iter(), now(), self.rules.config().max_age())?;
        self.evict(store)
    }

    /// Returns true if nothing was known of a feature when its first files were indexed.
    fn is_first_index(
        &mut self,
        store: &ContentStore,
        root_id: &str,
        feature: &FeatureSlug,
    ) -> Result<bool, StoreError> {
        let key = (root_id.to_owned(), feature.clone());
        if self.new_features.contains(&key) {
            return Ok(true);
        }
        let is_new = !store.has_feature(root_id, feature)?;
        if is_new {
            self.new_features.insert(key);
        }
        Ok(is_new)
    }

    /// Reads a file and compresses it, if it has the content that is wanted.
    fn read(
        &mut self,
        store: &ContentStore,
        world: &EngineState,
        wanted: &Wanted<'_>,
        previous: PreviousContent,
    ) -> Result<(VersionContent, u32), StoreError> {
        let not_stored = |reason| Ok((VersionContent::NotStored(reason), 0));
        if let Some(reason) = self.rules.refusal(&wanted.file.path, wanted.class, wanted.size) {
            return not_stored(reason);
        }
        let found = find(world, &wanted.file.root_id, &wanted.file.feature);
        let Some((project, feature)) = found else {
            return not_stored(NotStored::Replaced);
        };
        if project.watch.state == WatchState::Unresponsive {
            return not_stored(NotStored::Unreadable);
        }
        let (view, feature) = (Arc::clone(project), Arc::clone(feature));
        let (path, max) =
            (wanted.file.path.clone(), self.rules.config().max_file().saturating_add(1));
        let call = move || view.read_file(&feature, &path, max);
        let read = self.context.calls.submit_background(project.id, call);
        let read = self.runtime.block_on(async { timeout(READ_TIMEOUT, read).await });
        let (bytes, mode) = match read {
            Ok(Ok(Ok(read))) => read,
            Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::NotFound => {
                return not_stored(NotStored::Replaced);
            }
            _ => return not_stored(NotStored::Unreadable),
        };
        if Digest::of(&bytes) != wanted.hash {
            return not_stored(NotStored::Replaced);
        }
        Ok((content_of(store, &mut self.encoder, previous, &bytes)?, mode))
    }

    /// Compares the published state with what is stored, and records the differences.
    fn sweep(&mut self, store: &mut ContentStore, world: &EngineState) -> Result<(), StoreError> {
        for project in world.projects.iter().filter(|project| project.ready) {
            let root_id = &project.root_id;
            for feature in project.features.iter().filter(|feature| feature.indexed) {
                let (is_listed, is_complete) = match feature.watch {
                    FeatureWatchState::Live | FeatureWatchState::Settling => (true, true),
                    // It is polled, or has more files than are listed.
                    FeatureWatchState::Degraded => (true, false),
                    FeatureWatchState::Unreadable
                    | FeatureWatchState::Unavailable
                    | FeatureWatchState::Unresponsive
                    | FeatureWatchState::Gone => (false, false),
                };
                if is_listed {
                    self.sweep_feature(store, world, project, feature)?;
                }
                // Otherwise it is not known now whether the other files are there.
                if is_complete {
                    let listed = feature.entries.iter().map(|entry| &entry.artifact);
                    let listed: HashSet<&RelPath> = listed
                        .filter(|artifact| artifact.hash().is_some())
                        .map(|artifact| &artifact.relative_path)
                        .collect();
                    let mut lost = store.current_files(root_id, feature.slug())?;
                    lost.retain(|file| !listed.contains(&file.path));
                    self.lose(store, lost, world.seq)?;
                }
            }
            let known: HashSet<&FeatureSlug> =
                project.features.iter().map(|feature| feature.slug()).collect();
            for feature in store.current_features(root_id)? {
                if !known.contains(&feature) {
                    let lost = store.current_files(root_id, &feature)?;
                    self.lose(store, lost, world.seq)?;
                }
            }
        }
        Ok(())
    }

    /// Records that files ended at a time that is not known.
    fn lose(
        &self,
        store: &mut ContentStore,
        files: Vec<VersionedFile>,
        seq: u64,
    ) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let at = now();
        let lost = files.into_iter();
        let lost = lost.map(|file| VersionRecord { file, seq, at, change: VersionChange::Lost });
        store.record(lost.collect(), self.covered_seq)
    }

    fn sweep_feature(
        &mut self,
        store: &mut ContentStore,
        world: &EngineState,
        project: &Arc<ProjectView>,
        feature: &Arc<FeatureView>,
    ) -> Result<(), StoreError> {
        let root_id = &project.root_id;
        let (mut records, mut bytes) = (Vec::new(), 0);
        for entry in feature.entries.iter() {
            let artifact = &entry.artifact;
            let file = VersionedFile {
                root_id: root_id.clone(),
                feature: feature.slug().clone(),
                path: artifact.relative_path.clone(),
            };
            let Some(hash) = artifact.hash() else { continue };
            let latest = store.latest(&file)?;
            let previous = PreviousContent::of(latest);
            let latest = latest.filter(|latest| latest.is_current && latest.hash == hash);
            let (class, size) = (artifact.artifact_class, artifact.size_bytes);
            let is_refused = self.rules.refusal(&file.path, class, size).is_some();
            // Text does not become binary, and what was evicted would be evicted again.
            let is_final = |reason| matches!(reason, NotStored::Binary | NotStored::Evicted);
            let is_settled = latest.is_some_and(|latest| {
                latest.is_stored() || is_refused || latest.not_stored.is_some_and(is_final)
            });
            if !is_settled {
                let wanted = Wanted { file: &file, class, hash, size };
                let (content, mode) = self.read(store, world, &wanted, previous)?;
                bytes += content.frame_bytes();
                let change = VersionChange::Current {
                    key: artifact.artifact_key.clone(),
                    hash,
                    size,
                    mode,
                    is_first: false,
                    content,
                };
                records.push(VersionRecord { file, seq: world.seq, at: now(), change });
                if bytes >= MAX_BATCH_BYTES {
                    self.commit(store, std::mem::take(&mut records), self.covered_seq)?;
                    bytes = 0;
                }
            }
        }
        self.commit(store, records, self.covered_seq)?;
        self.name_baseline(store, project, feature)
    }

    /// Records which contents the baseline of a feature names, and those that it replaced, if that changed.
    fn name_baseline(
        &mut self,
        store: &mut ContentStore,
        project: &Arc<ProjectView>,
        feature: &Arc<FeatureView>,
    ) -> Result<(), StoreError> {
        // What a corrupt one named is not known.
        let Some(mut hashes) = feature.metadata.baseline.hashes() else { return Ok(()) };
        let all: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let (root_id, slug) = (&project.root_id, feature.slug());
        let key = (root_id.clone(), slug.clone());
        let fingerprint = Digest::of(&all);
        if self.named.get(&key) == Some(&fingerprint) {
            return Ok(());
        }
        let replaced = if hashes.is_empty() && !store.has_named(root_id, slug)? {
            Some(Vec::new())
        } else {
            self.read_replaced(project, feature)
        };
        let Some(replaced) = replaced else {
            // Tried again with the next event.
            return store.name_contents(root_id, slug, &hashes, OtherNamed::Keep);
        };
        hashes.extend(replaced);
        store.name_contents(root_id, slug, &hashes, OtherNamed::Forget)?;
        self.named.insert(key, fingerprint);
        Ok(())
    }

    /// Returns the hashes that replaced baselines name; `None` if the file system does not respond.
    fn read_replaced(
        &self,
        project: &Arc<ProjectView>,
        feature: &Arc<FeatureView>,
    ) -> Option<Vec<Digest>> {
        if project.watch.state == WatchState::Unresponsive {
            return None;
        }
        let (view, feature) = (Arc::clone(project), Arc::clone(feature));
        let read = move || view.replaced_baseline_hashes(&feature);
        let read = self.context.calls.submit_background(project.id, read);
        self.runtime.block_on(async { timeout(READ_TIMEOUT, read).await }).ok()?.ok()
    }

    fn store_present(&mut self, content: PresentContent) -> Result<(), StoreContentError> {
        content.check(&self.rules)?;
        // What is pending comes first.
        self.work()?;
        let PresentContent { file, key, bytes, mode, .. } = content;
        let (seq, size) = (self.covered_seq, bytes.len() as u64);
        let Some(store) = &mut self.store else { return Err(StoreContentError::Unavailable) };
        let previous = PreviousContent::of(store.latest(&file)?);
        let content = content_of(store, &mut self.encoder, previous, &bytes)?;
        if let VersionContent::NotStored(reason) = content {
            return Err(StoreContentError::NotStored(reason));
        }
        let hash = Digest::of(&bytes);
        let change = VersionChange::Current { key, hash, size, mode, is_first: false, content };
        store.record(vec![VersionRecord { file, seq, at: now(), change }], seq)?;
        Ok(())
    }
}

/// What a file contained before a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviousContent {
    /// A stored content.
    Stored(Digest),
    /// A content that is not stored.
    Unknown,
    /// There was no file.
    None,
}

impl PreviousContent {
    /// Returns the content of the newest version, if that is current.
    pub(super) fn of(latest: Option<LatestVersion>) -> Self {
        match latest.filter(|latest| latest.is_current) {
            Some(latest) if latest.is_stored() => Self::Stored(latest.hash),
            Some(_) => Self::Unknown,
            None => Self::None,
        }
    }
}

/// A version that is to be stored.
struct Wanted<'a> {
    file: &'a VersionedFile,
    class: ArtifactClass,
    hash: Digest,
    size: u64,
}

/// Compresses a content, and compares it with the version before.
pub(super) fn content_of(
    store: &ContentStore,
    encoder: &mut FrameEncoder,
    previous: PreviousContent,
    bytes: &[u8],
) -> Result<VersionContent, StoreError> {
    if !is_text(bytes) {
        return Ok(VersionContent::NotStored(NotStored::Binary));
    }
    let before = match previous {
        PreviousContent::Stored(hash) => store.content(&hash)?,
        PreviousContent::Unknown => None,
        PreviousContent::None => Some(Vec::new()),
    };
    let lines = before.and_then(|before| count_changed_lines(&before, bytes));
    Ok(match encoder.compress(bytes) {
        Ok(frame) => VersionContent::Frame { frame, lines },
        Err(_) => VersionContent::NotStored(NotStored::Unreadable),
    })
}

fn find<'w>(
    world: &'w EngineState,
    root_id: &str,
    slug: &FeatureSlug,
) -> Option<(&'w Arc<ProjectView>, &'w Arc<FeatureView>)> {
    let project = world.projects.iter().find(|project| project.root_id == root_id)?;
    let feature = project.features.iter().find(|feature| feature.slug() == slug)?;
    Some((project, feature))
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
