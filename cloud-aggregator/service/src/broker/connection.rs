//! One TCP connection: a reader that never waits for its own writer, and a writer.
//!
//! Invariants: the first packet is a CONNECT that comes soon; a client that says nothing for one and a half times its
//! keep-alive, sends what is no MQTT, or does not take what is written to it, is let go; whatever it sends, no panic
//! reaches another connection.

use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PingResp, PubAck, Publish, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck, Unsubscribe,
};
use rumqttc::mqttbytes::{Error as CodecError, QoS, has_wildcards, valid_filter, valid_topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::PAYLOAD_BYTES_MAX;
use super::router::{Router, Session};

/// Largest packet: payload, topic and header.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 70_000;
/// Time for the first packet.
const CONNECT_BOUND: Duration = Duration::from_secs(10);
/// Time for one write.
const WRITE_BOUND: Duration = Duration::from_secs(20);
/// After an error that may pass.
const MOMENT: Duration = Duration::from_millis(100);
/// Longest client id.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Waits a moment.
pub(super) async fn moment() {
    let never = std::future::pending::<()>();
    drop(timeout(MOMENT, never).await);
}

/// A connection without a session yet.
pub(super) struct Connection {
    router: Rc<Router>,
    stream: TcpStream,
}

impl Connection {
    /// Counted from now on until it ends.
    pub fn new(router: Rc<Router>, stream: TcpStream) -> Self {
        router.connections.set(router.connections.get() + 1);
        Self { router, stream }
    }

    /// Serves it to its end.
    pub async fn run(self) {
        let counted = Counted(Rc::clone(&self.router));
        let (reader, writer) = self.stream.into_split();
        let mut reader = Reader {
            stream: reader,
            buffer: BytesMut::new(),
        };
        let connect = match timeout(CONNECT_BOUND, reader.packet()).await {
            Ok(Ok(Packet::Connect(connect))) => connect,
            Ok(Ok(_)) => return tracing::debug!("the first packet is no CONNECT"),
            Ok(Err(error)) => return tracing::debug!(%error, "no CONNECT"),
            Err(_) => return tracing::debug!("no CONNECT in time"),
        };
        if let Some(refusal) = refused(&connect) {
            return refuse(writer, refusal).await;
        }
        let session = Rc::new(Session::new(connect.client_id.clone()));
        self.router.enter(&session);
        let entered = Entered(Rc::clone(&self.router), Rc::clone(&session));
        write_ack(&session, ConnectReturnCode::Success);
        let writing = tokio::task::spawn_local(write(writer, Rc::clone(&session)));
        let keep_alive = match connect.keep_alive {
            0 => Duration::MAX,
            s => Duration::from_secs(s.into()).mul_f64(1.5),
        };
        let reading = serve(&mut reader, &session, &self.router, keep_alive);
        let ended = tokio::select! {
            ended = reading => ended,
            () = session.end.notified() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(client = session.client_id, %error, "connection ended");
        }
        drop(entered);
        drop(writing.await);
        drop(counted);
    }
}

/// Takes the connection off the count, also when it panics.
struct Counted(Rc<Router>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
    }
}

/// Takes the session out of the router, also when it panics.
struct Entered(Rc<Router>, Rc<Session>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.leave(&self.1);
        self.1.finish();
    }
}

fn refused(connect: &Connect) -> Option<ConnectReturnCode> {
    let id = &connect.client_id;
    (id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX).then_some(ConnectReturnCode::BadClientId)
}

async fn refuse(mut writer: OwnedWriteHalf, code: ConnectReturnCode) {
    let mut buffer = BytesMut::new();
    if ConnAck::new(code, false).write(&mut buffer).is_ok() {
        // the peer may be gone already
        drop(timeout(WRITE_BOUND, writer.write_all(&buffer)).await);
    }
}

fn write_ack(session: &Session, code: ConnectReturnCode) {
    session.answer(|out| {
        written(ConnAck::new(code, false).write(out));
    });
}

/// Writing into memory does not fail for packets of ours.
fn written(result: Result<usize, CodecError>) {
    if let Err(error) = result {
        tracing::error!(%error, "an answer cannot be written");
    }
}

struct Reader {
    stream: OwnedReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// The next packet.
    async fn packet(&mut self) -> Result<Packet, Error> {
        loop {
            match Packet::read(&mut self.buffer, PACKET_BYTES_MAX) {
                Ok(packet) => return Ok(packet),
                Err(CodecError::InsufficientBytes(_)) => {}
                Err(error) => return Err(Error::new(ErrorKind::InvalidData, error)),
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Takes what the client sends until it leaves or is let go.
async fn serve(
    reader: &mut Reader,
    session: &Rc<Session>,
    router: &Router,
    keep_alive: Duration,
) -> Result<(), Error> {
    loop {
        let packet = timeout(keep_alive, reader.packet())
            .await
            .map_err(|_| Error::new(ErrorKind::TimedOut, "nothing within its keep-alive"))??;
        match packet {
            Packet::Publish(publish) => take(publish, session, router).await?,
            Packet::PubAck(ack) => session.acknowledged(ack.pkid),
            Packet::Subscribe(subscribe) => grant(&subscribe, session, router),
            Packet::Unsubscribe(unsubscribe) => release(&unsubscribe, session, router),
            Packet::PingReq => session.answer(|out| written(PingResp.write(out))),
            Packet::Disconnect => return Ok(()),
            other => {
                let what = format!("unexpected {other:?}");
                return Err(Error::new(ErrorKind::InvalidData, what));
            }
        }
        while !session.takes_answers() && !session.has_ended() {
            session.room.notified().await;
        }
    }
}

/// A publish is acknowledged once it waits for everybody who hears it.
async fn take(publish: Publish, session: &Session, router: &Router) -> Result<(), Error> {
    if publish.qos == QoS::ExactlyOnce {
        return Err(Error::new(ErrorKind::Unsupported, "a publish with QoS 2"));
    }
    if !valid_topic(&publish.topic) || has_wildcards(&publish.topic) {
        return Err(Error::new(ErrorKind::InvalidData, "a publish to no topic"));
    }
    let ack = (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid);
    router.publish(publish).await;
    if let Some(id) = ack {
        session.answer(|out| written(PubAck::new(id).write(out)));
    }
    Ok(())
}

fn grant(subscribe: &Subscribe, session: &Rc<Session>, router: &Router) {
    let mut codes = Vec::new();
    for filter in &subscribe.filters {
        if !valid_filter(&filter.path) || !session.takes_filter(&filter.path) {
            codes.push(SubscribeReasonCode::Failure);
            continue;
        }
        let qos = match filter.qos {
            QoS::AtMostOnce => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        router.subscribe(session, &filter.path, qos);
        codes.push(SubscribeReasonCode::Success(qos));
    }
    session.answer(|out| written(SubAck::new(subscribe.pkid, codes).write(out)));
}

fn release(unsubscribe: &Unsubscribe, session: &Rc<Session>, router: &Router) {
    for filter in &unsubscribe.topics {
        router.unsubscribe(session, filter);
    }
    session.answer(|out| written(UnsubAck::new(unsubscribe.pkid).write(out)));
}

/// Writes what waits for the client until the session ends.
async fn write(mut stream: OwnedWriteHalf, session: Rc<Session>) {
    let mut buffer = BytesMut::new();
    loop {
        session.take(&mut buffer);
        if buffer.is_empty() {
            if session.has_ended() {
                return;
            }
            session.wake.notified().await;
            continue;
        }
        match timeout(WRITE_BOUND, stream.write_all(&buffer)).await {
            Ok(Ok(())) => buffer.clear(),
            Ok(Err(_)) | Err(_) => return session.finish(),
        }
    }
}
