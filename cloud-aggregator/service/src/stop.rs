//! One flag that says: finish what is in hand and end.

use tokio::sync::watch;

/// Raises the flag.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Sees the flag; every role has one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stopper {
    /// A flag that is not raised.
    pub fn new() -> (Self, Stop) {
        let (tx, rx) = watch::channel(false);
        (Self(tx), Stop(rx))
    }
    /// Raises it, for good.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Has it been raised? Also when nobody is left who could.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
    /// Until it is raised.
    pub async fn raised(&mut self) {
        // an error means that nobody can raise it any more: the same
        drop(self.0.wait_for(|v| *v).await);
    }
}
