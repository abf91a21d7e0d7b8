//! A gateway that nobody has told the time: what is read in 1970 is placed when the clock is set, and what no clock ever saw
//! is kept as such.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use windlass_fleet::ledger::Balance;
use windlass_fleet::ledger::lake::Lake;
use windlass_fleet::own_clock::OwnClock;
use windlass_fleet::process::built;
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, Turbine};
use windlass_fleet::{calendar, clock, closing};
use windlass_shared::time::WallTime;

/// How long the agent may take to make its socket, to commit, to number.
const BOUND: Duration = Duration::from_mins(1);
const BETWEEN: Duration = Duration::from_millis(150);
/// A reading's time is the line's arrival; a busy machine is late.
const NEAR_US: i64 = 5_000_000;
const PUSH: &str =
    "\n[[source]]\nname = \"plc\"\nkind = \"push\"\nturbine = \"T001\"\npath = \"plc.sock\"\n";

/// A gateway whose machine the test boots, and what was pushed into it: power in kW, and when.
struct Site {
    rig: Rig,
    pushed: BTreeMap<i64, i64>,
}

impl Site {
    fn new() -> Result<Self> {
        let turbine = Turbine::new("T001", "onshore-3mw");
        let gateway = Gateway::new("GW1", "north", vec![turbine]);
        let gateway = gateway.with_source(PUSH).with_own_clock();
        let rig = Rig::new(vec![gateway], &Cloud::default(), BrokerKind::Embedded)?;
        let pushed = BTreeMap::new();
        Ok(Self { rig, pushed })
    }

    fn clock(&mut self) -> &mut OwnClock {
        self.rig.clock(0).expect("a clock")
    }

    /// Pushes `n` readings, each of another power, and gives them.
    fn push(&mut self, n: i64) -> Result<Vec<i64>> {
        let socket = self.rig.gateways[0].dir().join("plc.sock");
        let mut plc = clock::until("the agent takes readings", BOUND, || {
            self.rig.check()?;
            Ok(UnixStream::connect(&socket).ok())
        })?;
        let first = self.pushed.len() as i64 + 1;
        for power in first..first + n {
            self.pushed.insert(power, clock::wall().0);
            writeln!(plc, "{{\"active_power\": {power}}}")?;
            clock::pause(BETWEEN);
        }
        Ok((first..first + n).collect())
    }

    /// Waits until so many readings lie in the outbox without a number.
    fn waits(&mut self, readings: i64) -> Result<()> {
        let mut found = 0;
        clock::until("every reading is durable", BOUND, || {
            self.rig.check()?;
            self.rig.look()?;
            found = self.rig.without_number;
            Ok((found == readings as u64).then_some(()))
        })
        .with_context(|| {
            let log = self.rig.gateways[0].log_tail();
            format!("{found} of {readings} readings wait\n{log}")
        })
    }

    /// Waits until nothing lies there without a number, and so many readings ever had one.
    fn numbered(&mut self, readings: usize) -> Result<()> {
        let mut found = (0, 0);
        clock::until("every reading has its number", BOUND, || {
            self.rig.check()?;
            self.rig.look()?;
            let records = self.rig.witness.records.values();
            found = (
                self.rig.without_number,
                records.map(|r| r.readings.len()).sum(),
            );
            Ok((found == (0, readings)).then_some(()))
        })
        .with_context(|| {
            let log = self.rig.gateways[0].log_tail();
            format!("without and with a number: {found:?}, expected {readings}\n{log}")
        })
    }

    /// Copies the outbox of the gateway, which must be down, into a folder; or back from there.
    fn copy_outbox(&self, copy: &Path, back: bool) -> Result<()> {
        let outbox = self.rig.gateways[0].outbox();
        let here = outbox.parent().context("no folder")?;
        let (from, to) = if back { (copy, here) } else { (here, copy) };
        for old in std::fs::read_dir(to)? {
            std::fs::remove_file(old?.path())?;
        }
        for file in std::fs::read_dir(from)? {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Balance> {
        closing::drain(&mut self.rig)?;
        closing::settle(&mut self.rig, |_, _| Ok(true))
    }

    /// What `windlass-edge status` prints.
    fn status(&self) -> Result<String> {
        let config = self.rig.gateways[0].config();
        let out = Command::new(built("windlass-edge")?)
            .args(["status".as_ref(), "--config".as_ref(), config.as_os_str()])
            .output()?;
        ensure!(out.status.success(), "{out:?}");
        Ok(String::from_utf8(out.stdout)?)
    }

    /// Exit code and output of `windlass-cloud replay` over a range.
    fn replay(&self, from_us: i64, to_us: i64) -> Result<(Option<i32>, String)> {
        let at = |us: i64| {
            let text = calendar::text(us).replacen(' ', "T", 1);
            format!("{text}.{:06}Z", us.rem_euclid(1_000_000))
        };
        let out = Command::new(built("windlass-cloud")?)
            .args(["replay", "--turbine", "T001", "--config"])
            .arg(self.rig.cloud_config())
            .args(["--from", &at(from_us), "--to", &at(to_us)])
            .output()?;
        let text = String::from_utf8(out.stdout)? + &String::from_utf8(out.stderr)?;
        Ok((out.status.code(), text))
    }

    /// Power of every reading of a table of the lake, with its time.
    fn powers(&self, table: &str, time: &str) -> Result<Vec<(i64, i64)>> {
        let mut found = Vec::new();
        Lake::open(&self.rig.lake())?.each(table, |row| {
            // tenths of a kW
            found.push((row.need_int("raw")? / 10, row.need_int(time)?));
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    }
}

#[test]
fn readings_of_1970_get_their_time_when_the_clock_is_set_and_count_once() {
    let mut site = Site::new().expect("a site");
    site.clock().set(WallTime(0)).expect("set");
    site.rig.start().expect("started");
    site.push(20).expect("pushed");
    site.waits(20).expect("recorded in 1970");
    assert!(site.rig.witness.records.is_empty(), "nothing has a number");
    let status = site.status().expect("its status");
    assert!(status.contains("clock NOT SET"), "{status}");
    let waiting = "waiting for the clock  20 readings in ";
    assert!(status.contains(waiting), "{status}");

    // the process dies, the boot goes on
    site.rig.kill_gateway(0).expect("killed");
    site.rig.start_gateway(0).expect("started again");
    site.push(10).expect("pushed");
    site.waits(30).expect("recorded in 1970");
    site.clock().set_right().expect("set");
    site.push(10).expect("pushed");
    site.numbered(40).expect("placed");

    // and no process of this boot places anything twice
    site.rig.kill_gateway(0).expect("killed");
    site.rig.start_gateway(0).expect("started again");
    site.push(5).expect("pushed");
    site.numbered(45).expect("numbered");
    let status = site.status().expect("its status");
    assert!(!status.contains("waiting for the clock"), "{status}");
    let balance = site.finish().expect("the end");
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(
        (balance.counted_readings, balance.untimed_readings),
        (45, 0)
    );
    let found = site.powers("readings", "time").expect("the lake");
    let powers: Vec<i64> = found.iter().map(|f| f.0).collect();
    assert_eq!(powers, site.pushed.keys().copied().collect::<Vec<_>>());
    for (power, time) in found {
        let pushed = site.pushed[&power];
        assert!(
            (time - pushed).abs() < NEAR_US,
            "{power} kW was pushed at {pushed} and is placed at {time}"
        );
    }
}

#[test]
fn an_outbox_restored_from_before_the_placing_places_nothing_again() {
    let copy = tempfile::tempdir().expect("a folder");
    let mut site = Site::new().expect("a site");
    site.clock().set(WallTime(0)).expect("set");
    site.rig.start().expect("started");
    let waited = site.push(10).expect("pushed");
    site.waits(10).expect("recorded in 1970");
    site.rig.kill_gateway(0).expect("killed");
    site.copy_outbox(copy.path(), false).expect("a backup");
    site.rig.start_gateway(0).expect("started again");
    site.clock().set_right().expect("set");
    site.push(5).expect("pushed");
    site.numbered(15).expect("placed");
    site.rig.caught_up(BOUND).expect("acknowledged");
    site.rig.kill_gateway(0).expect("killed");

    site.copy_outbox(copy.path(), true).expect("restored");
    site.rig.start_gateway(0).expect("started from the copy");
    site.push(5).expect("pushed");
    site.numbered(30).expect("numbered");
    let balance = site.finish().expect("the end");
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(
        (balance.counted_readings, balance.untimed_readings),
        (20, 10)
    );
    let counted = site.powers("readings", "time").expect("the lake");
    let counted: Vec<i64> = counted.iter().map(|c| c.0).collect();
    assert_eq!(counted, site.pushed.keys().copied().collect::<Vec<_>>());
    let again = site.powers("untimed", "since_boot_us").expect("the lake");
    assert_eq!(again.iter().map(|a| a.0).collect::<Vec<_>>(), waited);
}

#[test]
fn readings_that_no_clock_saw_are_kept_untimed_and_their_interval_is_not_exact() {
    let mut site = Site::new().expect("a site");
    site.rig.start().expect("started");
    let known = site.push(20).expect("pushed");
    site.numbered(20).expect("numbered");
    site.rig.kill_gateway(0).expect("killed");
    let dark_from = clock::wall().0;

    // a power cut, and the boot after it never sees a clock
    let boot = site.rig.gateways[0].boot().expect("a boot");
    site.clock().set(WallTime(0)).expect("set");
    site.rig.start_gateway(0).expect("started");
    let dark = site.push(10).expect("pushed");
    site.waits(10).expect("recorded in 1970");
    site.rig.kill_gateway(0).expect("killed");
    let dark_to = clock::wall().0;

    site.rig.gateways[0].boot().expect("a boot");
    site.clock().set_right().expect("set");
    site.rig.start_gateway(0).expect("started");
    let later = site.push(10).expect("pushed");
    site.numbered(40).expect("numbered");
    let balance = site.finish().expect("the end");
    assert!(balance.is_right(), "{balance:#?}");
    assert_eq!(
        (balance.counted_readings, balance.untimed_readings),
        (30, 10)
    );

    let timed = site.powers("readings", "time").expect("the lake");
    let timed: Vec<i64> = timed.iter().map(|t| t.0).collect();
    assert_eq!(timed, [known.as_slice(), &later].concat());
    let untimed = site.powers("untimed", "since_boot_us").expect("the lake");
    assert!(untimed.windows(2).all(|u| u[0].1 < u[1].1), "{untimed:?}");
    let untimed: Vec<i64> = untimed.iter().map(|u| u.0).collect();
    assert_eq!(untimed, dark);
    let lake = Lake::open(&site.rig.lake()).expect("the lake");
    lake.each("untimed", |row| {
        ensure!(row.need("boot")? == boot, "of another boot");
        Ok(())
    })
    .expect("of the dark boot");

    let (code, text) = site.replay(dark_from, dark_to).expect("a verdict");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("verdict: not exact: records are lost"),
        "{text}"
    );
    assert!(text.contains("(untimed)"), "{text}");
    // before it and after it nothing is missing
    let bright = [(known[0], known[10]), (later[4], later[7])];
    for (from, to) in bright.map(|(a, b)| (site.pushed[&a], site.pushed[&b])) {
        let (code, text) = site.replay(from, to).expect("a verdict");
        assert_eq!(code, Some(0), "{text}");
    }
}
