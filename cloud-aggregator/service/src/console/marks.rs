//! Acknowledge, shelve, unshelve: written into the turbine's partition of the log, as evidence; its task does the rest.
//!
//! Invariants: what is answered with 202 is durable in the log; names and notes are kept as they were typed and never
//! interpreted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_cloud_core::topic::partition_of;
use windlass_shared::time::{LogTime, SECOND_US};
use windlass_shared::wire::{Control, MARK_NAME_BYTES_MAX, Mark, MarkAction, encode_control};

use super::Api;
use super::ask::{Body, Segment, time};
use super::model::is_open;
use super::problem::Problem;
use super::refusals::Marking;
use crate::log::{NewEntry, PartitionId, Topic, TopicPartition};

/// Longest note, bytes.
const NOTE_BYTES_MAX: usize = 1_000;
/// Longest time on the shelf, microseconds: 31 days.
const SHELF_MAX_US: i64 = 31 * 86_400 * SECOND_US;

/// Somebody has seen it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Name, 1 to 64 bytes.
    #[schema(min_length = 1, max_length = 64)]
    by: String,
    /// Note, at most 1000 bytes.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
}

/// Somebody puts it aside.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shelve {
    /// Name, 1 to 64 bytes.
    #[schema(min_length = 1, max_length = 64)]
    by: String,
    /// Note, at most 1000 bytes.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
    /// When it comes back: in the future, at most 31 days.
    #[schema(format = DateTime)]
    until: String,
}

/// Somebody brings it back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unshelve {
    /// Name, 1 to 64 bytes.
    #[schema(min_length = 1, max_length = 64)]
    by: String,
}

/// Where the mark lies in the log. The alert shows it once the task has come there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Which alert.
    alert: String,
    /// Partition of the telemetry topic.
    partition: u16,
    /// Offset in it.
    offset: u64,
}

type Answer = Result<(StatusCode, Json<Accepted>), Problem>;

/// Somebody has seen the alert.
#[utoipa::path(post, path = "/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path)), request_body = Acknowledge, responses(
    (status = 202, body = Accepted),
    Marking,
))]
pub(super) async fn acknowledge(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Body(body): Body<Acknowledge>,
) -> Answer {
    api.mark(&id, body.by, body.note, MarkAction::Acknowledge)
        .await
}

/// The alert is put aside until a time.
#[utoipa::path(post, path = "/alerts/{id}/shelve", tag = "alerts", params(("id" = String, Path)), request_body = Shelve, responses(
    (status = 202, body = Accepted),
    Marking,
))]
pub(super) async fn shelve(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Body(body): Body<Shelve>,
) -> Answer {
    let until = time("until", &body.until)?;
    let now = api.clock.wall();
    if until.0 <= now.0 || until.0 > now.0.saturating_add(SHELF_MAX_US) {
        let expected = "a time in the future, at most 31 days from now";
        return Err(Problem::cannot("until", body.until, expected));
    }
    let until = LogTime(until.0);
    api.mark(&id, body.by, body.note, MarkAction::Shelve { until })
        .await
}

/// The alert comes back.
#[utoipa::path(post, path = "/alerts/{id}/unshelve", tag = "alerts", params(("id" = String, Path)), request_body = Unshelve, responses(
    (status = 202, body = Accepted),
    Marking,
))]
pub(super) async fn unshelve(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Body(body): Body<Unshelve>,
) -> Answer {
    api.mark(&id, body.by, String::new(), MarkAction::Unshelve)
        .await
}

impl Api {
    async fn mark(&self, id: &str, by: String, note: String, action: MarkAction) -> Answer {
        if by.trim().is_empty() || by.len() > MARK_NAME_BYTES_MAX {
            let expected = format!("a name of 1 to {MARK_NAME_BYTES_MAX} bytes");
            return Err(Problem::cannot("by", by, expected));
        }
        if note.len() > NOTE_BYTES_MAX {
            let found = format!("{} bytes", note.len());
            let expected = format!("at most {NOTE_BYTES_MAX} bytes");
            return Err(Problem::cannot("note", found, expected));
        }
        let event = self.alert_event(id).await?;
        if !is_open(event.state) {
            return Err(Problem::conflict(format!("alert {id} is over")));
        }
        let turbine = event.turbine;
        let partition = partition_of(turbine.as_str(), u32::from(self.log.partitions()));
        let partition = PartitionId(partition as u16);
        let entry = NewEntry {
            to: TopicPartition::new(Topic::Telemetry, partition),
            key: turbine.to_string(),
            value: encode_control(&Control::Mark(Mark {
                turbine,
                alert: event.alert.clone(),
                by,
                note,
                action,
            })),
        };
        let appended = self.log.append(vec![entry]).await;
        let offsets = appended.map_err(|e| Problem::failed("writing into the log", &e))?;
        let accepted = Accepted {
            alert: event.alert,
            partition: partition.0,
            offset: offsets.first().map_or(0, |o| o.0),
        };
        Ok((StatusCode::ACCEPTED, Json(accepted)))
    }
}
