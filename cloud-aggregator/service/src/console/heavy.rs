//! Queries over the lake: on threads of their own, a few at once, each within a named time.
//!
//! Invariant: what is too much at once is refused with 503 and Retry-After; nothing waits without an end.

use std::time::Duration;

use tokio::runtime::Handle;

use super::problem::Problem;
use super::room::{Bounds, Room};
use crate::lake::LakeError;

/// Queries at once, those that may wait, and how long.
const BOUNDS: Bounds = Bounds {
    running: 2,
    waiting: 16,
    wait: Duration::from_secs(5),
    what: "large queries",
    instead: "for a shorter range or fewer channels",
    retry_after_s: 2,
};
/// How long one may take.
const TAKE_MAX: Duration = Duration::from_secs(20);

/// Places for queries.
#[derive(Clone, Debug)]
pub struct Heavy {
    room: Room,
}

impl Default for Heavy {
    fn default() -> Self {
        Self {
            room: Room::new(BOUNDS),
        }
    }
}

impl Heavy {
    /// Runs a query.
    pub async fn run<T, F>(&self, query: impl FnOnce() -> F + Send + 'static) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>>,
    {
        let turn = self.room.turn().await?;
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            let result = runtime.block_on(async { tokio::time::timeout(TAKE_MAX, query()).await });
            drop(turn);
            result
        });
        match done.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Problem::busy(format!(
                "the query took longer than {} s: ask for a shorter range or fewer channels",
                TAKE_MAX.as_secs()
            ))),
            Err(e) => Err(Problem::failed("a query", &e)),
        }
    }

    /// In which one may wait so long for its turn.
    #[cfg(test)]
    pub fn within(wait: Duration) -> Self {
        Self {
            room: Room::new(Bounds { wait, ..BOUNDS }),
        }
    }

    /// Places that are free, also those to wait in.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.room.free()
    }
}

/// A lake's failure as a problem.
pub(super) fn lake_failed(e: LakeError) -> Problem {
    match e {
        LakeError::Request(detail) => Problem::field("request", "it", detail),
        e => Problem::failed("reading the lake", &e),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_much_at_once_is_refused_with_503_and_all_else_is_answered() {
        let heavy = Heavy::default();
        let (open, opened) = watch::channel(false);
        let query = |n: usize| {
            let (heavy, mut opened) = (heavy.clone(), opened.clone());
            tokio::spawn(async move {
                let query = move || async move {
                    opened.wait_for(|o| *o).await.ok();
                    Ok(n)
                };
                heavy.run(query).await
            })
        };
        let held: Vec<_> = (0..BOUNDS.running + BOUNDS.waiting).map(query).collect();
        while heavy.free() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = heavy.run(|| async { Ok(0) }).await.unwrap_err();
        let answer = refused.into_response();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[RETRY_AFTER], "2");
        open.send_replace(true);
        for (n, one) in held.into_iter().enumerate() {
            assert_eq!(one.await.unwrap().unwrap(), n);
        }
        assert_eq!(heavy.run(|| async { Ok(7) }).await.unwrap(), 7);
    }
}
