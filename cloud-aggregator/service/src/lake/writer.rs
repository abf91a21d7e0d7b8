//! The writer of one topic's partition: recovers from the markers, builds cuts, commits them.
//!
//! Invariants: the steps of a commit run in the order of [`Step`], and a crash between any two of them gives the same
//! committed content; a begun cut is finished with the end its intent names. After an error the writer is dropped and
//! recovered: nothing of it is worth keeping.

use std::fmt;
use std::sync::Arc;

use windlass_cloud_core::cut::CutSettings;
use windlass_cloud_core::fleet::Fleet;
use windlass_cloud_core::task::LogInput;
use windlass_cloud_core::topic::Topic;
use windlass_shared::time::{LogTime, SECOND_US};

use super::cut::{CutBuilder, ReadyCut};
use super::marker::{Commit, FileEntry, Intent, ObjectEntry, Series, put_marker};
use super::store::Store;
use super::{FORMAT, LakeError, sha256_hex};

/// States kept: the newest, and one in case its object is damaged.
const STATES_KEPT: usize = 2;
/// A quiet topic's cut waits this long after its slot, so that the log's writers agree that the slot is over.
const QUIET_MARGIN_US: i64 = 2 * SECOND_US;

/// A step of a commit, named before it is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The intent marker.
    Intent,
    /// A data file, by its number in the cut.
    File(usize),
    /// The state.
    State,
    /// The commit marker.
    Commit,
    /// After the commit marker: old states leave.
    Sweep,
    /// The group's position in the log (the caller's step).
    Position,
}

/// What [`Hook`] calls.
type HookFn = dyn FnMut(Step) -> Result<(), LakeError> + Send;

/// Called before each step; a test lets it fail there.
#[derive(Default)]
pub struct Hook(Option<Box<HookFn>>);

impl Hook {
    /// Calls `f` before each step.
    pub fn new(f: impl FnMut(Step) -> Result<(), LakeError> + Send + 'static) -> Self {
        Self(Some(Box::new(f)))
    }
    /// About to take this step.
    pub fn before(&mut self, step: Step) -> Result<(), LakeError> {
        self.0.as_mut().map_or(Ok(()), |f| f(step))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({})", if self.0.is_some() { "set" } else { "none" })
    }
}

/// What a writer is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the lake lies.
    pub store: Store,
    /// Farms and catalogues.
    pub fleet: Arc<Fleet>,
    /// Where cuts end.
    pub cuts: CutSettings,
    /// As in the partition task's settings: the lake admits what the task admits.
    pub skew_max_us: i64,
    /// Names the log.
    pub generation: u64,
}

/// A cut that was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The group's next position: commit it.
    pub next: u64,
    /// Entries in the cut.
    pub entries: u64,
    /// Files in it.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of them.
    pub rows: u64,
    /// The log's time at its end.
    pub log_time: LogTime,
}

/// The writer of one topic's partition.
#[derive(Debug)]
pub struct PartitionWriter {
    setup: Setup,
    series: Series,
    hook: Hook,
    builder: CutBuilder,
    /// Where the next cut begins.
    position: u64,
    /// SHA-256 of the newest commit marker.
    after: Option<String>,
    /// End of a cut that was begun before a crash.
    begun: Option<u64>,
    /// States in the store, oldest first.
    states: Vec<String>,
}

impl PartitionWriter {
    /// Goes on after the newest committed cut; `start` is where the log begins, for a lake that has none, and
    /// `committed` the group's position, which the markers must have reached.
    pub async fn recover(
        setup: Setup,
        topic: Topic,
        partition: u32,
        start: u64,
        committed: Option<u64>,
        hook: Hook,
    ) -> Result<Self, LakeError> {
        let series = Series::new(topic.as_str(), partition);
        let cuts = series.committed(&setup.store).await?;
        let broken = |why| LakeError::Chain {
            of: series.name(),
            why,
        };
        let (builder, position, after) = match cuts.last() {
            None => {
                let builder = CutBuilder::new(topic, setup.cuts.clone())
                    .ok_or_else(|| broken("the lake does not keep this topic".to_owned()))?;
                (builder, start, None)
            }
            Some(&newest) => {
                let (commit, sha256) = series.read_commit(&setup.store, newest).await?;
                if commit.cut.generation != setup.generation {
                    return Err(broken(format!(
                        "they are of log generation {:016x}, this log is {:016x}: give the new log a lake of its own",
                        commit.cut.generation, setup.generation
                    )));
                }
                let builder = restore(&setup, topic, &commit).await?;
                (builder, newest.1 + 1, Some(sha256))
            }
        };
        if committed.is_some_and(|c| c > position) {
            return Err(broken(format!(
                "the group's position is {}, the markers end before {position}",
                committed.unwrap_or_default()
            )));
        }
        let mut writer = Self {
            states: series.states(&setup.store).await?,
            setup,
            series,
            hook,
            builder,
            position,
            after,
            begun: None,
        };
        writer.begun = writer.begun_cut().await?;
        Ok(writer)
    }

    /// The end of a cut at this position that was begun and not finished.
    async fn begun_cut(&self) -> Result<Option<u64>, LakeError> {
        let store = &self.setup.store;
        let Some(intent) = self.series.read_intent(store, self.position).await? else {
            return Ok(None);
        };
        let ours = self.intent(intent.last);
        if intent == ours {
            return Ok(Some(intent.last));
        }
        Err(LakeError::Contended {
            path: self.series.intent_path(self.position),
            expected: format!("{ours:?}"),
            found: format!("{intent:?}"),
        })
    }

    fn intent(&self, last: u64) -> Intent {
        Intent {
            format: FORMAT,
            topic: self.series.topic.clone(),
            partition: self.series.partition,
            generation: self.setup.generation,
            first: self.position,
            last,
            after: self.after.clone(),
        }
    }

    /// Where to read on when nothing has been taken since the recovery.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Log time of the last entry taken; [`LogTime::MIN`] before the first since the recovery.
    pub fn log_time(&self) -> LogTime {
        self.builder.log_time()
    }

    /// Takes the next entry. A cut that ends before it is committed first, a begun one that ends with it right after.
    pub async fn take(&mut self, input: &LogInput<'_>) -> Result<Option<Done>, LakeError> {
        let ends_before = match self.begun {
            Some(last) => input.offset > last && !self.builder.is_empty(),
            None => self.builder.ends_before(input),
        };
        let done = if ends_before {
            self.commit().await?
        } else {
            None
        };
        self.builder.take(
            &self.setup.fleet,
            self.setup.skew_max_us,
            &self.series,
            input,
        )?;
        if self.begun == Some(input.offset) {
            return self.commit().await;
        }
        Ok(done)
    }

    /// Is there a cut whose slot is over at this log time?
    pub fn is_over(&self, now: LogTime) -> bool {
        let every = self.setup.cuts.every_us;
        let slot_end = self.builder.log_time().floor_to(every).plus_us(every);
        !self.builder.is_empty() && self.begun.is_none() && now >= slot_end.plus_us(QUIET_MARGIN_US)
    }

    /// The log's time has come to `now`, and the topic was read to its end since then: a quiet topic's cut ends when its
    /// slot is over, as it would with the next entry.
    pub async fn quiet(&mut self, now: LogTime) -> Result<Option<Done>, LakeError> {
        if self.is_over(now) {
            self.commit().await
        } else {
            Ok(None)
        }
    }

    /// Before the caller commits the group's position.
    pub fn before_position(&mut self) -> Result<(), LakeError> {
        self.hook.before(Step::Position)
    }

    async fn commit(&mut self) -> Result<Option<Done>, LakeError> {
        let fleet = Arc::clone(&self.setup.fleet);
        let position = self.position;
        let Some(ready) = self.builder.finish(&fleet, &self.series, position)? else {
            return Ok(None);
        };
        let intent = self.intent(ready.cut.last);
        self.hook.before(Step::Intent)?;
        put_marker(
            &self.setup.store,
            &self.series.intent_path(position),
            &intent,
        )
        .await?;
        let done = self.put(intent, ready).await?;
        self.position = done.next;
        self.begun = None;
        self.sweep().await?;
        Ok(Some(done))
    }

    async fn put(&mut self, cut: Intent, ready: ReadyCut) -> Result<Done, LakeError> {
        let store = &self.setup.store;
        let mut files: Vec<FileEntry> = Vec::with_capacity(ready.files.len());
        for (i, file) in ready.files.into_iter().enumerate() {
            self.hook.before(Step::File(i))?;
            store.put(&file.entry.path, file.bytes).await?;
            files.push(file.entry);
        }
        self.hook.before(Step::State)?;
        let state = ObjectEntry {
            path: self.series.state_path(cut.first, cut.last),
            bytes: ready.state.len() as u64,
            sha256: sha256_hex(&ready.state),
        };
        store.put(&state.path, ready.state.into()).await?;
        if !self.states.contains(&state.path) {
            self.states.push(state.path.clone());
        }
        self.hook.before(Step::Commit)?;
        let path = self.series.commit_path(cut.first, cut.last);
        let done = Done {
            next: cut.last + 1,
            entries: ready.entries,
            files: files.len(),
            bytes: files.iter().map(|f| f.bytes).sum(),
            rows: files.iter().map(|f| f.rows).sum(),
            log_time: ready.log_time,
        };
        let commit = Commit {
            cut,
            entries: ready.entries,
            log_time: ready.log_time.0,
            files,
            state,
        };
        self.after = Some(put_marker(store, &path, &commit).await?);
        Ok(done)
    }

    /// Old states leave; the newest ones stay.
    async fn sweep(&mut self) -> Result<(), LakeError> {
        self.hook.before(Step::Sweep)?;
        while self.states.len() > STATES_KEPT {
            let oldest = self.states.remove(0);
            self.setup.store.remove(&oldest).await?;
        }
        Ok(())
    }
}

async fn restore(setup: &Setup, topic: Topic, commit: &Commit) -> Result<CutBuilder, LakeError> {
    let state = &commit.state;
    let damaged = |what, found| LakeError::Damaged {
        path: state.path.clone(),
        what,
        expected: state.sha256.clone(),
        found,
    };
    let bytes = setup.store.get(&state.path).await?;
    let bytes = bytes.ok_or_else(|| damaged("existence", "none".to_owned()))?;
    let found = sha256_hex(&bytes);
    if found != state.sha256 {
        return Err(damaged("SHA-256", found));
    }
    CutBuilder::restore(topic, setup.cuts.clone(), &bytes).map_err(|e| damaged("its form", e))
}
