//! An interrupt from the terminal, or a request to end: a run that hears of it stops its processes and removes its folder.
//!
//! Invariant: the first one asks, the second one ends this process at once (its children end with it).

use std::io::{BufRead, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Exit code of a process that an interrupt ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Whether somebody asked.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread of its own.
    pub fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let raise = Arc::clone(&flag);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("a runtime for signals")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).context("listening for signals");
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
            )
        };
        std::thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if raise.swap(true, Ordering::AcqRel) {
                        std::process::exit(INTERRUPTED);
                    }
                }
            });
        });
        Ok(Self(flag))
    }

    /// Somebody asked.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Fails once somebody asked.
    pub fn check(&self) -> Result<()> {
        if self.raised() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits for a line on standard input, its end, or an interrupt; fails when `running` does.
    pub fn or_enter(&self, mut running: impl FnMut() -> Result<()>) -> Result<()> {
        let entered = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&entered);
        std::thread::spawn(move || {
            let mut line = Vec::new();
            // An error is an end as well: there is nothing to wait for.
            stdin().lock().read_until(b'\n', &mut line).ok();
            done.store(true, Ordering::Release);
        });
        while !self.raised() && !entered.load(Ordering::Acquire) {
            running()?;
            clock::pause(LOOK_EVERY);
        }
        Ok(())
    }
}
