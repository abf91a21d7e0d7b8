//! The outbox's own thread: SQLite blocks, the main loop must not.
//!
//! Invariants: requests are executed in order, one at a time; each is answered exactly once; the queues are bounded by the
//! core's contract (one commit, one load of each kind, four of journals) plus the housekeeping question. Answers are queued without limit of time:
//! the main loop always reads them first. When the thread ends without being
//! told to, the channel to the main loop closes, and the agent stops: an outbox that nobody serves records nothing.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use windlass_edge_core::{CommitBatch, Input, LoadRequest, Loaded, StoreFault, Usage};
use windlass_shared::id::TurbineId;
use windlass_shared::time::WallTime;

use crate::outbox::Outbox;
use crate::placed::PlacedNote;

/// Requests that wait: one commit, a load of each of three kinds, four pages of journals, one usage, and room to spare.
const REQUESTS_MAX: usize = 12;

/// What the thread is asked.
#[derive(Debug)]
pub enum DiskRequest {
    /// One transaction.
    Commit(CommitBatch),
    /// Read rows.
    Load(LoadRequest),
    /// How big is everything, and how old is the oldest record of each of these that the cloud does not have?
    Housekeeping(Vec<TurbineId>),
}

/// What it answers.
#[derive(Debug)]
pub enum DiskAnswer {
    /// For the core.
    Input(Input),
    /// When the oldest unacknowledged record of each turbine was committed; `None`: there is none.
    Oldest(Vec<(TurbineId, Option<WallTime>)>),
}

/// The main loop's end.
pub struct Disk {
    requests: Option<SyncSender<DiskRequest>>,
    /// Answers, in the order of the requests.
    pub answers: mpsc::Receiver<DiskAnswer>,
    thread: Option<JoinHandle<()>>,
}

/// The thread is gone, or asked for more than it can hold.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be started.
    #[error("cannot start the outbox's thread: {0}")]
    Start(#[source] std::io::Error),
    /// It ended.
    #[error("the outbox's thread has ended; restart the agent, it recovers what is durable")]
    Gone,
    /// The core asked for more at once than its contract says.
    #[error("more than {REQUESTS_MAX} requests wait for the outbox: a broken invariant")]
    Overrun,
}

impl Disk {
    /// Gives the outbox its thread.
    pub fn start(outbox: Outbox, note: PlacedNote) -> Result<Self, DiskError> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (outlet, answers) = mpsc::channel(REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || serve(outbox, note, &inbox, &outlet))
            .map_err(DiskError::Start)?;
        Ok(Self {
            requests: Some(requests),
            answers,
            thread: Some(thread),
        })
    }

    /// Asks; the answer comes through [`Disk::answers`].
    pub fn ask(&self, request: DiskRequest) -> Result<(), DiskError> {
        let requests = self.requests.as_ref().ok_or(DiskError::Gone)?;
        requests.try_send(request).map_err(|e| match e {
            TrySendError::Full(_) => DiskError::Overrun,
            TrySendError::Disconnected(_) => DiskError::Gone,
        })
    }

    /// Lets the thread finish what it was asked, and waits for it.
    pub fn stop(mut self) {
        self.requests = None;
        self.answers.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the outbox's thread panicked");
        }
    }
}

fn serve(
    mut outbox: Outbox,
    mut note: PlacedNote,
    inbox: &Receiver<DiskRequest>,
    outlet: &mpsc::Sender<DiskAnswer>,
) {
    while let Ok(request) = inbox.recv() {
        let answer = match request {
            DiskRequest::Commit(batch) => match commit(&mut outbox, &mut note, &batch) {
                Ok(usage) => Input::Committed {
                    id: batch.id,
                    usage,
                },
                Err(fault) => Input::CommitFailed {
                    id: batch.id,
                    fault,
                },
            },
            DiskRequest::Load(request) => match outbox.load(&request) {
                Ok(loaded) => Input::Loaded(loaded),
                Err(fault) => Input::LoadFailed(fault),
            },
            DiskRequest::Housekeeping(turbines) => {
                if outlet
                    .blocking_send(DiskAnswer::Oldest(oldest(&mut outbox, turbines)))
                    .is_err()
                {
                    return;
                }
                match outbox.usage() {
                    Ok(usage) => Input::Usage(usage),
                    // a question of ours, not of the core: the next commit tells whether the disk is well
                    Err(fault) => {
                        tracing::warn!(?fault, "the outbox does not tell its size");
                        continue;
                    }
                }
            }
        };
        if outlet.blocking_send(DiskAnswer::Input(answer)).is_err() {
            return;
        }
    }
}

fn commit(
    outbox: &mut Outbox,
    note: &mut PlacedNote,
    batch: &CommitBatch,
) -> Result<Usage, StoreFault> {
    if !batch.placed.is_empty()
        && let Err(error) = note.note(&batch.placed)
    {
        tracing::warn!(%error, "what a journal held gets its time, but an outbox restored in this boot would bring it again");
    }
    outbox.apply(batch)
}

fn oldest(outbox: &mut Outbox, turbines: Vec<TurbineId>) -> Vec<(TurbineId, Option<WallTime>)> {
    let committed_at = |outbox: &mut Outbox, turbine: &TurbineId| {
        let request = LoadRequest::Backlog {
            turbine: turbine.clone(),
            after: None,
            rows_max: 1,
            bytes_max: 1,
        };
        match outbox.load(&request) {
            Ok(Loaded::Backlog { rows, .. }) => rows.first().map(|r| r.meta.committed_at),
            _ => None,
        }
    };
    turbines
        .into_iter()
        .map(|t| {
            let at = committed_at(outbox, &t);
            (t, at)
        })
        .collect()
}
