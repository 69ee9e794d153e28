//! The promises of the log, tested on a disk that forgets what was not synced ([`crate::model_disk`]).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use tastemaker_types::{Event, Position, Record, Timestamp};

use crate::lock::WriterLock;
use crate::log::{Appended, OnCommit};
use crate::model_disk::{Crash, ModelDisk, scratch};
use crate::{EventLog, LogError, LogOptions, LogReader};

fn event(id: u32) -> Record {
    Record::Event(Event {
        event_id: format!("e{id}"),
        event_type: "click".to_owned(),
        user_id: format!("user {}", id % 7),
        item_id: "i".repeat(1 + id as usize % 60),
        timestamp: Timestamp::from_micros(i64::from(id)),
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Default::default(),
    })
}

fn id_of(record: &Record) -> u32 {
    let Record::Event(event) = record else { panic!("not an event: {record:?}") };
    event.event_id[1..].parse().unwrap()
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 700, memory_ids: 16, ..LogOptions::default() }
}

fn open(dir: &Path, disk: &ModelDisk, on_commit: OnCommit) -> Result<EventLog, LogError> {
    let lock = WriterLock::acquire(dir).unwrap();
    EventLog::open_locked(dir, Arc::new(disk.clone()), options(), on_commit, lock)
}

fn open_quiet(dir: &Path, disk: &ModelDisk) -> EventLog {
    open(dir, disk, Box::new(|_| {})).unwrap()
}

fn read(disk: &ModelDisk) -> Vec<Record> {
    let records = LogReader::with_storage(Arc::new(disk.clone())).read_from(Position(0));
    let records: Vec<_> = records.map(Result::unwrap).collect();
    for (expected, (position, _)) in records.iter().enumerate() {
        assert_eq!(position.0, expected as u64);
    }
    records.into_iter().map(|(_, record)| record).collect()
}

#[test]
fn an_acknowledgement_comes_only_after_the_sync() {
    let (dir, disk) = (scratch(), ModelDisk::new());
    let (seen_sender, seen) = std::sync::mpsc::channel();
    let log = open(dir.path(), &disk, Box::new(move |records| seen_sender.send(records.len()).unwrap())).unwrap();
    disk.hold_syncs(true);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| log.append(vec![event(1), event(2)]));
        disk.wait_for_held_sync();
        // The bytes are written, the process could be killed now; but nobody has been told.
        assert_eq!(read(&disk).len(), 2);
        assert!(!call.is_finished());
        assert!(seen.try_recv().is_err(), "the listener was told before the sync");
        assert!(read(&disk.after(Crash::LoseUnsynced)).is_empty());
        disk.hold_syncs(false);
        assert_eq!(call.join().unwrap().unwrap().len(), 2);
    });
    assert_eq!(seen.recv().unwrap(), 2, "the listener is told before the caller");
    assert_eq!(read(&disk.after(Crash::LoseUnsynced)).len(), 2);
}

#[test]
fn what_only_the_page_cache_had_is_synced_before_the_next_writer_vouches_for_it() {
    let (dir, disk) = (scratch(), ModelDisk::new());
    let log = open_quiet(dir.path(), &disk);
    log.append(vec![event(1)]).unwrap();
    // Killed between write and sync: the write is operation 1, the sync is 2.
    disk.stop_after(2);
    disk.fail_next_sync();
    assert!(log.append(vec![event(2)]).is_err());
    drop(log);
    let disk = disk.after(Crash::Kill);
    let log = open_quiet(dir.path(), &disk);
    let again = log.append(vec![event(2)]).unwrap();
    assert_eq!(again, [Appended { position: Position(1), duplicate: true }]);
    assert_eq!(read(&disk.after(Crash::LoseUnsynced)).len(), 2);
}

#[test]
fn a_full_disk_refuses_a_call_and_takes_it_when_there_is_space() {
    let (dir, disk) = (scratch(), ModelDisk::new());
    let log = open_quiet(dir.path(), &disk);
    log.append(vec![event(1)]).unwrap();
    for space in 0..100 {
        disk.set_space(Some(space));
        let refused = log.append(vec![event(2), event(3)]);
        assert!(matches!(refused, Err(LogError::DiskFull { .. })), "{refused:?}");
        assert_eq!(read(&disk).len(), 1, "a part of the call is visible with {space} bytes of space");
    }
    disk.set_space(None);
    assert_eq!(log.append(vec![event(2), event(3)]).unwrap()[1], Appended { position: Position(2), duplicate: false });
    // Also where the next segment cannot be made.
    for id in 4..40 {
        disk.set_space(Some(10));
        assert!(matches!(log.append(vec![event(id)]), Err(LogError::DiskFull { .. })));
        disk.set_space(None);
        assert!(!log.append(vec![event(id)]).unwrap()[0].duplicate);
    }
    log.close().unwrap();
    assert_eq!(
        read(&disk.after(Crash::LoseUnsynced)).iter().map(id_of).collect::<Vec<_>>(),
        (1..40).collect::<Vec<_>>()
    );
}

#[test]
fn short_writes_are_completed() {
    let (dir, disk) = (scratch(), ModelDisk::new());
    disk.write_at_most(3);
    let log = open_quiet(dir.path(), &disk);
    log.append((0..50).map(event).collect()).unwrap();
    assert_eq!(read(&disk.after(Crash::LoseUnsynced)).len(), 50);
}

#[test]
fn a_failed_sync_poisons_the_log_until_a_restart() {
    let (dir, disk) = (scratch(), ModelDisk::new());
    let log = open_quiet(dir.path(), &disk);
    log.append(vec![event(1)]).unwrap();
    disk.fail_next_sync();
    for id in 2..5 {
        let error = log.append(vec![event(id)]).unwrap_err();
        assert!(matches!(&error, LogError::Poisoned { reason } if reason.contains("the disk is dying")), "{error}");
    }
    assert!(matches!(log.close(), Err(LogError::Poisoned { .. })));
    for crash in [Crash::Kill, Crash::LoseUnsynced] {
        let disk = disk.after(crash);
        let log = open_quiet(dir.path(), &disk);
        assert_eq!(read(&disk).iter().map(id_of).collect::<Vec<_>>(), [1]);
        assert!(!log.append(vec![event(9)]).unwrap()[0].duplicate);
        // The index is shared by the two turns of this test, so this id must not stay in it.
        drop(log);
        std::fs::remove_dir_all(dir.path().join("ids")).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Fault {
    None,
    FailSync,
    Space(u64),
}

/// A life of the process: what it is asked to append, what goes wrong, and how it ends.
#[derive(Debug, Clone)]
struct Life {
    rounds: Vec<(Vec<Vec<u32>>, Fault)>,
    stop_after: Option<u64>,
    crash: Crash,
    index: Index,
}

/// What the next life finds of the index of event ids.
#[derive(Debug, Clone, Copy)]
enum Index {
    Saved,
    AsBeforeThisLife,
    Gone,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let calls = prop::collection::vec(prop::collection::vec(0u32..60, 1..6), 1..5);
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::FailSync),
        1 => (0u64..400).prop_map(Fault::Space),
    ];
    let crash = prop_oneof![Just(Crash::Kill), Just(Crash::LoseUnsynced), any::<u64>().prop_map(Crash::Tear)];
    let index = prop_oneof![Just(Index::Saved), Just(Index::AsBeforeThisLife), Just(Index::Gone)];
    let life = (prop::collection::vec((calls, fault), 0..8), prop::option::of(1u64..40), crash, index);
    let life = life.prop_map(|(rounds, stop_after, crash, index)| Life { rounds, stop_after, crash, index });
    prop::collection::vec(life, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_acknowledged_record_is_there_once_after_any_crash(lives in lives()) {
        let dir = scratch();
        let mut disk = ModelDisk::new();
        let mut acknowledged: HashMap<u32, Position> = HashMap::new();
        // How many calls had this id.
        let mut asked: HashMap<u32, usize> = HashMap::new();
        let mut all_calls: Vec<HashSet<u32>> = Vec::new();
        for life in lives {
            let (ids, before) = (dir.path().join("ids"), dir.path().join("before"));
            copy_dir(&ids, &before);
            if let Some(operations) = life.stop_after {
                disk.stop_after(operations);
            }
            // The machine may stop while the log is being opened.
            if let Ok(log) = open(dir.path(), &disk, Box::new(|_| {})) {
                for (calls, fault) in life.rounds {
                    match fault {
                        Fault::None => disk.set_space(None),
                        Fault::FailSync => disk.fail_next_sync(),
                        Fault::Space(bytes) => disk.set_space(Some(bytes)),
                    }
                    let waiting: Vec<_> = calls
                        .into_iter()
                        .map(|ids| (log.append_async(ids.iter().copied().map(event).collect()), ids))
                        .collect();
                    for (outcome, ids) in waiting {
                        let distinct: HashSet<u32> = ids.iter().copied().collect();
                        distinct.iter().for_each(|id| *asked.entry(*id).or_default() += 1);
                        all_calls.push(distinct);
                        for (appended, id) in block_on(outcome).unwrap_or_default().iter().zip(ids) {
                            let known = acknowledged.insert(id, appended.position);
                            prop_assert!(known.is_none_or(|position| position == appended.position && appended.duplicate));
                        }
                    }
                }
            }
            disk = disk.after(life.crash);
            match life.index {
                Index::Saved => {}
                Index::AsBeforeThisLife => { std::fs::remove_dir_all(&ids).ok(); copy_dir(&before, &ids); }
                Index::Gone => { std::fs::remove_dir_all(&ids).ok(); }
            }
            let found: Vec<u32> = read(&disk).iter().map(id_of).collect();
            let distinct: HashSet<u32> = found.iter().copied().collect();
            prop_assert_eq!(distinct.len(), found.len(), "an event is there twice: {:?}", found);
            prop_assert!(distinct.iter().all(|id| asked.contains_key(id)), "an event was invented: {:?}", found);
            for (id, position) in &acknowledged {
                prop_assert_eq!(found.get(position.0 as usize), Some(id), "acknowledged at {}", position);
            }
            for call in all_calls.iter().filter(|call| call.iter().all(|id| asked[id] == 1)) {
                let there = call.iter().filter(|id| distinct.contains(id)).count();
                prop_assert!(there == 0 || there == call.len(), "half of call {:?} is there", call);
            }
        }
        let log = open(dir.path(), &disk, Box::new(|_| {})).unwrap();
        for (id, position) in acknowledged {
            prop_assert_eq!(log.append(vec![event(id)]).unwrap(), [Appended { position, duplicate: true }]);
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).ok();
    let Ok(entries) = std::fs::read_dir(from) else { return };
    std::fs::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits for a future on this thread: the log's futures need no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
