//! Who is connected and who hears what: sessions, their subscriptions, and what waits for each of them.
//!
//! Invariant: looking up who hears a topic does not depend on how many gateways there are or which topics there were.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::Publish;
use rumqttc::mqttbytes::{QoS, has_wildcards, matches};
use tokio::sync::Notify;

/// Publishes that a subscriber has not acknowledged.
const INFLIGHT_MAX: usize = 1_000;
/// Bytes that wait for a subscriber with a wildcard (ingest): above it, publishers wait.
const SHARED_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that wait for any other subscriber (a gateway): above it, messages to it are dropped.
const OWN_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that go out in one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Answers that a client does not take before it is no longer listened to, bytes.
const CONTROL_BYTES_MAX: usize = 64 * 1024;
/// Filters of a session.
const FILTERS_MAX: usize = 64;
/// What a message in a queue costs besides topic and payload, bytes.
const MESSAGE_BYTES: usize = 128;

/// One connected client.
pub(super) struct Session {
    /// As it named itself.
    pub client_id: String,
    filters: RefCell<BTreeSet<String>>,
    outgoing: RefCell<Outgoing>,
    /// The writer has something to do.
    pub wake: Notify,
    /// There is room again in its queues.
    pub room: Notify,
    /// The connection ends.
    pub end: Notify,
    ended: Cell<bool>,
    /// That messages to it are dropped has been said.
    lags: Cell<bool>,
}

#[derive(Default)]
struct Outgoing {
    control: BytesMut,
    queue: VecDeque<Publish>,
    queued_bytes: usize,
    inflight: BTreeSet<u16>,
    last_id: u16,
}

impl Session {
    pub fn new(client_id: String) -> Self {
        Self {
            client_id,
            filters: RefCell::default(),
            outgoing: RefCell::default(),
            wake: Notify::new(),
            room: Notify::new(),
            end: Notify::new(),
            ended: Cell::new(false),
            lags: Cell::new(false),
        }
    }

    /// May it hear more? A filter it has already counts once.
    pub fn takes_filter(&self, filter: &str) -> bool {
        let filters = self.filters.borrow();
        filters.len() < FILTERS_MAX || filters.contains(filter)
    }

    /// Has its connection been told to end?
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Ends the connection; nobody waits for it any more.
    pub fn finish(&self) {
        self.ended.set(true);
        self.end.notify_one();
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// An answer, written by `write`.
    pub fn answer(&self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.outgoing.borrow_mut().control);
        self.wake.notify_one();
    }

    /// May more of what it sends be taken? Not while it does not read the answers.
    pub fn takes_answers(&self) -> bool {
        self.outgoing.borrow().control.len() < CONTROL_BYTES_MAX
    }

    /// Is there room for a message to a subscriber whose publishers wait?
    fn has_room(&self) -> bool {
        self.ended.get() || self.outgoing.borrow().queued_bytes < SHARED_QUEUE_BYTES_MAX
    }

    fn queue(&self, mut publish: Publish) {
        let outgoing = &mut *self.outgoing.borrow_mut();
        publish.dup = false;
        publish.retain = false;
        outgoing.queued_bytes += size(&publish);
        outgoing.queue.push_back(publish);
        self.wake.notify_one();
    }

    /// The subscriber has a message: its place in the window is free.
    pub fn acknowledged(&self, id: u16) {
        if self.outgoing.borrow_mut().inflight.remove(&id) {
            self.wake.notify_one();
        }
    }

    /// Appends what may go out now.
    pub fn take(&self, buffer: &mut BytesMut) {
        let outgoing = &mut *self.outgoing.borrow_mut();
        buffer.unsplit(outgoing.control.split());
        while buffer.len() < WRITE_BYTES
            && outgoing.inflight.len() < INFLIGHT_MAX
            && let Some(mut publish) = outgoing.queue.pop_front()
        {
            outgoing.queued_bytes -= size(&publish);
            if publish.qos == QoS::AtLeastOnce {
                publish.pkid = outgoing.next_id();
                outgoing.inflight.insert(publish.pkid);
            }
            if let Err(error) = publish.write(buffer) {
                tracing::error!(%error, topic = publish.topic, "a message cannot be written");
            }
        }
        self.room.notify_waiters();
    }
}

impl Outgoing {
    /// A packet id that is not in use: the window is far smaller than their number.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.inflight.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn size(publish: &Publish) -> usize {
    publish.topic.len() + publish.payload.len() + MESSAGE_BYTES
}

/// A subscription: who, and the most it wants.
type Subscription = (Rc<Session>, QoS);

/// See the module.
#[derive(Default)]
pub(super) struct Router {
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    exact: RefCell<BTreeMap<String, Vec<Subscription>>>,
    /// Few: those of the aggregator.
    wild: RefCell<Vec<(String, Subscription)>>,
    /// Connections, those without a session yet as well.
    pub connections: Cell<usize>,
}

impl Router {
    /// A client is there; one with the same name before it ends.
    pub fn enter(&self, session: &Rc<Session>) {
        let before = self
            .sessions
            .borrow_mut()
            .insert(session.client_id.clone(), Rc::clone(session));
        if let Some(before) = before {
            self.forget(&before);
            before.finish();
        }
    }

    /// A client is gone.
    pub fn leave(&self, session: &Rc<Session>) {
        self.forget(session);
        let mut sessions = self.sessions.borrow_mut();
        if (sessions.get(&session.client_id)).is_some_and(|s| Rc::ptr_eq(s, session)) {
            sessions.remove(&session.client_id);
        }
    }

    fn forget(&self, session: &Rc<Session>) {
        let filters = std::mem::take(&mut *session.filters.borrow_mut());
        for filter in filters {
            self.remove(session, &filter);
        }
    }

    /// From now on the session hears what the filter matches.
    pub fn subscribe(&self, session: &Rc<Session>, filter: &str, qos: QoS) {
        self.remove(session, filter);
        session.filters.borrow_mut().insert(filter.to_owned());
        let subscription = (Rc::clone(session), qos);
        if has_wildcards(filter) {
            (self.wild.borrow_mut()).push((filter.to_owned(), subscription));
        } else {
            let mut exact = self.exact.borrow_mut();
            exact
                .entry(filter.to_owned())
                .or_default()
                .push(subscription);
        }
    }

    /// The session no longer hears what this filter matches.
    pub fn unsubscribe(&self, session: &Rc<Session>, filter: &str) {
        session.filters.borrow_mut().remove(filter);
        self.remove(session, filter);
    }

    fn remove(&self, session: &Rc<Session>, filter: &str) {
        let same = |s: &Rc<Session>| Rc::ptr_eq(s, session);
        (self.wild.borrow_mut()).retain(|(f, (s, _))| f != filter || !same(s));
        let mut exact = self.exact.borrow_mut();
        if let Some(list) = exact.get_mut(filter) {
            list.retain(|(s, _)| !same(s));
            if list.is_empty() {
                exact.remove(filter);
            }
        }
    }

    /// Hands a message to everybody who hears its topic; waits for room where publishers have to wait.
    pub async fn publish(&self, publish: Publish) {
        let own = self.exact.borrow().get(&publish.topic).cloned();
        for (session, qos) in own.into_iter().flatten() {
            if session.outgoing.borrow().queued_bytes < OWN_QUEUE_BYTES_MAX {
                session.queue(at_most(publish.clone(), qos));
            } else if !session.lags.replace(true) {
                tracing::warn!(
                    client = session.client_id,
                    "it does not read what is sent to it; messages to it are dropped"
                );
            }
        }
        let shared: Vec<Subscription> = (self.wild.borrow().iter())
            .filter(|(filter, _)| matches(&publish.topic, filter))
            .map(|(_, subscription)| subscription.clone())
            .collect();
        for (session, qos) in shared {
            loop {
                let room = session.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                if session.has_room() {
                    break;
                }
                room.await;
            }
            session.queue(at_most(publish.clone(), qos));
        }
    }
}

fn at_most(mut publish: Publish, qos: QoS) -> Publish {
    if qos == QoS::AtMostOnce {
        publish.qos = qos;
    }
    publish.pkid = 0;
    publish
}
