//! Queries over the lake: on threads of their own, a few at once, each within a named time.
//!
//! Invariant: what is too much at once is refused with 503 and Retry-After; nothing waits without an end.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::lake::LakeError;

/// Queries at once.
const RUNNING_MAX: usize = 2;
/// Queries that may wait for a place.
const WAITING_MAX: usize = 16;
/// How long one may wait, and how long it may take.
const WAIT_MAX: Duration = Duration::from_secs(5);
const TAKE_MAX: Duration = Duration::from_secs(20);

/// Places for queries.
#[derive(Clone, Debug)]
pub struct Heavy {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Heavy {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            waiting: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
        }
    }
}

fn busy() -> Problem {
    Problem::busy(format!(
        "{RUNNING_MAX} large queries are running and more are waiting"
    ))
}

impl Heavy {
    /// Runs a query.
    pub async fn run<T, F>(&self, query: impl FnOnce() -> F + Send + 'static) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>>,
    {
        let place = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned();
        let turn = tokio::time::timeout(WAIT_MAX, running).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            let held = (place, turn);
            let result = runtime.block_on(async { tokio::time::timeout(TAKE_MAX, query()).await });
            drop(held);
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
        let held: Vec<_> = (0..RUNNING_MAX + WAITING_MAX).map(query).collect();
        while heavy.waiting.available_permits() > 0 {
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
