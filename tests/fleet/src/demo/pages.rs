//! Which page of the console shows what the demo did.
//!
//! Invariant: a link holds all that its page needs, so that it shows the same to whoever opens it, and at any later time.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;
use serde::Serialize;
use windlass_shared::time::SECOND_US;

use super::faults::{Fault, Found};
use crate::calendar;
use crate::process::free_port;

/// Where the console listens unless somebody else does.
const PORT: u16 = 8_480;
/// Shown before and after what a proof is about, microseconds: not so much that it reaches behind the end of a short run.
const MARGIN_US: i64 = 30 * SECOND_US;
/// A live chart reaches back so far, seconds.
const LIVE_S: u32 = 300;

/// Something that was done to the fleet, and the page that shows it. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// What it was.
    pub what: String,
    /// When it began.
    pub from: i64,
    /// When it was over.
    pub until: i64,
    /// What there is to see.
    pub shows: String,
    /// Where.
    pub link: String,
}

/// The console's pages.
#[derive(Clone, Debug)]
pub struct Pages {
    base: String,
}

impl Pages {
    /// Of the console on this port of the loopback interface.
    pub fn new(port: u16) -> Self {
        Self {
            base: format!("http://127.0.0.1:{port}"),
        }
    }

    /// The wall.
    pub fn wall(&self) -> String {
        format!("{}/", self.base)
    }

    /// The wall with one farm's turbines.
    pub fn farm(&self, farm: &str) -> String {
        format!("{}/?q={farm}", self.base)
    }

    /// A turbine's newest minutes.
    pub fn live(&self, turbine: &str, channels: &[String]) -> String {
        let list = charts(channels);
        format!(
            "{}/turbine/{turbine}?live={LIVE_S}&channels={list}",
            self.base
        )
    }

    /// A turbine from one moment to another.
    pub fn past(&self, turbine: &str, channels: &[String], (from, until): (i64, i64)) -> String {
        let (from, until) = (rfc3339(from), rfc3339(until));
        let list = charts(channels);
        format!(
            "{}/turbine/{turbine}?from={from}&to={until}&channels={list}",
            self.base
        )
    }

    /// An alert with its chart from one moment to another.
    pub fn alert(&self, turbine: &str, alert: &str, (from, until): (i64, i64)) -> String {
        let (from, until) = (rfc3339(from), rfc3339(until));
        format!(
            "{}/turbine/{turbine}?alert={alert}&from={from}&to={until}",
            self.base
        )
    }

    /// What a turbine did from one moment to another and a little around, and at the middle between them.
    pub fn proof(&self, turbine: &str, (from, until): (i64, i64)) -> String {
        let (at, from, until) = (
            rfc3339(from.midpoint(until)),
            rfc3339(from - MARGIN_US),
            rfc3339(until + MARGIN_US),
        );
        format!(
            "{}/proof/{turbine}?at={at}&from={from}&to={until}",
            self.base
        )
    }

    /// The pipeline's health.
    pub fn platform(&self) -> String {
        format!("{}/platform", self.base)
    }

    /// What a fault led to: its alert, or the channels where there should have been one.
    pub fn found(&self, found: &Found) -> Deed {
        let Fault {
            what,
            turbine,
            channels,
            from,
            until,
        } = &found.fault;
        // As much before and after as the fault lasts, so that there is something to compare it with.
        let around = (2 * from - until, 2 * until - from);
        let (shows, link) = match &found.alert {
            Some(alert) => (
                "the alert and its chart",
                self.alert(turbine, alert, around),
            ),
            None => (
                "its channels: there is no alert",
                self.past(turbine, channels, around),
            ),
        };
        Deed {
            what: format!("{turbine}: {what}"),
            from: *from,
            until: *until,
            shows: shows.to_owned(),
            link,
        }
    }
}

/// The port that people expect, or a free one.
pub fn port() -> Result<u16> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Ok(_) => Ok(PORT),
        Err(_) => free_port(),
    }
}

fn charts(channels: &[String]) -> String {
    let mut list = vec!["active_power"];
    list.extend(channels.iter().map(String::as_str));
    list.join(",")
}

/// To the second, as an address can hold it.
fn rfc3339(us: i64) -> String {
    calendar::text(us).replacen(' ', "T", 1) + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_709_208_000_000_000;

    #[test]
    fn links_hold_what_their_pages_need() {
        let pages = Pages::new(8_480);
        let oil = ["oil".to_owned()];
        assert_eq!(pages.farm("south"), "http://127.0.0.1:8480/?q=south");
        assert_eq!(
            pages.live("T1", &oil),
            "http://127.0.0.1:8480/turbine/T1?live=300&channels=active_power,oil"
        );
        assert_eq!(
            pages.proof("T1", (NOON, NOON + 20 * SECOND_US)),
            "http://127.0.0.1:8480/proof/T1?at=2024-02-29T12:00:10Z&from=2024-02-29T11:59:30Z&to=2024-02-29T12:00:50Z"
        );
    }

    #[test]
    fn a_fault_leads_to_its_alert_or_to_where_it_should_be() {
        let pages = Pages::new(1);
        let mut found = Found {
            fault: Fault {
                what: "oil grows hot".into(),
                turbine: "T1".into(),
                channels: vec!["oil".into()],
                from: NOON,
                until: NOON + 10 * SECOND_US,
            },
            alert: Some("a1".into()),
        };
        let deed = pages.found(&found);
        assert_eq!(deed.what, "T1: oil grows hot");
        assert_eq!(
            deed.link,
            "http://127.0.0.1:1/turbine/T1?alert=a1&from=2024-02-29T11:59:50Z&to=2024-02-29T12:00:20Z"
        );
        found.alert = None;
        assert_eq!(
            pages.found(&found).link,
            "http://127.0.0.1:1/turbine/T1?from=2024-02-29T11:59:50Z&to=2024-02-29T12:00:20Z&channels=active_power,oil"
        );
    }

    #[test]
    fn a_port_that_is_taken_is_not_chosen() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT));
        let chosen = port().unwrap();
        assert!(taken.is_err() || chosen != PORT, "{chosen}");
    }
}
