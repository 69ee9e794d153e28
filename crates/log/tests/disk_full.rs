//! A really full disk: a small tmpfs, where this process may mount one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{event, open_with, read};
use tastemaker_log::{LogError, LogOptions};

/// A mounted tmpfs, unmounted in the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tastemaker-test"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_the_log_goes_on_when_there_is_space() {
    let Some(disk) = Tmpfs::mount("3m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let dir = disk.path().join("log");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![7; 1 << 20]).unwrap();
    // Few ids in memory: the index runs out of space too.
    let options = LogOptions { segment_bytes: 200_000, memory_ids: 700, ..LogOptions::default() };
    let log = open_with(&dir, options.clone()).unwrap();
    let mut stored = Vec::new();
    let fill = |stored: &mut Vec<_>, prefix: &str| {
        for n in 0.. {
            let records: Vec<_> = (0..100).map(|i| event(format!("{prefix}-{n}-{i}"))).collect();
            match log.append(records.clone()) {
                Ok(outcome) => {
                    assert_eq!(outcome[0].position.0, stored.len() as u64);
                    stored.extend(records);
                }
                Err(LogError::DiskFull { .. }) => return,
                Err(other) => panic!("{other}"),
            }
        }
    };
    fill(&mut stored, "a");
    assert!(stored.len() > 500, "only {} records fitted", stored.len());
    assert_eq!(read(&dir).unwrap(), stored);
    assert!(matches!(log.append(vec![event("x".repeat(60_000))]), Err(LogError::DiskFull { .. })));

    std::fs::remove_file(&ballast).unwrap();
    let before = stored.len();
    fill(&mut stored, "b");
    assert!(stored.len() > before + 500, "it did not go on");
    assert_eq!(read(&dir).unwrap(), stored);
    // A repetition needs no space.
    assert!(log.append(vec![stored[0].clone()]).unwrap()[0].duplicate);
    drop(log);

    // A full disk keeps neither readers nor the next start from working.
    assert_eq!(read(&dir).unwrap(), stored);
    let log = open_with(&dir, options).unwrap();
    assert!(log.append(vec![stored[before].clone()]).unwrap()[0].duplicate);
}
