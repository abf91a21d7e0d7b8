//! What a request asks for: names, pages, times and ranges, checked before anything is read.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_cloud_core::output::hex;
use windlass_shared::time::{EventTime, SECOND_US};

use super::problem::Problem;

/// Items of a page, unless the request says otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// Longest range, microseconds: 400 days.
pub const RANGE_MAX_US: i64 = 400 * 86_400 * SECOND_US;
/// Longest range of an export or of exact readings, microseconds: 31 days.
pub const EXACT_RANGE_MAX_US: i64 = 31 * 86_400 * SECOND_US;

/// How long a body may take to come.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The query of a request; unknown keys are refused.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(params) = Query::<T>::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

/// The last segment of the path.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await?;
        Ok(Self(name))
    }
}

/// A body in JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::<T>::from_request(request, state);
        let Json(body) = tokio::time::timeout(BODY_MAX, read)
            .await
            .map_err(|_| Problem::late())??;
        Ok(Self(body))
    }
}

/// Which part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many items, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Cursor of the next page; null: this is the last.
    #[schema(required)]
    pub next: Option<String>,
}

/// `limit`, checked.
pub fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else {
        return Ok(LIMIT_DEFAULT);
    };
    let n = text.parse::<usize>().ok();
    n.filter(|n| (1..=LIMIT_MAX).contains(n)).ok_or_else(|| {
        Problem::field(
            "limit",
            text,
            format!("a whole number from 1 to {LIMIT_MAX}"),
        )
    })
}

/// Yes or no; `None`: not said.
pub fn flag(field: &str, text: Option<&str>) -> Result<Option<bool>, Problem> {
    let parse = |t: &str| {
        t.parse()
            .map_err(|_| Problem::field(field, t, "true or false"))
    };
    text.map(parse).transpose()
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)] // for the schema
pub enum Format {
    /// As everywhere.
    Json,
    /// A table.
    Csv,
}

/// Is the answer to be a table? By `format`, else by what the client accepts.
pub fn wants_csv(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Problem> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(other) => Err(Problem::field("format", other, "json or csv")),
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
            Ok(accept.is_some_and(|a| a.starts_with("text/csv")))
        }
    }
}

/// The text that a cursor stands for.
pub fn cursor(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let bad = || Problem::field("cursor", text, "`next` of an answer: hexadecimal digits");
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.is_empty() {
        return Err(bad());
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .filter(|_| !b.is_ascii_uppercase())
    };
    let byte = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let read = String::from_utf8(bytes.ok_or_else(bad)?);
    read.map(Some).map_err(|_| Problem::cursor(text))
}

/// The cursor that stands for a text.
pub fn to_cursor(text: &str) -> String {
    hex(text.as_bytes())
}

impl<T> Page<T> {
    /// The page of a sorted list that begins after the cursor's key.
    pub fn of<S: Clone>(
        all: impl IntoIterator<Item = S>,
        params: &PageParams,
        key: impl Fn(&S) -> String,
        item: impl Fn(S) -> T,
    ) -> Result<Self, Problem> {
        let limit = limit(params.limit.as_deref())?;
        let mut rest = all.into_iter();
        if let Some(after) = cursor(params.cursor.as_deref())? {
            let found = rest.by_ref().any(|s| key(&s) == after);
            if !found {
                let what = params.cursor.as_deref().unwrap_or_default();
                return Err(Problem::cursor(what));
            }
        }
        let mut part: Vec<S> = rest.take(limit + 1).collect();
        let more = part.len() > limit;
        part.truncate(limit);
        let next = part.last().filter(|_| more).map(|s| to_cursor(&key(s)));
        Ok(Self {
            items: part.into_iter().map(item).collect(),
            next,
        })
    }
}

/// RFC 3339 in UTC with microseconds; `None` beyond the calendar.
pub fn time_text(us: i64) -> Option<String> {
    Timestamp::from_microsecond(us)
        .ok()
        .map(|t| format!("{t:.6}"))
}

/// A time of a request.
pub fn time(field: &str, text: &str) -> Result<EventTime, Problem> {
    // a space stands where an unescaped plus was
    let parsed = text.replace(' ', "+").parse::<Timestamp>();
    parsed
        .map(|t| EventTime(t.as_microsecond()))
        .map_err(|_| Problem::field(field, text, "a time such as 2026-11-21T10:00:00Z"))
}

/// A range of event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Included.
    pub from: EventTime,
    /// Excluded.
    pub to: EventTime,
}

impl Range {
    /// Both ends, in order, no longer than `max_us`.
    pub fn parse(from: Option<&str>, to: Option<&str>, max_us: i64) -> Result<Self, Problem> {
        let end = |field, text: Option<&str>| {
            let expected = "a time such as 2026-11-21T10:00:00Z";
            let text = text.ok_or_else(|| Problem::field(field, "nothing", expected))?;
            time(field, text)
        };
        let range = Self {
            from: end("from", from)?,
            to: end("to", to)?,
        };
        let len = range.to.0.saturating_sub(range.from.0);
        if len <= 0 {
            let found = to.unwrap_or_default();
            return Err(Problem::cannot("to", found, "a time after `from`"));
        }
        if len > max_us {
            let days = |us: i64| us as f64 / (86_400.0 * SECOND_US as f64);
            return Err(Problem::cannot(
                "to",
                format!("a range of {:.1} days", days(len)),
                format!("a range of at most {} days", days(max_us)),
            ));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: &str, cursor: Option<String>) -> Result<Page<u32>, Problem> {
        let params = PageParams {
            limit: Some(limit.to_owned()),
            cursor,
        };
        Page::of([1, 2, 3, 4, 5], &params, u32::to_string, |n| n)
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let first = page("2", None).unwrap();
        assert_eq!(first.items, [1, 2]);
        let second = page("2", first.next).unwrap();
        assert_eq!(second.items, [3, 4]);
        let last = page("2", second.next).unwrap();
        assert_eq!((last.items, last.next), (vec![5], None));
        assert_eq!(page("5", None).unwrap().next, None);
    }

    #[test]
    fn bad_pages_are_named() {
        for (limit, cursor, field) in [
            ("0", None, "limit"),
            ("1001", None, "limit"),
            ("many", None, "limit"),
            ("1", Some("zz"), "cursor"),
            ("1", Some("3"), "cursor"),
            ("1", Some(""), "cursor"),
            ("1", Some("é1"), "cursor"),
        ] {
            let e = page(limit, cursor.map(str::to_owned)).unwrap_err();
            assert_eq!(
                (e.status, e.field.as_deref()),
                (400, Some(field)),
                "{limit} {cursor:?}"
            );
        }
        // of the right form, but of no list, or not of this one
        for cursor in ["ff", "3939"] {
            let e = page("1", Some(cursor.to_owned())).unwrap_err();
            assert_eq!(
                (e.status, e.field.as_deref()),
                (422, Some("cursor")),
                "{cursor}"
            );
        }
    }

    #[test]
    fn ranges_have_an_order_and_a_greatest_length() {
        let day = 86_400 * SECOND_US;
        let range = |from, to| Range::parse(Some(from), Some(to), day).map_err(|e| e.detail);
        assert_eq!(
            range("1970-01-01T00:00:00Z", "1970-01-01T02:00:00+01:00"),
            Ok(Range {
                from: EventTime(0),
                to: EventTime(3_600 * SECOND_US)
            })
        );
        assert_eq!(
            range("1970-01-02T00:00:00Z", "1970-01-01T00:00:00Z").unwrap_err(),
            "to: found 1970-01-01T00:00:00Z, expected a time after `from`"
        );
        assert_eq!(
            range("1970-01-01T00:00:00Z", "1970-01-02T12:00:00Z").unwrap_err(),
            "to: found a range of 1.5 days, expected a range of at most 1 days"
        );
        assert_eq!(
            range("yesterday", "1970-01-02T12:00:00Z").unwrap_err(),
            "from: found yesterday, expected a time such as 2026-11-21T10:00:00Z"
        );
        let missing = Range::parse(None, None, day).unwrap_err();
        assert_eq!(missing.field.as_deref(), Some("from"));
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(time_text(0).unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time_text(-1).unwrap(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(time_text(i64::MIN), None);
    }
}
