//! What happens to disks: full, damaged, put back from a backup. Nothing is lost without a record of it.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use windlass_fleet::ledger::Balance;
use windlass_fleet::proxy::State;
use windlass_fleet::rig::{BrokerKind, Rig};
use windlass_fleet::spec::{Cloud, Gateway, OUTBOX_DIR, Turbine};
use windlass_fleet::{clock, closing};
use windlass_shared::time::WallTime;

/// How long traffic may take to bring what a test waits for.
const TRAFFIC_BOUND: Duration = Duration::from_mins(1);
/// A small disk, bytes.
const DISK: u64 = 1536 * 1024;
/// A page of an outbox.
const PAGE: u64 = 1024;

fn rig(change: impl FnOnce(&mut Gateway)) -> Rig {
    let turbine = Turbine::new("T001", "onshore-3mw");
    let mut gateway = Gateway::new("GW1", "north", vec![turbine]).with_simulators(1);
    change(&mut gateway);
    let mut rig = Rig::new(vec![gateway], &Cloud::default(), BrokerKind::Embedded).expect("a rig");
    rig.start().expect("started");
    rig.all_seen().expect("seen");
    rig
}

/// Waits until so many more records were seen committed than now.
fn traffic(rig: &mut Rig, more: usize) {
    rig.look().expect("a look");
    let enough = rig.witness.records.len() + more;
    clock::until("records are committed", TRAFFIC_BOUND, || {
        rig.check()?;
        rig.look()?;
        Ok((rig.witness.records.len() >= enough).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}\n{}", rig.gateways[0].log_tail()));
}

fn finish(rig: &mut Rig) -> Balance {
    closing::drain(rig).expect("drained");
    closing::settle(rig, |_, _| Ok(true)).expect("settled")
}

/// Overwrites whole pages in the middle of a database.
fn damage(path: &Path, pages: u64) {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("a database");
    let all = file.metadata().expect("its size").len() / PAGE;
    assert!(all > pages + 4, "{all} pages");
    file.seek(SeekFrom::Start((all / 2) * PAGE))
        .expect("a place");
    for _ in 0..pages {
        file.write_all(&[0xA5; PAGE as usize]).expect("written");
    }
    file.sync_all().expect("synced");
}

/// The names in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name());
    names.map(|n| n.to_string_lossy().into_owned()).collect()
}

/// Fills a disk of so many bytes to the last one; gives the file that does.
fn fill(dir: &Path, bytes: u64) -> std::path::PathBuf {
    let path = dir.join("filler");
    let mut file = std::fs::File::create(&path).expect("a filler");
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {
            let length = file.metadata().expect("its size").len();
            assert!(length <= bytes, "{} is another disk", dir.display());
        }
    }
    path
}

#[test]
fn a_full_disk_is_survived_and_what_had_to_go_is_on_record() {
    let mut rig = rig(|g| g.disk_bytes = Some(DISK));
    rig.links["north"].set(State::Refused);
    traffic(&mut rig, 5);
    let filler = fill(&rig.gateways[0].disk().expect("a disk"), DISK);
    // Recording goes on: what is committed after the disk is full was given room by what left.
    let full_at = clock::wall();
    clock::until(
        "records are committed on a full disk",
        TRAFFIC_BOUND,
        || {
            rig.check()?;
            rig.look()?;
            let late = |at: WallTime| at.0 > full_at.0 + 8_000_000;
            let news = rig
                .witness
                .records
                .values()
                .filter(|c| late(c.header.committed_at));
            Ok((news.count() >= 5).then_some(()))
        },
    )
    .unwrap_or_else(|e| panic!("{e:#}\n{}", rig.gateways[0].log_tail()));
    std::fs::remove_file(filler).unwrap();
    rig.links["north"].set(State::Up);
    rig.caught_up(TRAFFIC_BOUND).unwrap();
    rig.move_to_plain_disk(0).unwrap();
    let balance = finish(&mut rig);
    assert!(balance.is_right(), "{balance:#?}");
}

#[test]
fn a_small_budget_evicts_by_class_and_says_so() {
    let mut rig = rig(|g| g.outbox_bytes_max = Some(128 * 1024));
    rig.links["north"].set(State::Silent);
    clock::until("something is evicted", 2 * TRAFFIC_BOUND, || {
        rig.check()?;
        rig.look()?;
        Ok(rig.witness.gaps().next().is_some().then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}\n{}", rig.gateways[0].log_tail()));
    rig.links["north"].set(State::Refused);
    rig.links["north"].set(State::Up);
    let balance = finish(&mut rig);
    assert!(balance.is_right(), "{balance:#?}");
    assert!(balance.evicted_readings > 0, "{balance:#?}");
    let compliance = windlass_shared::catalogue::Class::Compliance;
    assert!(rig.witness.gaps().all(|(_, gap)| gap.class != compliance));
}

#[test]
fn a_damaged_outbox_is_set_aside_and_what_is_acknowledged_is_not_missed() {
    let mut rig = rig(|_| ());
    traffic(&mut rig, 20);
    rig.caught_up(TRAFFIC_BOUND).unwrap();
    rig.stop_gateway(0).unwrap();
    rig.start_gateway(0).unwrap();
    rig.caught_up(TRAFFIC_BOUND).unwrap();
    rig.links["north"].set(State::Refused);
    rig.stop_gateway(0).unwrap();
    let waiting = rig.look().unwrap().len();
    damage(&rig.gateways[0].outbox(), 3);
    rig.start_gateway(0).unwrap();
    let folder = rig.gateways[0].dir().join(OUTBOX_DIR);
    clock::until("the damaged file is set aside", TRAFFIC_BOUND, || {
        rig.check()?;
        let set_aside = files(&folder).iter().any(|n| n.contains(".corrupt-"));
        // until then the file that stands there cannot be read
        Ok((set_aside && rig.look().is_ok()).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}: {:?}", files(&folder)));
    rig.links["north"].set(State::Up);
    traffic(&mut rig, 5);
    let names = files(&folder);
    let balance = finish(&mut rig);
    println!("{waiting} records waited; {names:?}; {balance:#?}");
    // What the damage took is on record; all else, acknowledged or not, is there once.
    assert!(balance.is_right(), "{balance:#?}");
}

#[test]
fn an_outbox_put_back_from_a_backup_reuses_no_number() {
    let mut rig = rig(|_| ());
    traffic(&mut rig, 5);
    rig.stop_gateway(0).unwrap();
    rig.look().unwrap();
    let outbox = rig.gateways[0].outbox();
    let backup = rig.root().join("backup.db");
    std::fs::copy(&outbox, &backup).unwrap();
    rig.start_gateway(0).unwrap();
    traffic(&mut rig, 8);
    rig.caught_up(TRAFFIC_BOUND).unwrap();
    rig.links["north"].set(State::Refused);
    let lost_with_the_disk = rig.kill_gateway(0).unwrap().unacknowledged;
    for tail in ["", "-wal", "-shm"] {
        let mut path = outbox.clone().into_os_string();
        path.push(tail);
        std::fs::remove_file(path).ok();
    }
    std::fs::copy(&backup, &outbox).unwrap();
    // What was never acknowledged went with the disk that the backup replaced: no one can ask for it.
    rig.witness.disk_gone(&lost_with_the_disk);
    rig.start_gateway(0).unwrap();
    rig.links["north"].set(State::Up);
    traffic(&mut rig, 8);
    let balance = finish(&mut rig);
    println!(
        "{} records went with the disk; {balance:#?}",
        lost_with_the_disk.len()
    );
    assert_eq!(
        balance.double_counted_readings + balance.altered_readings,
        0
    );
    assert_eq!(balance.foreign_readings + balance.windows_wrong, 0);
    let epochs: std::collections::BTreeSet<_> =
        rig.witness.records.keys().map(|r| r.epoch).collect();
    assert!(
        epochs.len() >= 3,
        "every start draws a new epoch: {epochs:?}"
    );
}
