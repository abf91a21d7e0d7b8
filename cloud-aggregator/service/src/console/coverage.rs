//! `GET /turbines/{id}/coverage`: what came of a turbine's records and what did not, page by page.
//!
//! Invariants: what is missing comes first, then the runs of each epoch, oldest first, so that one order holds for all
//! pages; the verdict is that of the whole range on every page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_shared::coverage::EpochView;
use windlass_shared::id::Epoch;

use super::Api;
use super::ask::{Params, RANGE_MAX_US, Range, Segment, cursor, limit, to_cursor};
use super::problem::Problem;
use super::proof::{Bytes, Evidence, Missing};
use super::refusals::Lookup;

/// A range, and which part of the answer.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CoverageParams {
    /// Start, included.
    #[param(required = true, value_type = String, format = DateTime)]
    from: Option<String>,
    /// End, excluded; at most 400 days later.
    #[param(required = true, value_type = String, format = DateTime)]
    to: Option<String>,
    /// How many missing ranges and runs together, 1 to 1000; 100 unless said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// What came and what did not.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct CoverageAnswer {
    /// Of the range: `exact`, `recorded_loss` or `incomplete`.
    verdict: &'static str,
    /// Whether the original bytes behind the range are what they were.
    bytes: Bytes,
    /// Runs of the agent, oldest first; one whose seqs go on on the next page is there again.
    epochs: Vec<EpochAnswer>,
    /// Records that may have held readings of the range, and are not here; all of them before any epoch.
    missing: Vec<Missing>,
    /// Cursor of the next page; null: this is the last.
    #[schema(required)]
    next: Option<String>,
}

/// A run of the agent.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct EpochAnswer {
    /// 32 hexadecimal digits.
    epoch: String,
    /// Its first record was received.
    open: bool,
    /// Conflicting bytes were seen.
    quarantined: bool,
    /// Seqs in order.
    runs: Vec<RunAnswer>,
}

/// Seqs with one fate.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RunAnswer {
    first: u64,
    last: u64,
    /// `received`, `lost` or `unknown`.
    kind: &'static str,
    /// How far the turbine's time has come, on the newest received run.
    #[schema(required)]
    frontier: Option<String>,
}

/// What came of a turbine and what did not, and what that means for a range.
#[utoipa::path(get, path = "/turbines/{id}/coverage", tag = "history", params(("id" = String, Path), CoverageParams), responses(
    (status = 200, body = CoverageAnswer),
    Lookup,
))]
pub(super) async fn coverage(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(params): Params<CoverageParams>,
) -> Result<Json<CoverageAnswer>, Problem> {
    let (_, turbine) = api.turbine(&id)?;
    let range = Range::parse(params.from.as_deref(), params.to.as_deref(), RANGE_MAX_US)?;
    let limit = limit(params.limit.as_deref())?;
    let after = Key::parse(params.cursor.as_deref())?;
    let places = api.places.clone();
    let answer = api.heavy.run(move || async move {
        let evidence = places.evidence(&turbine, range).await?;
        page(&evidence, range, after, limit)
            .ok_or_else(|| Problem::cursor(params.cursor.as_deref().unwrap_or_default()))
    });
    Ok(Json(answer.await?))
}

/// What a cursor says: everything up to this was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    part: Part,
    epoch: Epoch,
    /// First seq; 0: none is known.
    first: u64,
}

/// The two parts of an answer, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Missing,
    Runs,
}

impl Key {
    fn parse(text: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(found) = cursor(text)? else {
            return Ok(None);
        };
        let parse = || -> Option<Self> {
            let mut parts = found.split('/');
            let part = match parts.next()? {
                "missing" => Part::Missing,
                "runs" => Part::Runs,
                _ => return None,
            };
            let epoch = parts.next()?.parse().ok()?;
            let first = parts.next()?.parse().ok()?;
            parts
                .next()
                .is_none()
                .then_some(Self { part, epoch, first })
        };
        let bad = || Problem::cursor(text.unwrap_or_default());
        parse().map(Some).ok_or_else(bad)
    }

    fn text(&self) -> String {
        let part = match self.part {
            Part::Missing => "missing",
            Part::Runs => "runs",
        };
        to_cursor(&format!("{part}/{}/{}", self.epoch, self.first))
    }
}

/// One thing to show.
enum Entry {
    Missing(Missing),
    /// Of the epoch at this place; none: nothing is known of its seqs.
    Run(usize, Option<RunAnswer>),
}

/// An entry's place in the order of answers: part, place of its epoch, first seq.
type Place = (Part, usize, u64);

fn head(epoch: &EpochView) -> EpochAnswer {
    EpochAnswer {
        epoch: epoch.epoch.to_string(),
        open: epoch.opened,
        quarantined: epoch.quarantined,
        runs: Vec::new(),
    }
}

fn runs(epoch: &EpochView, frontier: Option<&str>) -> Vec<RunAnswer> {
    let mut out: Vec<RunAnswer> = Vec::new();
    let mut next = 1;
    let mut add = |first: u64, last: u64, kind| {
        if first <= last {
            out.push(RunAnswer {
                first,
                last,
                kind,
                frontier: None,
            });
        }
    };
    for run in &epoch.runs {
        add(next, run.seqs.first.0 - 1, "unknown");
        let mut at = run.seqs.first.0;
        for (lost, _) in &run.lost {
            add(at, lost.first.0.saturating_sub(1), "received");
            add(lost.first.0, lost.last.0, "lost");
            at = lost.last.0 + 1;
        }
        add(at, run.seqs.last.0, "received");
        next = run.seqs.last.0 + 1;
    }
    add(next, epoch.last_seq.map_or(0, |s| s.0), "unknown");
    if let Some(newest) = out.iter_mut().rfind(|r| r.kind == "received") {
        newest.frontier = frontier.map(str::to_owned);
    }
    out
}

/// A page; `None`: the key is of no entry's epoch.
fn page(
    evidence: &Evidence,
    range: Range,
    after: Option<Key>,
    limit: usize,
) -> Option<CoverageAnswer> {
    let epochs = evidence.coverage.epochs();
    let index = |epoch: Epoch| epochs.iter().position(|e| e.epoch == epoch);
    let after: Option<Place> = match after {
        None => None,
        Some(key) => Some((key.part, index(key.epoch)?, key.first)),
    };
    let (verdict, missing) = evidence.verdict(range, usize::MAX);
    let mut all: Vec<(Place, Entry)> = Vec::new();
    for m in missing {
        // what is missing is always of an epoch that is known
        let at = m.epoch.parse().ok().and_then(index).unwrap_or_default();
        all.push(((Part::Missing, at, m.first.unwrap_or(0)), Entry::Missing(m)));
    }
    let frontier = evidence.frontier();
    for (at, epoch) in epochs.iter().enumerate() {
        let newest = evidence.coverage.newest() == Some(epoch.epoch);
        let runs = runs(epoch, frontier.as_deref().filter(|_| newest));
        if runs.is_empty() {
            all.push(((Part::Runs, at, 0), Entry::Run(at, None)));
        }
        let runs = runs.into_iter();
        all.extend(runs.map(|r| ((Part::Runs, at, r.first), Entry::Run(at, Some(r)))));
    }
    all.sort_by_key(|(place, _)| *place);
    all.retain(|(place, _)| after.is_none_or(|a| *place > a));
    let more = all.len() > limit;
    all.truncate(limit);
    let key = |(part, at, first): Place| Key {
        part,
        epoch: epochs.get(at).map_or(Epoch([0; 16]), |e| e.epoch),
        first,
    };
    let next = all.last().filter(|_| more).map(|(p, _)| key(*p).text());
    let mut answer = CoverageAnswer {
        verdict,
        bytes: evidence.bytes(),
        epochs: Vec::new(),
        missing: Vec::new(),
        next,
    };
    let mut shown = None;
    for (_, entry) in all {
        match entry {
            Entry::Missing(m) => answer.missing.push(m),
            Entry::Run(at, run) => {
                if shown != Some(at) {
                    answer.epochs.push(head(&epochs[at]));
                    shown = Some(at);
                }
                if let Some(epoch) = answer.epochs.last_mut() {
                    epoch.runs.extend(run);
                }
            }
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use windlass_shared::coverage::Coverage;
    use windlass_shared::id::Seq;
    use windlass_shared::time::EventTime;

    use super::*;

    const RANGE: Range = Range {
        from: EventTime(0),
        to: EventTime(1),
    };

    /// Two epochs, of which every other record was refused and the rest never came.
    fn holed() -> Evidence {
        let mut coverage = Coverage::default();
        for epoch in [1, 2] {
            for seq in (2..=40).step_by(2) {
                coverage.refuse(Epoch([epoch; 16]), Seq(seq));
            }
        }
        Evidence::of(coverage, Bytes::Verified)
    }

    fn ask(limit: usize, cursor: Option<&str>) -> Result<CoverageAnswer, Problem> {
        let after = Key::parse(cursor)?;
        page(&holed(), RANGE, after, limit).ok_or_else(|| Problem::cursor("gone"))
    }

    #[test]
    fn pages_follow_each_other_and_are_together_what_one_page_is() {
        let all = ask(1_000, None).unwrap();
        assert_eq!((all.verdict, &all.next), ("incomplete", &None));
        assert_eq!(all.missing.len(), 40);
        let runs = |a: &CoverageAnswer| a.epochs.iter().map(|e| e.runs.len()).sum::<usize>();
        assert_eq!((all.epochs.len(), runs(&all)), (2, 80));
        for limit in [1, 7, 40, 41, 119] {
            let mut together = ask(limit, None).unwrap();
            while let Some(cursor) = together.next.take() {
                let next = ask(limit, Some(&cursor)).unwrap();
                let len = next.missing.len() + runs(&next);
                assert!(len == limit || next.next.is_none(), "{limit}: {len}");
                assert_eq!((next.verdict, next.bytes), (all.verdict, all.bytes));
                together.missing.extend(next.missing);
                for epoch in next.epochs {
                    match together.epochs.last_mut() {
                        Some(last) if last.epoch == epoch.epoch => last.runs.extend(epoch.runs),
                        _ => together.epochs.push(epoch),
                    }
                }
                together.next = next.next;
            }
            assert_eq!(together, all, "{limit}");
        }
    }

    #[test]
    fn a_turbine_that_never_spoke_has_an_empty_page() {
        let answer = page(
            &Evidence::of(Coverage::default(), Bytes::Verified),
            RANGE,
            None,
            1,
        );
        let answer = answer.unwrap();
        assert_eq!((answer.verdict, answer.epochs.len()), ("incomplete", 0));
        assert_eq!(answer.next, None);
    }

    #[test]
    fn a_cursor_of_another_request_is_named() {
        let unknown = format!("runs/{}/1", Epoch([9; 16]));
        let known = Epoch([1; 16]);
        for text in [
            "1/2/3".to_owned(),
            unknown,
            format!("odd/{known}/1"),
            format!("runs/{known}"),
            format!("runs/{known}/1/2"),
            format!("runs/{known}/one"),
        ] {
            let e = ask(1, Some(&to_cursor(&text))).unwrap_err();
            let field = e.field.as_deref();
            assert_eq!((e.status, field), (422, Some("cursor")), "{text}");
        }
        assert_eq!(ask(1, Some("zz")).unwrap_err().status, 400);
    }
}
